package state

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/cockroachdb/pebble/v2"
)

// Defaults and limits of a [SharedConfig].
const (
	DefaultCacheBytes = 64 << 20
	DefaultOpenFiles  = 1024
	minCacheBytes     = 1 << 20
	minOpenFiles      = 16
)

// SharedConfig is what all stores of a process have in common. The zero value
// is usable.
type SharedConfig struct {
	// CacheBytes holds blocks of tables, and the memtables too: Pebble takes
	// those out of the cache, so this bounds both. Default 64 MiB, which is
	// eight tasks' memtables at their fullest and as much of blocks. More makes
	// look-ups that find something (duplicates, cold counters) cheaper.
	CacheBytes int64
	// OpenFiles is how many tables are kept open; default 1024. More saves
	// reopening; each costs a file handle and some 10 KiB.
	OpenFiles int
	// Compactions is how many run at once over all stores; default half the
	// processors, at least one. More keeps up with more writes and takes the
	// CPU from deciding.
	Compactions int
}

func (c SharedConfig) withDefaults() SharedConfig {
	if c.CacheBytes == 0 {
		c.CacheBytes = DefaultCacheBytes
	}
	if c.OpenFiles == 0 {
		c.OpenFiles = DefaultOpenFiles
	}
	if c.Compactions == 0 {
		c.Compactions = max(1, runtime.GOMAXPROCS(0)/2)
	}
	return c
}

// Validate names the field that cannot be.
func (c SharedConfig) Validate() error {
	c = c.withDefaults()
	switch {
	case c.CacheBytes < minCacheBytes:
		return fmt.Errorf("state: cache of %d bytes: at least %d", c.CacheBytes, minCacheBytes)
	case c.OpenFiles < minOpenFiles:
		return fmt.Errorf("state: %d open files: at least %d", c.OpenFiles, minOpenFiles)
	case c.Compactions < 1:
		return fmt.Errorf("state: %d concurrent compactions: at least 1", c.Compactions)
	}
	return nil
}

// Shared is what all stores of a process have in common: cache, open tables,
// and how many compactions run at once. It is safe for concurrent use.
type Shared struct {
	cfg         SharedConfig
	cache       *pebble.Cache
	files       *pebble.FileCache
	compactions compactions
}

// NewShared makes it. Close it after the last store.
func NewShared(cfg SharedConfig) (*Shared, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	return &Shared{
		cfg:         cfg,
		cache:       pebble.NewCache(cfg.CacheBytes),
		files:       pebble.NewFileCache(runtime.GOMAXPROCS(0), cfg.OpenFiles),
		compactions: compactions{limit: cfg.Compactions},
	}, nil
}

// Close gives the memory back. It fails while a store is open.
func (s *Shared) Close() error {
	s.compactions.mu.Lock()
	open := len(s.compactions.stores)
	s.compactions.mu.Unlock()
	if open > 0 {
		return fmt.Errorf("state: close shared cache: %d stores are still open", open)
	}
	if s.cache == nil {
		return errors.New("state: shared cache closed twice")
	}
	s.files.Unref()
	s.cache.Unref()
	s.files, s.cache = nil, nil
	return nil
}

// CacheStats are the figures of the block cache of all stores.
type CacheStats struct {
	Bytes, BytesMax int64 // blocks now; blocks and memtables at most
	Hits, Misses    int64
}

// Stats gives the figures of the block cache.
func (s *Shared) Stats() CacheStats {
	m := s.cache.Metrics()
	return CacheStats{Bytes: m.Size, BytesMax: s.cfg.CacheBytes, Hits: m.Hits, Misses: m.Misses}
}
