package state

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/tidemarkio/tidemark/topology"
)

// formatVersion is the layout of keys and values that this release writes and
// reads. A new one is built beside the old, never in place.
const formatVersion = 1

// ErrFormat says that a store was written by another release, in a layout that
// this one does not know.
var ErrFormat = errors.New("the store has a format that this release does not know")

// ErrForeign says that a store belongs to somebody else.
var ErrForeign = errors.New("the store was made for something else")

// Identity is whose store it is.
type Identity struct {
	// Kind is what it holds: "task", "view" ...; topology.Store lists them.
	Kind string
	// Partition that it belongs to.
	Partition int32
	// Topology that its contents depend on. Nil, for reading only, asks nothing.
	Topology *topology.Topology
}

// kept is an identity as the store has it.
type kept struct {
	Kind      string          `json:"kind"`
	Partition int32           `json:"partition"`
	Topology  string          `json:"topology"` // hash
	Frozen    json.RawMessage `json:"frozen"`   // what it is the hash of
}

var (
	keyFormat   = []byte{kindMeta, 'f', 'o', 'r', 'm', 'a', 't'}
	keyIdentity = []byte{kindMeta, 'i', 'd', 'e', 'n', 't', 'i', 't', 'y'}
)

// identify writes the identity into a new store, and compares it in one that
// was there before.
func (db *DB) identify(want Identity) error {
	format, err := db.getCopy(keyFormat)
	if err != nil {
		return err
	}
	if format == nil {
		return db.create(want)
	}
	if len(format) != 4 || binary.BigEndian.Uint32(format) != formatVersion {
		return fmt.Errorf("%w: format %x, known is %08x: use the release that wrote it, or let this one rebuild the store in an empty directory",
			ErrFormat, format, formatVersion)
	}
	is, err := db.identity()
	if err != nil || want.Topology == nil {
		return err
	}
	return want.compare(is)
}

// create makes an empty store ours.
func (db *DB) create(id Identity) error {
	if id.Topology == nil || db.readOnly {
		return fmt.Errorf("%w: it has no format version: it was never a store of ours, or its creation was cut short; nothing is in it then, and it can be deleted", ErrFormat)
	}
	it, err := db.db.NewIter(nil)
	if err != nil {
		return err
	}
	empty := !it.First()
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return err
	}
	if !empty {
		return fmt.Errorf("%w: there are keys, but no format version: the directory belongs to another program", ErrForeign)
	}
	value, err := json.Marshal(kept{id.Kind, id.Partition, id.Topology.Hash(), id.Topology.Frozen()})
	if err != nil {
		return err
	}
	b := db.db.NewBatch()
	_ = b.Set(keyFormat, binary.BigEndian.AppendUint32(nil, formatVersion), nil)
	_ = b.Set(keyIdentity, value, nil)
	return db.Commit(b, true)
}

func (db *DB) identity() (kept, error) {
	var is kept
	value, err := db.getCopy(keyIdentity)
	if err != nil {
		return is, err
	}
	if err := json.Unmarshal(value, &is); err != nil {
		return is, fmt.Errorf("%w: identity %.200q: %w", ErrFormat, value, err)
	}
	return is, nil
}

// compare says in words how a store is not the one that is wanted.
func (id Identity) compare(is kept) error {
	var errs []error
	if is.Kind != id.Kind {
		errs = append(errs, fmt.Errorf("it is a store of kind %q, wanted is %q", is.Kind, id.Kind))
	}
	if is.Partition != id.Partition {
		errs = append(errs, fmt.Errorf("it belongs to partition %d, wanted is %d", is.Partition, id.Partition))
	}
	if is.Topology != id.Topology.Hash() {
		diff := id.Topology.Diff(is.Frozen)
		errs = append(errs, fmt.Errorf("its topology is %s, ours is %s: %w", is.Topology, id.Topology.Hash(), diff))
	}
	if len(errs) == 0 {
		return nil
	}
	errs = slices.Insert(errs, 0, ErrForeign)
	errs = append(errs, errors.New("point at the right directory, or set the topology back; nothing was changed"))
	return errors.Join(errs...)
}

func (db *DB) getCopy(key []byte) ([]byte, error) {
	v, closer, err := db.get(key)
	if err != nil || closer == nil {
		return nil, err
	}
	v = append([]byte{}, v...)
	return v, closer.Close()
}

// Note reads what [DB.PutNote] kept; nil if nothing.
func (db *DB) Note(name string) ([]byte, error) { return db.getCopy(noteKey(name)) }

// PutNote keeps a small value beside the state, such as how far a sweep has
// come. It is no part of the state at a position: a crash may lose it together
// with the newest batches, and never leaves it newer than they are.
func (db *DB) PutNote(name string, value []byte) error {
	if len(value) > maxNoteBytes {
		return fmt.Errorf("state: note %q of %d bytes: at most %d", name, len(value), maxNoteBytes)
	}
	b := db.db.NewBatch()
	_ = b.Set(noteKey(name), value, nil)
	return db.Commit(b, false)
}

const maxNoteBytes = 64 << 10

func noteKey(name string) []byte { return append([]byte{kindMeta, 'n', 'o', 't', 'e', '/'}, name...) }
