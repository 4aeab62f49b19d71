package state

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// failStop is the file system under a store. The first write that fails stops
// it: from then on it keeps nothing and calls every write a success.
//
// Pebble v2.1 cannot be told of a failed write. A failed write, close or
// creation of its log panics while locks are held, some of which are then
// unlocked twice, which no recover can catch; a failed manifest calls Fatalf;
// a failed flush is tried again at once and for ever, with writers waiting for
// it. So Pebble is kept content, the failure is kept here, and the store
// refuses everything from then on and waits to be closed.
//
// What is on disk is then what a crash at the first failure would have left,
// because what depends on a lost write comes after it and is lost too.
type failStop struct {
	vfs.FS
	first atomic.Pointer[ioFailure]
	once  sync.Once
	dead  chan struct{} // closed at the first failure
}

// ioFailure is the first failure of a store.
type ioFailure struct{ err error }

func newFailStop(fs vfs.FS) *failStop { return &failStop{FS: fs, dead: make(chan struct{})} }

// fail stops the file system, if it runs.
func (s *failStop) fail(err error) {
	s.once.Do(func() {
		s.first.Store(&ioFailure{err})
		close(s.dead)
	})
}

// failed is why the file system stopped, or nil.
func (s *failStop) failed() error {
	if f := s.first.Load(); f != nil {
		return f.err
	}
	return nil
}

func (s *failStop) stopped() bool { return s.first.Load() != nil }

// do runs a write unless stopped, and keeps its failure.
func (s *failStop) do(what, name string, write func() error) {
	if s.stopped() {
		return
	}
	if err := write(); err != nil {
		s.fail(fmt.Errorf("%s %s: %w", what, name, err))
	}
}

// open is [failStop.do] for what gives a file to write to.
func (s *failStop) open(what, name string, open func() (vfs.File, error)) (vfs.File, error) {
	f := &stopFile{fs: s, name: s.FS.PathBase(name)}
	s.do(what, name, func() error {
		file, err := open()
		if err == nil {
			f.File = file
		}
		return err
	})
	return f, nil
}

func (s *failStop) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return s.open("create", name, func() (vfs.File, error) { return s.FS.Create(name, c) })
}

func (s *failStop) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return s.open("open", name, func() (vfs.File, error) { return s.FS.OpenReadWrite(name, c, o...) })
}

func (s *failStop) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return s.open("reuse", from, func() (vfs.File, error) { return s.FS.ReuseForWrite(from, to, c) })
}

// OpenDir opens a directory for syncing.
func (s *failStop) OpenDir(name string) (vfs.File, error) {
	f, err := s.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &stopFile{File: f, fs: s, name: name}, nil
}

func (s *failStop) Link(from, to string) error {
	s.do("link", from, func() error { return s.FS.Link(from, to) })
	return nil
}

func (s *failStop) Rename(from, to string) error {
	s.do("rename", from, func() error { return s.FS.Rename(from, to) })
	return nil
}

// Remove may fail without harm: the file is then an obsolete one too many.
// Once stopped nothing may go, since what replaces it was not kept.
func (s *failStop) Remove(name string) error {
	if s.stopped() {
		return nil
	}
	return s.FS.Remove(name)
}

func (s *failStop) RemoveAll(name string) error {
	if s.stopped() {
		return nil
	}
	return s.FS.RemoveAll(name)
}

func (s *failStop) MkdirAll(dir string, perm os.FileMode) error {
	if s.stopped() {
		return nil
	}
	return s.FS.MkdirAll(dir, perm) // at open only, where errors are returned
}

// Lock says in plain words that another process has the store.
func (s *failStop) Lock(name string) (io.Closer, error) {
	c, err := s.FS.Lock(name)
	if errors.Is(err, syscall.EAGAIN) || err != nil && strings.Contains(err.Error(), "held by current process") {
		err = fmt.Errorf("%w (%w)", ErrInUse, err)
	}
	return c, err
}

func (s *failStop) Unwrap() vfs.FS { return s.FS }

// stopFile is a file that is written to. Its File is nil if it was created
// after the failure.
type stopFile struct {
	vfs.File
	fs   *failStop
	name string
	size atomic.Int64
}

func (f *stopFile) do(what string, write func() error) {
	if f.File != nil {
		f.fs.do(what, f.name, write)
	}
}

func (f *stopFile) Write(p []byte) (int, error) {
	n := len(p) // the file may change p while it writes
	f.size.Add(int64(n))
	f.do("write", func() error {
		_, err := f.File.Write(p)
		return err
	})
	return n, nil
}

func (f *stopFile) WriteAt(p []byte, at int64) (int, error) {
	n := len(p)
	f.do("write", func() error {
		_, err := f.File.WriteAt(p, at)
		return err
	})
	return n, nil
}

func (f *stopFile) Sync() error {
	f.do("sync", func() error { return f.File.Sync() })
	return nil
}

func (f *stopFile) SyncData() error {
	f.do("sync", func() error { return f.File.SyncData() })
	return nil
}

func (f *stopFile) SyncTo(length int64) (full bool, err error) {
	f.do("sync", func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, nil
}

// Preallocate is advice. A disk that is full says so at the write.
func (f *stopFile) Preallocate(offset, length int64) error {
	if f.File != nil && !f.fs.stopped() {
		_ = f.File.Preallocate(offset, length)
	}
	return nil
}

func (f *stopFile) Prefetch(offset, length int64) error {
	if f.File == nil {
		return nil
	}
	return f.File.Prefetch(offset, length)
}

// Close closes the file even when stopped: handles are not kept.
func (f *stopFile) Close() error {
	if f.File == nil {
		return nil
	}
	if err := f.File.Close(); err != nil {
		f.fs.fail(fmt.Errorf("close %s: %w", f.name, err))
	}
	return nil
}

func (f *stopFile) Stat() (vfs.FileInfo, error) {
	if f.File != nil {
		fi, err := f.File.Stat()
		if err == nil {
			return fi, nil
		}
		f.fs.fail(fmt.Errorf("stat %s: %w", f.name, err))
	}
	return lostFile{name: f.name, size: f.size.Load()}, nil
}

func (f *stopFile) Read(p []byte) (int, error) {
	if f.File == nil {
		return 0, io.ErrUnexpectedEOF
	}
	return f.File.Read(p)
}

func (f *stopFile) ReadAt(p []byte, at int64) (int, error) {
	if f.File == nil {
		return 0, io.ErrUnexpectedEOF
	}
	return f.File.ReadAt(p, at)
}

func (f *stopFile) Fd() uintptr {
	if f.File == nil {
		return vfs.InvalidFd
	}
	return f.File.Fd()
}

// lostFile describes a file that was created after the failure.
type lostFile struct {
	name string
	size int64
}

func (l lostFile) Name() string           { return l.name }
func (l lostFile) Size() int64            { return l.size }
func (l lostFile) Mode() os.FileMode      { return 0o644 }
func (l lostFile) ModTime() time.Time     { return time.Time{} }
func (l lostFile) IsDir() bool            { return false }
func (l lostFile) Sys() any               { return nil }
func (l lostFile) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }
