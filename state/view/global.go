package view

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tidemarkio/tidemark/topology"
)

// Global is an edge's copy of all global entries, from every partition of the
// broadcast topic. Its logs have no target.
type Global struct {
	logs
	mu    sync.Mutex    // the writer's
	next  []int64       // offset to read next, by partition; -1: not begun
	heads map[Log]int64 // of every log
}

// OpenGlobal opens the store of global entries, or makes it.
func OpenGlobal(cfg Config) (*Global, error) {
	l, err := cfg.open("global", 0)
	if err != nil {
		return nil, err
	}
	g := &Global{logs: l, heads: make(map[Log]int64)}
	if err := g.load(cfg.Topology); err != nil {
		return nil, errors.Join(fmt.Errorf("open global store %s: %w", cfg.Dir, err), l.db.Close())
	}
	return g, nil
}

func (g *Global) load(t *topology.Topology) error {
	if t != nil {
		g.next = make([]int64, t.Partitions)
	}
	for p := range g.next {
		value, err := g.get(broadcastKey(int32(p)))
		if err != nil {
			return err
		}
		g.next[p] = -1
		if len(value) == 8 {
			g.next[p] = int64(binary.BigEndian.Uint64(value))
		}
	}
	it, err := g.over([]byte{kindHead})
	if err != nil {
		return err
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		var l Log
		if l, _, err = parseLog(it.Key()); err == nil {
			id, _ := binary.Uvarint(it.Value())
			g.heads[l] = int64(id)
		}
	}
	return g.done(it, err)
}

// broadcastKey is where the offset of a broadcast partition is kept.
func broadcastKey(p int32) []byte {
	return binary.BigEndian.AppendUint32([]byte("mbroadcast"), uint32(p))
}

// Next is the offset of a broadcast partition to read next; -1 if nothing was
// read of it yet: begin where it begins.
func (g *Global) Next(partition int32) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.next[partition]
}

// Apply takes the next records of a broadcast partition. They are copies that
// tasks may write again, so an id is accepted if it follows the last one of
// its log; the first of a log is taken as it stands. Lower ones are repeats.
// Higher ones are orphans: the task that lost a copy writes all of them again.
func (g *Global) Apply(partition int32, records []Record) (Applied, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.db.Pebble().NewBatch()
	var out Applied
	var stop error
	grown := make(map[Log]struct{})
	for i := range records {
		if stop = g.applyRecord(b, &records[i], &out, grown); stop != nil {
			stop = fmt.Errorf("broadcast partition %d, offset %d: %w", partition, records[i].Offset, stop)
			break
		}
		g.next[partition] = records[i].Offset + 1
	}
	_ = b.Set(broadcastKey(partition), binary.BigEndian.AppendUint64(nil, uint64(g.next[partition])), nil)
	if err := g.db.Commit(b, false); err != nil {
		return Applied{}, err
	}
	for l := range grown {
		if err := g.trim(l); err != nil {
			return out, err
		}
	}
	return out, stop
}

func (g *Global) applyRecord(b *pebble.Batch, r *Record, out *Applied, grown map[Log]struct{}) error {
	a := Accepted{Record: r.Value, Time: r.Time}
	e := &a.Entry
	if err := e.Decode(r.Value); err != nil {
		return err
	}
	if !e.Global() || e.Marker() {
		return fmt.Errorf("entry %d of business %.40q is not a global one", e.OplogID, e.BizType)
	}
	l := Log{InstanceID: e.InstanceID, BizType: e.BizType}
	last, known := g.heads[l]
	switch {
	case known && e.OplogID <= last:
		out.Repeats++
		return nil
	case known && e.OplogID > last+1:
		out.Orphans++
		return nil
	}
	l = cloneLog(&l)
	e.NonPersistent = false // spec D14: global is always kept
	if g.stage(b, &l, &a) {
		grown[l] = struct{}{}
	}
	g.stageHead(b, &l, e.OplogID)
	g.addCounts(b, &l, a.Time, Counts{Pushes: 1})
	g.heads[l] = e.OplogID
	out.Entries = append(out.Entries, a)
	return nil
}

// Head is the largest id of a log; 0 for none. It reads nothing from disk.
func (g *Global) Head(l Log) (int64, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.heads[l], nil
}

// Sweep is [View.Sweep] for global entries.
func (g *Global) Sweep(now int64, n int) (Swept, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sweepSome(now, n)
}

// FlushQuiet is [View.FlushQuiet].
func (g *Global) FlushQuiet() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, err := g.db.FlushQuiet()
	return err
}

// Close flushes and closes. No read may be under way.
func (g *Global) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.db.Close()
}
