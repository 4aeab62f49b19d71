package quorum

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/encoding/protowire"
)

// logStore keeps Raft's log and its few stable values in one bbolt file. A
// commit is on disk when it returns; a failed one is an error and leaves
// nothing.
type logStore struct{ db *bbolt.DB }

var (
	bucketLog    = []byte("log")    // big-endian index -> entry
	bucketStable = []byte("stable") // Raft's term and vote
)

// errNotFound must read like this: Raft compares the text.
var errNotFound = errors.New("not found")

// lockWait is how long to wait for another process to let go of the file.
const lockWait = time.Second

func openLogStore(path string) (*logStore, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: lockWait,
		// The free list is found again by reading the file, which is small,
		// instead of being written with every commit.
		NoFreelistSync: true,
		FreelistType:   bbolt.FreelistMapType,
	})
	if err != nil {
		return nil, fmt.Errorf("open registry log %s (is another process using it?): %w", path, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err1 := tx.CreateBucketIfNotExists(bucketLog)
		_, err2 := tx.CreateBucketIfNotExists(bucketStable)
		return errors.Join(err1, err2)
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open registry log %s: %w", path, err), db.Close())
	}
	return &logStore{db}, nil
}

func (s *logStore) Close() error { return s.db.Close() }

// FirstIndex is the oldest entry's index, 0 if there is none.
func (s *logStore) FirstIndex() (uint64, error) {
	return s.end(func(c *bbolt.Cursor) ([]byte, []byte) { return c.First() })
}

// LastIndex is the newest entry's index, 0 if there is none.
func (s *logStore) LastIndex() (uint64, error) {
	return s.end(func(c *bbolt.Cursor) ([]byte, []byte) { return c.Last() })
}

func (s *logStore) end(move func(*bbolt.Cursor) ([]byte, []byte)) (index uint64, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		if k, _ := move(tx.Bucket(bucketLog).Cursor()); k != nil {
			index = binary.BigEndian.Uint64(k)
		}
		return nil
	})
	return index, err
}

// GetLog reads an entry.
func (s *logStore) GetLog(index uint64, into *raft.Log) error {
	return s.db.View(func(tx *bbolt.Tx) error {
		v := tx.Bucket(bucketLog).Get(indexKey(index))
		if v == nil {
			return raft.ErrLogNotFound
		}
		return decodeEntry(v, into)
	})
}

// StoreLog keeps an entry.
func (s *logStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs keeps entries, all or none.
func (s *logStore) StoreLogs(logs []*raft.Log) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketLog)
		b.FillPercent = 0.9 // keys only ascend
		for _, l := range logs {
			if err := b.Put(indexKey(l.Index), encodeEntry(l)); err != nil {
				return fmt.Errorf("store registry log entry %d: %w", l.Index, err)
			}
		}
		return nil
	})
}

// DeleteRange drops entries, both ends inclusive.
func (s *logStore) DeleteRange(from, to uint64) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketLog).Cursor()
		for k, _ := c.Seek(indexKey(from)); k != nil && binary.BigEndian.Uint64(k) <= to; k, _ = c.Next() {
			if err := c.Delete(); err != nil {
				return fmt.Errorf("drop registry log entries: %w", err)
			}
		}
		return nil
	})
}

// IsMonotonic has Raft clear the log where a snapshot leaves a hole in it.
func (s *logStore) IsMonotonic() bool { return true }

// Set keeps a stable value.
func (s *logStore) Set(key, value []byte) error {
	return s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketStable).Put(key, value) })
}

// Get reads a stable value.
func (s *logStore) Get(key []byte) (value []byte, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		v := tx.Bucket(bucketStable).Get(key)
		if v == nil {
			return errNotFound
		}
		value = append([]byte{}, v...)
		return nil
	})
	return value, err
}

// SetUint64 keeps a stable number.
func (s *logStore) SetUint64(key []byte, n uint64) error {
	return s.Set(key, binary.BigEndian.AppendUint64(nil, n))
}

// GetUint64 reads a stable number.
func (s *logStore) GetUint64(key []byte) (uint64, error) {
	v, err := s.Get(key)
	if err != nil {
		return 0, err
	}
	if len(v) != 8 {
		return 0, fmt.Errorf("registry log: %q holds %d bytes, not a number", key, len(v))
	}
	return binary.BigEndian.Uint64(v), nil
}

func indexKey(index uint64) []byte { return binary.BigEndian.AppendUint64(nil, index) }

// entryVersion is the first byte of a stored entry.
const entryVersion = 1

func encodeEntry(l *raft.Log) []byte {
	b := make([]byte, 0, 64+len(l.Data)+len(l.Extensions))
	b = append(b, entryVersion, byte(l.Type))
	b = protowire.AppendVarint(b, l.Index)
	b = protowire.AppendVarint(b, l.Term)
	b = protowire.AppendVarint(b, uint64(appendedAt(l)))
	b = protowire.AppendBytes(b, l.Extensions)
	return append(b, l.Data...)
}

func appendedAt(l *raft.Log) int64 {
	if l.AppendedAt.IsZero() {
		return 0
	}
	return l.AppendedAt.UnixNano()
}

func decodeEntry(b []byte, into *raft.Log) error {
	if len(b) < 2 || b[0] != entryVersion {
		return errors.New("registry log: an entry of a version that this release does not know")
	}
	*into = raft.Log{Type: raft.LogType(b[1])}
	b = b[2:]
	var at uint64
	for _, n := range []*uint64{&into.Index, &into.Term, &at} {
		v, size := protowire.ConsumeVarint(b)
		if size < 0 {
			return errors.New("registry log: an entry is damaged")
		}
		*n, b = v, b[size:]
	}
	extensions, size := protowire.ConsumeBytes(b)
	if size < 0 {
		return errors.New("registry log: an entry is damaged")
	}
	// The database's memory is not ours beyond the transaction.
	into.Extensions = append([]byte(nil), extensions...)
	into.Data = append([]byte{}, b[size:]...)
	if at != 0 {
		into.AppendedAt = time.Unix(0, int64(at))
	}
	return nil
}
