package state

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// twin is the dumber store: plain maps. A crash is a copy.
type twin struct {
	position Position
	dedupe   map[int64]map[Hash]int64
	counters map[string]CounterPut
	settings *registry.Settings
}

func newTwin() *twin {
	return &twin{Start(), map[int64]map[Hash]int64{}, map[string]CounterPut{}, &registry.Settings{}}
}

func (w *twin) clone() *twin {
	c := &twin{w.position, map[int64]map[Hash]int64{}, maps.Clone(w.counters), w.settings}
	for b, keys := range w.dedupe {
		c.dedupe[b] = maps.Clone(keys)
	}
	return c
}

func (w *twin) apply(b *Batch) {
	for _, p := range b.Dedupe {
		w.putKey(p)
	}
	maps.DeleteFunc(w.dedupe, func(bucket int64, _ map[Hash]int64) bool { return bucket < b.ExpireBefore })
	for _, p := range b.Counters {
		p.Key = bytes.Clone(p.Key)
		w.counters[string(p.Key)] = p
	}
	w.settings = w.settings.With(b.Position.Revision, b.Changes)
	w.position = b.Position
}

func (w *twin) putKey(p DedupePut) {
	if w.dedupe[p.Bucket] == nil {
		w.dedupe[p.Bucket] = map[Hash]int64{}
	}
	w.dedupe[p.Bucket][p.Key] = p.ID
}

// compare holds the store against the twin, in full.
func (w *twin) compare(t testing.TB, s *Task) {
	t.Helper()
	if got := s.Position(); got != w.position {
		t.Fatalf("position %+v, want %+v", got, w.position)
	}
	if got, want := fmt.Sprint(s.Settings()), fmt.Sprint(w.settings.Changes()); got != want {
		t.Fatalf("settings\n%s\nwant\n%s", got, want)
	}
	w.compareKeys(t, s)
	w.compareCounters(t, s)
	st := s.Stats()
	var keys int64
	for _, b := range w.dedupe {
		keys += int64(len(b))
	}
	if st.Counters != int64(len(w.counters)) || st.DedupeKeys < keys {
		t.Fatalf("stats count %d counters and %d keys, want %d and at least %d", st.Counters, st.DedupeKeys, len(w.counters), keys)
	}
}

func (w *twin) compareKeys(t testing.TB, s *Task) {
	t.Helper()
	for bucket, keys := range w.dedupe {
		for key, id := range keys {
			got, err := s.Original(key, bucket, bucket)
			if err != nil || got != id {
				t.Fatalf("bucket %d, key %x: id %d, %v; want %d", bucket, key, got, err, id)
			}
			for _, other := range []int64{bucket - 1, bucket + 1} {
				got, err := s.Original(key, other, other)
				if err != nil || got != w.dedupe[other][key] {
					t.Fatalf("bucket %d, key %x of bucket %d: id %d, %v; want %d", other, key, bucket, got, err, w.dedupe[other][key])
				}
			}
		}
	}
}

func (w *twin) compareCounters(t testing.TB, s *Task) {
	t.Helper()
	left := maps.Clone(w.counters)
	var from []byte
	for first := true; first || from != nil; first = false {
		var err error
		from, err = s.SweepCounters(from, 7, -2, func(p CounterPut) error {
			want := left[string(p.Key)]
			if p.ID != want.ID || p.Position != want.Position || p.Hash != want.Hash {
				t.Fatalf("counter %s is %+v, want %+v", counterText(p.Key), p, want)
			}
			delete(left, string(p.Key))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(left) > 0 {
		t.Fatalf("%d counters are missing, such as %+v", len(left), slices.Collect(maps.Values(left))[0])
	}
	for key, want := range w.counters {
		if got, err := s.Last(want.Hash, []byte(key)); err != nil || got != want.ID {
			t.Fatalf("counter %s: last %d, %v; want %d", counterText([]byte(key)), got, err, want.ID)
		}
	}
}

// source makes random input, the same for the same seed. The next batch
// depends on the twin, which stands where the store does.
type source struct {
	rng *rand.Rand
	n   int // counters and dedupe keys to choose from
}

func newSource(seed uint64, n int) *source { return &source{rand.New(rand.NewPCG(seed, 1)), n} }

func (g *source) key() Hash {
	var h Hash
	binary.LittleEndian.PutUint64(h[:], g.rng.Uint64())
	binary.LittleEndian.PutUint64(h[8:], g.rng.Uint64())
	return h
}

func counterName(i int) []byte {
	return schemas.CounterKey(nil, fmt.Sprintf("demo_APP%d", i%3), fmt.Sprintf("BIZ%d", i%4), fmt.Sprintf("user-%d", i))
}

// batch makes what a run of requests may change.
func (g *source) batch(w *twin) *Batch {
	b := &Batch{Position: w.position}
	at := &b.Position
	if g.rng.IntN(10) == 0 {
		at.StreamTime += g.rng.Int64N(15)
	}
	bucket := at.StreamTime / 10
	if oldest := max(0, at.StreamTime-20) / 10; oldest > max(0, w.position.StreamTime-20)/10 {
		b.ExpireBefore = oldest
	}
	last := map[string]int64{}
	for range g.rng.IntN(g.n) {
		at.Request += 1 + g.rng.Int64N(2)
		at.Entry, at.OplogOffset = at.Request, at.OplogOffset+1
		at.Chain = g.key()
		key := counterName(g.rng.IntN(g.n))
		id := max(w.counters[string(key)].ID, last[string(key)]) + 1
		last[string(key)] = id
		b.Counters = append(b.Counters, CounterPut{Hash: HashKey(key), Key: key, ID: id, Position: at.Request})
		b.Dedupe = append(b.Dedupe, DedupePut{Bucket: bucket, Key: g.key(), ID: id})
	}
	if g.rng.IntN(8) == 0 {
		at.Revision++
		b.Changes = g.changes()
	}
	return b
}

func (g *source) changes() []schemas.Change {
	var all []schemas.Change
	for range 1 + g.rng.IntN(4) {
		c := schemas.Change{InstanceID: fmt.Sprintf("i\x00%d", g.rng.IntN(3)), Kind: schemas.ChangeKind(1 + g.rng.IntN(4))}
		switch c.Kind {
		case schemas.PutSync:
			c.Sync = schemas.SyncConfig{BizType: fmt.Sprintf("B%d", g.rng.IntN(3)), Scope: "global", Threshold: g.rng.Int64N(9), Online: true}
		case schemas.DeleteSync:
			c.Sync.BizType = fmt.Sprintf("B%d", g.rng.IntN(3))
		}
		all = append(all, c)
	}
	return all
}

func newTopology(t testing.TB) *topology.Topology {
	t.Helper()
	top, err := topology.New(topology.Config{Window: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return top
}

func newShared(t testing.TB) *Shared {
	t.Helper()
	s, err := NewShared(SharedConfig{CacheBytes: 16 << 20, OpenFiles: 64})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// config is small, so that little data makes many flushes and segments.
func config(t testing.TB, fs vfs.FS) TaskConfig {
	return TaskConfig{
		Dir: "task-3", FS: fs, Topology: newTopology(t), Partition: 3,
		MemTableBytes: minMemTableBytes, CounterBytes: 2 * counterSetBytes, Log: slog.New(slog.DiscardHandler),
	}
}

func open(t testing.TB, s *Shared, cfg TaskConfig) *Task {
	t.Helper()
	task, err := s.OpenTask(cfg)
	if err != nil {
		t.Fatal(err)
	}
	// Many runs with few keys, and filters that do not fit into memory.
	task.dedupe.tableKeys, task.dedupe.limit = 16, 1<<10
	return task
}

func closeTask(t testing.TB, s *Task) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func mustApply(t testing.TB, s *Task, w *twin, b *Batch) {
	t.Helper()
	if err := s.Apply(b); err != nil {
		t.Fatal(err)
	}
	w.apply(b)
}
