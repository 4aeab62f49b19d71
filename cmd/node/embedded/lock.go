package embedded

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Names of the lock in a data directory: the lock itself, and a note about who
// holds it, which is not deleted and means nothing without the lock.
const (
	lockName   = "LOCK"
	holderName = "LOCK.holder"
)

// holder is who has a directory.
type holder struct {
	PID   int       `json:"pid"`
	Addr  string    `json:"addr"`
	Since time.Time `json:"since"`
}

// dirLock keeps other processes out of a directory. The operating system drops
// it with the process, however that ends.
type dirLock struct {
	lock io.Closer
}

func lockDir(dir, addr string) (*dirLock, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	lock, err := vfs.Default.Lock(filepath.Join(dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("data directory %s is in use by %s: stop that process, or choose another directory with --data-dir (%w)", dir, readHolder(dir), err)
	}
	note, err := json.Marshal(holder{PID: os.Getpid(), Addr: addr, Since: time.Now().UTC().Truncate(time.Second)})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, holderName), note, 0o644)
	}
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("note who holds %s: %w", dir, err)
	}
	return &dirLock{lock}, nil
}

func readHolder(dir string) string {
	var h holder
	b, err := os.ReadFile(filepath.Join(dir, holderName))
	if err != nil || json.Unmarshal(b, &h) != nil {
		return "another process"
	}
	return fmt.Sprintf("process %d (broker on %s, since %s)", h.PID, h.Addr, h.Since.Format(time.RFC3339))
}

// release is for the end of the process's use; an error here changes nothing.
func (l *dirLock) release() { _ = l.lock.Close() }
