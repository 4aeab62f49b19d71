package tenant

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/state"
)

// Mode is how much devices have to show.
type Mode string

// The modes.
const (
	Off     Mode = "off"     // devices are what they say
	Issue   Mode = "issue"   // the first connect gets a credential; a wrong one is refused, none is let in
	Require Mode = "require" // as Issue, and none is refused too once one was issued
)

// Check names what a mode may be.
func (m Mode) Check() error {
	switch m {
	case Off, Issue, Require:
		return nil
	}
	return fmt.Errorf("device credentials %q: use off, issue or require", string(m))
}

// Errors of [Devices.Admit].
var (
	ErrWrongCredential   = errors.New("the device credential is wrong: the device id belongs to somebody else")
	ErrMissingCredential = errors.New("the device id has a credential: send it as Tidemark-Device-Credential or in the hello")
)

// kindSeen begins a key of the store: then 16 bytes that name the device. The
// value is when it was first seen, epoch ms, 8 bytes big-endian.
const kindSeen = 's'

type seenKey [17]byte

// Devices knows which devices were seen. It is safe for concurrent use.
type Devices struct {
	mode Mode
	key  []byte
	db   *state.DB

	writing sync.Mutex // one writer of the store at a time
	mu      sync.Mutex
	pending map[seenKey]struct{} // being written: somebody is first already
}

// NewDevices makes one on a store of its own.
func NewDevices(mode Mode, cluster schemas.ClusterKey, db *state.DB) *Devices {
	mac := hmac.New(sha256.New, cluster[:])
	mac.Write([]byte("tidemark device credential key v1"))
	return &Devices{mode: mode, key: mac.Sum(nil), db: db, pending: make(map[seenKey]struct{})}
}

// Admit checks a device's credential, or issues one at its first connect.
func (d *Devices) Admit(_ context.Context, instanceID, deviceID, credential string) (issued string, err error) {
	if d.mode == Off {
		return "", nil
	}
	is := d.credential(instanceID, deviceID)
	if credential != "" {
		if !hmac.Equal([]byte(is), []byte(credential)) {
			return "", ErrWrongCredential
		}
		_, err := d.first(instanceID, deviceID)
		return "", err
	}
	first, err := d.first(instanceID, deviceID)
	switch {
	case err != nil:
		return "", err
	case first:
		return is, nil
	case d.mode == Require:
		return "", ErrMissingCredential
	}
	return "", nil
}

// credential is 43 characters that go into a header as they are.
func (d *Devices) credential(instanceID, deviceID string) string {
	mac := hmac.New(sha256.New, d.key)
	mac.Write(name(instanceID, deviceID))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// name is unambiguous: the first part's length goes first.
func name(instanceID, deviceID string) []byte {
	b := binary.AppendUvarint(nil, uint64(len(instanceID)))
	return append(append(b, instanceID...), deviceID...)
}

// first notes a device, durably, and reports whether it was unknown.
func (d *Devices) first(instanceID, deviceID string) (bool, error) {
	sum := sha256.Sum256(name(instanceID, deviceID))
	key := seenKey{0: kindSeen}
	copy(key[1:], sum[:])
	d.mu.Lock()
	_, pending := d.pending[key]
	if pending {
		d.mu.Unlock()
		return false, nil
	}
	_, closer, err := d.db.Pebble().Get(key[:])
	if err == nil {
		d.mu.Unlock()
		return false, closer.Close()
	}
	if !errors.Is(err, pebble.ErrNotFound) {
		d.mu.Unlock()
		return false, fmt.Errorf("look up device: %w", err)
	}
	d.pending[key] = struct{}{}
	d.mu.Unlock()
	err = d.note(key)
	d.mu.Lock()
	delete(d.pending, key)
	d.mu.Unlock()
	if err != nil {
		return false, fmt.Errorf("note device: %w", err)
	}
	return true, nil
}

// note writes one, or all that wait, so that many first connects at once cost
// few syncs.
func (d *Devices) note(key seenKey) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	if _, closer, err := d.db.Pebble().Get(key[:]); err == nil {
		return closer.Close() // the writer before wrote it too
	}
	d.mu.Lock()
	value := binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixMilli()))
	b := d.db.Pebble().NewBatch()
	for k := range d.pending {
		_ = b.Set(k[:], value, nil)
	}
	d.mu.Unlock()
	return d.db.Commit(b, true)
}

var _ io.Closer = (*Devices)(nil)

// Close closes the store.
func (d *Devices) Close() error { return d.db.Close() }
