package state

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	minMemTableBytes = 256 << 10
	// level0Max is how many runs of level 0 a look-up may have to search before
	// writes wait for compactions.
	level0Max = 24
)

// ErrInUse says that somebody has the store open.
var ErrInUse = errors.New("the store is in use: stop the process that runs it, or ask that process (tidemark status)")

// DBConfig says how to open one Pebble store.
type DBConfig struct {
	// Dir is where the store lives. It is made if missing.
	Dir string
	// FS is the file system; default the operating system's.
	FS vfs.FS
	// Identity is whose store it is: written when it is made, compared when it
	// is opened.
	Identity Identity
	// MemTableBytes is the size of a memtable; default 2 MiB. Larger makes for
	// fewer and larger flushes, and costs three times that memory per store.
	MemTableBytes int64
	// Log gets what Pebble has to say; default [slog.Default].
	Log *slog.Logger

	// Merger, Spans (where tables must end) and LastLevelFilters (write filters
	// that Get does not read) are for the packages that define a layout.
	Merger           *pebble.Merger
	Spans            pebble.SpanPolicyFunc
	LastLevelFilters bool

	// ReadOnly opens a store that no process runs, to look at it.
	ReadOnly bool
}

func (c DBConfig) withDefaults() DBConfig {
	if c.FS == nil {
		c.FS = vfs.Default
	}
	if c.MemTableBytes == 0 {
		c.MemTableBytes = DefaultMemTableBytes
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	c.Log = c.Log.With("store", c.Dir)
	return c
}

// Validate names the field that cannot be.
func (c DBConfig) Validate() error {
	c = c.withDefaults()
	switch {
	case c.Dir == "":
		return errors.New("state: a store needs a directory")
	case c.MemTableBytes < minMemTableBytes:
		return fmt.Errorf("state: memtable of %d bytes: at least %d", c.MemTableBytes, minMemTableBytes)
	}
	return nil
}

// DB is a Pebble store that fails once: after the first write that the disk
// refuses, or damage that Pebble finds, all calls return that error, nothing
// more reaches the disk, and what is there is what a crash at that moment
// would have left. The process lives on.
//
// Writes must come from one goroutine at a time; look-ups need no order.
type DB struct {
	db  *pebble.DB
	fs  *failStop
	dir string
	log *slog.Logger

	level0   atomic.Bool   // level 0 has changed since it was looked at
	changed  chan struct{} // capacity 1: level 0 may have shrunk
	flushes  atomic.Int64
	commits  atomic.Int64
	quiet    quietMark
	waits    atomic.Int64 // commits that waited for compactions
	readOnly bool
}

// quietMark is what [DB.FlushQuiet] saw at its last call.
type quietMark struct {
	commits, flushes int64
	dirty            bool
}

// OpenDB opens a store, or makes it.
func (s *Shared) OpenDB(cfg DBConfig) (*DB, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	db := &DB{fs: newFailStop(cfg.FS), dir: cfg.Dir, log: cfg.Log, changed: make(chan struct{}, 1), readOnly: cfg.ReadOnly}
	pdb, err := pebble.Open(cfg.Dir, db.options(s, &cfg))
	err = errors.Join(db.fs.failed(), err)
	if err == nil {
		db.db = pdb
		err = db.identify(cfg.Identity)
	}
	if err != nil {
		if pdb != nil {
			err = errors.Join(err, pdb.Close())
		}
		return nil, fmt.Errorf("open store %s: %w", cfg.Dir, err)
	}
	return db, nil
}

// Pebble gives the store itself, for reading. Writes go through [DB.Commit].
func (db *DB) Pebble() *pebble.DB { return db.db }

// Dir is where the store lives.
func (db *DB) Dir() string { return db.dir }

// Failed is why the store has stopped, or nil.
func (db *DB) Failed() error {
	if err := db.fs.failed(); err != nil {
		return fmt.Errorf("store %s has failed, reopen it: %w", db.dir, err)
	}
	return nil
}

// Fail stops the store: its owner has found what must not be.
func (db *DB) Fail(err error) { db.fs.fail(err) }

// Commit writes a batch whole or not at all, and closes it. Without sync a
// crash may lose it, together with every later one.
func (db *DB) Commit(b *pebble.Batch, sync bool) error {
	defer b.Close()
	if err := db.waitForCompaction(); err != nil {
		return err
	}
	o := pebble.NoSync
	if sync {
		o = pebble.Sync
	}
	if err := db.db.Apply(b, o); err != nil {
		db.fs.fail(fmt.Errorf("write batch: %w", err))
	}
	db.commits.Add(1)
	return db.Failed()
}

// waitForCompaction holds a writer back while level 0 has too many runs. It
// ends early when the store fails.
func (db *DB) waitForCompaction() error {
	if err := db.Failed(); err != nil {
		return err
	}
	if !db.level0.Swap(false) {
		return nil
	}
	for waited := false; db.db.Metrics().Levels[0].Sublevels > level0Max; {
		if !waited {
			waited = true
			db.waits.Add(1)
		}
		select {
		case <-db.changed:
		case <-db.fs.dead:
			return db.Failed()
		}
	}
	return nil
}

func (db *DB) level0Changed() {
	db.level0.Store(true)
	select {
	case db.changed <- struct{}{}:
	default:
	}
}

// Flush writes the memtables out and waits for it, or for the store to fail.
func (db *DB) Flush() error {
	if err := db.Failed(); err != nil {
		return err
	}
	done, err := db.db.AsyncFlush()
	if err != nil {
		db.fs.fail(fmt.Errorf("flush: %w", err))
		return db.Failed()
	}
	select {
	case <-done:
	case <-db.fs.dead: // Pebble tries again and again
	}
	return db.Failed()
}

// FlushQuiet flushes a store that is written to too little to flush itself. Its
// owner calls it at intervals of a minute or so, not all stores at once. What
// was written before one call and not flushed since is flushed at the next, so
// data waits for two intervals at most, and a busy store is left alone.
func (db *DB) FlushQuiet() (flushed bool, err error) {
	if err := db.Failed(); err != nil {
		return false, err
	}
	last := db.quiet
	now := quietMark{commits: db.commits.Load(), flushes: db.flushes.Load()}
	now.dirty = now.commits != last.commits || last.dirty && now.flushes == last.flushes
	db.quiet = now
	if !last.dirty || now.flushes != last.flushes {
		return false, nil
	}
	if err := db.Flush(); err != nil {
		return false, err
	}
	db.quiet = quietMark{commits: db.commits.Load(), flushes: db.flushes.Load()}
	return true, nil
}

// Close flushes, so that the next start has nothing to repeat, and closes. For
// a store that has failed it gives that error.
func (db *DB) Close() error {
	var err error
	if !db.readOnly {
		err = db.Flush()
	}
	if cerr := db.db.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("close store %s: %w", db.dir, cerr)
	}
	return err
}

// get looks a key up. The value is valid until the closer is closed; a nil
// closer says that the key is not there.
func (db *DB) get(key []byte) ([]byte, io.Closer, error) {
	v, closer, err := db.db.Get(key)
	switch {
	case err == nil:
		return v, closer, nil
	case errors.Is(err, pebble.ErrNotFound):
		return nil, nil, nil
	}
	if failed := db.Failed(); failed != nil { // a table that was not kept
		return nil, nil, failed
	}
	return nil, nil, fmt.Errorf("read store %s: %w", db.dir, err)
}

// quietLogger passes on what Pebble says. Pebble calls Fatalf where it cannot
// go on; the store stops instead of the process.
type quietLogger struct{ db *DB }

func (l quietLogger) Infof(format string, args ...any) {
	if l.db.log.Enabled(context.Background(), slog.LevelDebug) {
		l.db.log.Debug(fmt.Sprintf(format, args...))
	}
}

func (l quietLogger) Errorf(format string, args ...any) {
	l.db.log.Warn(fmt.Sprintf(format, args...))
}

func (l quietLogger) Fatalf(format string, args ...any) {
	l.db.fs.fail(fmt.Errorf(format, args...))
}

// errStop ends a scan early.
var errStop = errors.New("enough")

// scan visits the keys from one up to and without another, or until visit
// gives errStop.
func (db *DB) scan(from, to []byte, visit func(*pebble.Iterator) error) (err error) {
	it, err := db.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return fmt.Errorf("read store %s: %w", db.dir, err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		if err := visit(it); errors.Is(err, errStop) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return it.Error()
}
