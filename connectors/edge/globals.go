package edge

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemarkio/tidemark/connectors/edge/session"
	"github.com/tidemarkio/tidemark/state/view"
)

// globals are the entries that are for everybody: one shared copy, and in
// every session no more than a place in it. Only newcomers are told when it
// grows: global entries wait for the next connect or foreground.
type globals struct {
	store   *view.Global
	metrics *metrics
	parked  atomic.Pointer[string]
	repeats atomic.Int64
	orphans atomic.Int64

	mu    sync.Mutex
	live  map[view.Log]*liveLog
	tails tails
	// recent are those who came in the last moment: entries that were written
	// before they came may be seen only now. Oldest first.
	recent []newcomer
}

// newcomer is a session that has just begun to follow a global log.
type newcomer struct {
	sub
	log  view.Log
	time int64 // epoch ms
}

// lateMax is how much later than it was written an entry may be seen, and still
// reach those who came in between.
const lateMax = 2 * time.Second

func newGlobals(g *view.Global, tailBytes int, m *metrics) *globals {
	return &globals{store: g, metrics: m, live: make(map[view.Log]*liveLog), tails: tails{bytesMax: tailBytes}}
}

func (g *globals) park(reason string) { g.parked.CompareAndSwap(nil, &reason) }

// read visits what is in the log after an id.
func (g *globals) read(l view.Log, after int64, visit func(*session.Entry) bool) error {
	head, err := g.store.Head(l)
	if err != nil || after >= head {
		return err
	}
	g.mu.Lock()
	var tail []*session.Entry
	to := head
	if ll := g.live[l]; ll != nil && len(ll.tail) > 0 {
		tail, to = ll.fromTail(after)
	}
	g.mu.Unlock()
	goOn, err := readView(g.store, l, after, to, visit)
	if err != nil {
		return err
	}
	for _, e := range tail {
		if !goOn {
			break
		}
		goOn = visit(e)
	}
	return nil
}

// follow gives a log's head to a session that begins to follow it.
func (g *globals) follow(l view.Log, s sub, now int64) (head int64, err error) {
	g.mu.Lock()
	g.forgetRecent(now)
	g.recent = append(g.recent, newcomer{s, l, now})
	g.mu.Unlock()
	return g.store.Head(l)
}

// forgetRecent drops those who are newcomers no more. With g.mu.
func (g *globals) forgetRecent(now int64) {
	n := 0
	for n < len(g.recent) && g.recent[n].time < now-lateMax.Milliseconds() {
		n++
	}
	g.recent = slices.Delete(g.recent, 0, n)
}

// apply takes what a fetch brought of a broadcast partition.
func (g *globals) apply(partition int32, records []view.Record) error {
	out, err := g.store.Apply(partition, records)
	g.repeats.Add(int64(out.Repeats))
	g.orphans.Add(int64(out.Orphans))
	g.metrics.applied(&out)
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range out.Entries {
		a := &out.Entries[i]
		l := view.Log{InstanceID: a.Entry.InstanceID, BizType: a.Entry.BizType}
		ll := g.live[l]
		if ll == nil {
			ll = &liveLog{log: view.Log{InstanceID: strings.Clone(l.InstanceID), BizType: strings.Clone(l.BizType)}}
			g.live[ll.log] = ll
		}
		e := newEntry(&a.Entry, &ll.log)
		e.NonPersistent = false
		e.Written = a.Time
		g.tails.add(ll, e, len(a.Record))
		for _, n := range g.recent {
			if n.log == l && n.time > e.Written {
				n.c.grown(n.slot)
			}
		}
	}
	return err
}
