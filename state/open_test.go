package state

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidemarkio/tidemark/topology"
)

// tamper changes a closed store behind its back.
func tamper(t *testing.T, cfg TaskConfig, change func(b *pebble.Batch)) {
	t.Helper()
	db, err := pebble.Open(cfg.Dir, &pebble.Options{FS: cfg.FS, Merger: maxMerger, FormatMajorVersion: pebble.FormatTableFormatV6, Logger: quietLogger{&DB{log: cfg.Log}}})
	if err != nil {
		t.Fatal(err)
	}
	b := db.NewBatch()
	change(b)
	if err := errors.Join(b.Commit(pebble.Sync), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestOpenRefuses: a store that is not ours, or not of this release, is refused
// in words that say why, and left as it is.
func TestOpenRefuses(t *testing.T) {
	other, err := topology.New(topology.Config{Window: 2 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	set := func(key, value []byte) func(*pebble.Batch) {
		return func(b *pebble.Batch) { _ = b.Set(key, value, nil) }
	}
	newer := (&stand{Position: Position{Request: 1}}).append(nil)
	newer[0] = positionVersion + 1
	for name, c := range map[string]struct {
		config func(*TaskConfig)
		change func(*pebble.Batch)
		err    error
		says   string
	}{
		"other partition":   {func(c *TaskConfig) { c.Partition = 4 }, nil, ErrForeign, "belongs to partition 3, wanted is 4"},
		"other topology":    {func(c *TaskConfig) { c.Topology = other }, nil, ErrForeign, "windowMillis is 120000 here, but the data was made with 60000"},
		"other kind":        {nil, set(keyIdentity, []byte(`{"kind":"view","partition":3}`)), ErrForeign, `kind "view", wanted is "task"`},
		"newer format":      {nil, set(keyFormat, []byte{0, 0, 0, 2}), ErrFormat, "format 00000002"},
		"newer position":    {nil, set(keyPosition, newer), ErrFormat, "position 02"},
		"short position":    {nil, set(keyPosition, []byte{positionVersion}), ErrFormat, "position 01"},
		"identity":          {nil, set(keyIdentity, []byte("{")), ErrFormat, "identity"},
		"no format":         {nil, func(b *pebble.Batch) { _ = b.Delete(keyFormat, nil) }, ErrForeign, "another program"},
		"dedupe key":        {nil, set([]byte("dxxxxx"), nil), errKey, "dedupe key"},
		"dedupe record":     {nil, set(recordKey(1), []byte{1, 2}), ErrFormat, "bucket 1"},
		"dedupe record, id": {nil, set(recordKey(1), []byte{0, 1, 1, 1, 6, 9}), ErrFormat, "bucket 1, run 1: record"},
		"missing run":       {nil, set(recordKey(1), []byte{0, 3, 1, 2, 6, 9}), ErrFormat, "run 2: keys are missing"},
		"journal":           {nil, set(journalKeyOf(1, 1), []byte{1, 2}), ErrFormat, "dedupe entry"},
		"setting":           {nil, set([]byte("sx"), nil), errKey, "settings key"},
	} {
		t.Run(name, func(t *testing.T) {
			shared, cfg := newShared(t), config(t, vfs.NewMem())
			s, w := open(t, shared, cfg), newTwin()
			mustApply(t, s, w, newSource(1, 20).batch(w))
			closeTask(t, s)
			if c.change != nil {
				tamper(t, cfg, c.change)
			}
			if c.config != nil {
				c.config(&cfg)
			}
			_, err := shared.OpenTask(cfg)
			if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), cfg.Dir) {
				t.Errorf("got: %v\nwant: %v, with %q", err, c.err, c.says)
			}
			if c.config != nil { // ours again: nothing was changed
				s = open(t, shared, config(t, cfg.FS))
				w.compare(t, s)
				closeTask(t, s)
			}
		})
	}
}

func journalKeyOf(bucket, entry uint32) []byte {
	k := make([]byte, journalKeyLen)
	putJournalKey(k, bucket, entry)
	return k
}

func TestOpenTwice(t *testing.T) {
	shared, cfg := newShared(t), config(t, vfs.Default)
	cfg.Dir = t.TempDir()
	s := open(t, shared, cfg)
	if _, err := shared.OpenTask(cfg); !errors.Is(err, ErrInUse) {
		t.Errorf("opened twice: %v", err)
	}
	closeTask(t, s)
}

func TestConfigsNameTheField(t *testing.T) {
	top := newTopology(t)
	for says, err := range map[string]error{
		"topology":      TaskConfig{Dir: "x"}.Validate(),
		"partition 8":   TaskConfig{Dir: "x", Topology: top, Partition: 8}.Validate(),
		"for filters":   TaskConfig{Dir: "x", Topology: top, FilterBytes: 1}.Validate(),
		"for counters":  TaskConfig{Dir: "x", Topology: top, CounterBytes: 1}.Validate(),
		"directory":     DBConfig{}.Validate(),
		"memtable of 1": DBConfig{Dir: "x", MemTableBytes: 1}.Validate(),
		"cache of 1":    SharedConfig{CacheBytes: 1}.Validate(),
		"1 open files":  SharedConfig{OpenFiles: 1}.Validate(),
		"compactions":   SharedConfig{Compactions: -1}.Validate(),
	} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", says, err)
		}
	}
	for _, err := range []error{TaskConfig{Dir: "x", Topology: top}.Validate(), DBConfig{Dir: "x"}.Validate(), SharedConfig{}.Validate()} {
		if err != nil {
			t.Error(err)
		}
	}
}

func TestLedger(t *testing.T) {
	shared, err := NewShared(SharedConfig{CacheBytes: 128 << 20, OpenFiles: 1024, Compactions: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	l := shared.Ledger()
	TaskConfig{}.Account(&l, 8)
	const want = `   128.0 MiB  cache: blocks and memtables
    10.0 MiB  open tables: 1024 of 10 KiB
     4.0 MiB  compactions
   128.0 MiB  task: filters of dedupe keys: 8 of 16.0 MiB
    10.0 MiB  task: newest dedupe keys: 8 of 1.2 MiB
    32.0 MiB  task: cache of counters: 8 of 4.0 MiB
   312.0 MiB  in all (memtables: up to 96.0 MiB of the cache)
`
	if got := l.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if err := l.Check(312 << 20); err != nil {
		t.Error(err)
	}
	if err := l.Check(311 << 20); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "over the budget of 311.0 MiB") {
		t.Errorf("over budget: %v", err)
	}
	TaskConfig{}.Account(&l, 7)
	if err := l.Check(1 << 40); err == nil || !strings.Contains(err.Error(), "memtables of up to 180.0 MiB") {
		t.Errorf("memtables over the cache: %v", err)
	}
}
