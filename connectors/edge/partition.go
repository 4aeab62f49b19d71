package edge

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/tidemarkio/tidemark/connectors/edge/session"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/state/view"
)

// partition is one oplog partition at this edge: its view, who follows which
// of its logs, and the acknowledgements that are on their way through the acks
// topic. It is what a session is driven by; a partition whose primary is on
// another edge would stand behind the same four questions (see slots).
type partition struct {
	n       int32
	view    *view.View
	metrics *metrics

	parked  atomic.Pointer[string] // why it stands still; nil: it does not
	end     atomic.Int64           // end of the oplog partition, as last heard
	repeats atomic.Int64
	orphans atomic.Int64
	online  atomic.Int64 // announced sessions: leases are written while there are any

	mu      sync.Mutex
	live    map[view.Log]*liveLog
	tails   tails
	arrival uint64 // counts non-persistent entries

	// Acknowledgements that are not in the view yet, by device and as the
	// highest of all; gone once their records have come back.
	points map[pointKey]view.SyncPoint
	acked  map[view.Log]view.SyncPoint
	moved  chan struct{} // closed when the view has read acks; nil: nobody waits
}

type pointKey struct {
	log    view.Log
	device string
}

func newPartition(n int32, v *view.View, tailBytes int, m *metrics) *partition {
	return &partition{
		n: n, view: v, metrics: m, live: make(map[view.Log]*liveLog), tails: tails{bytesMax: tailBytes},
		points: make(map[pointKey]view.SyncPoint), acked: make(map[view.Log]view.SyncPoint),
	}
}

// park stops the partition, for good as far as this process goes.
func (p *partition) park(reason string) {
	p.parked.CompareAndSwap(nil, &reason)
	p.wake()
}

// follow makes a session hear of a log's growth, and says how things stand.
// It follows first and looks then, so that nothing falls between.
func (p *partition) follow(l view.Log, s sub) (head int64, arrival uint64, err error) {
	p.mu.Lock()
	ll := p.live[l]
	if ll == nil {
		ll = &liveLog{log: l}
		p.live[l] = ll
	}
	ll.subs = append(ll.subs, s)
	head, arrival = ll.head, p.arrival
	p.mu.Unlock()
	if head > 0 {
		return head, arrival, nil
	}
	if head, err = p.view.Head(l); err != nil {
		p.leave(l, s)
		return 0, 0, err
	}
	p.mu.Lock()
	ll.head = max(ll.head, head)
	p.mu.Unlock()
	return head, arrival, nil
}

// leave ends that.
func (p *partition) leave(l view.Log, s sub) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ll := p.live[l]
	if ll == nil {
		return
	}
	for i := range ll.subs {
		if ll.subs[i] == s {
			last := len(ll.subs) - 1
			ll.subs[i] = ll.subs[last]
			ll.subs = ll.subs[:last]
			break
		}
	}
	if len(ll.subs) == 0 {
		delete(p.live, l)
		ll.tail = nil
	}
}

// read visits what is in the log after an id: from memory if it reaches that
// far back, from the view else.
func (p *partition) read(l view.Log, after int64, visit func(*session.Entry) bool) error {
	p.mu.Lock()
	ll := p.live[l]
	if ll == nil {
		p.mu.Unlock()
		return fmt.Errorf("partition %d: log %v is read by nobody who follows it", p.n, l)
	}
	tail, to := ll.fromTail(after)
	p.mu.Unlock()
	goOn, err := readView(p.view, l, after, to, visit)
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

// entries is what views and the global store have in common.
type entries interface {
	Read(l view.Log, after, to int64, visit func(e *schemas.Entry, record []byte) bool) error
}

// readView visits entries of a store as sessions want them.
func readView(v entries, l view.Log, after, to int64, visit func(*session.Entry) bool) (goOn bool, err error) {
	if after >= to {
		return true, nil
	}
	goOn = true
	err = v.Read(l, after, to, func(e *schemas.Entry, _ []byte) bool {
		goOn = visit(newEntry(e, &l))
		return goOn
	})
	return goOn, err
}

// publishChunk is how many entries are published under one lock, so that
// flushers do not wait for a whole batch.
const publishChunk = 64

// publish tells followers what a batch brought. The view has it already.
func (p *partition) publish(entries []view.Accepted) {
	for len(entries) > 0 {
		n := min(publishChunk, len(entries))
		p.publishSome(entries[:n])
		entries = entries[n:]
	}
}

func (p *partition) publishSome(entries []view.Accepted) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range entries {
		a := &entries[i]
		ll := p.live[view.Log{InstanceID: a.Entry.InstanceID, Target: a.Entry.LinkToken, BizType: a.Entry.BizType}]
		if ll == nil || a.Entry.Global() {
			continue
		}
		e := newEntry(&a.Entry, &ll.log)
		e.Written = a.Time
		if e.NonPersistent {
			p.arrival++
			e.Arrival = p.arrival
		}
		p.tails.add(ll, e, len(a.Record))
		for _, s := range ll.subs {
			s.c.grown(s.slot)
		}
	}
}

// point is what a device has confirmed, acknowledgements under way included,
// unless they are from before a rewind.
func (p *partition) point(l view.Log, device string) (at view.SyncPoint, known bool, err error) {
	p.mu.Lock()
	coming, underWay := p.points[pointKey{l, device}]
	p.mu.Unlock()
	at, known, err = p.view.SyncPoint(l, device)
	if underWay && coming.Rewind >= at.Rewind {
		return coming, true, err
	}
	return at, known, err
}

// taken is where a target is whose devices share a point, likewise.
func (p *partition) taken(l view.Log) (view.SyncPoint, error) {
	p.mu.Lock()
	coming := p.acked[l]
	p.mu.Unlock()
	at, err := p.view.Taken(l)
	if coming.Rewind > at.Rewind || coming.Rewind == at.Rewind && coming.To > at.To {
		return coming, err
	}
	return at, err
}

// highest is the highest id that any device of the log ever confirmed.
func (p *partition) highest(l view.Log) (int64, error) {
	stored, err := p.view.Acked(l)
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(stored, p.acked[l].To), err
}

// acknowledge moves a point in memory at once.
func (p *partition) acknowledge(l view.Log, device string, at view.SyncPoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.points[pointKey{l, device}] = at
	if last := p.acked[l]; at.Rewind > last.Rewind || at.Rewind == last.Rewind && at.To > last.To {
		p.acked[l] = at
	}
}

// settled forgets an acknowledgement whose record has come back, or that could
// not be written.
func (p *partition) settled(l view.Log, device string, at view.SyncPoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := pointKey{l, device}
	if p.points[key] == at {
		delete(p.points, key)
	}
	if last := p.acked[l]; last.Rewind < at.Rewind || last.Rewind == at.Rewind && last.To <= at.To {
		delete(p.acked, l)
	}
}

// rewound tells those who follow a log that a point was moved back.
func (p *partition) rewound(l view.Log) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ll := p.live[l]; ll != nil {
		for _, s := range ll.subs {
			s.c.rewind(s.slot)
		}
	}
}

// apply takes what a fetch brought.
func (p *partition) apply(oplog, acks []view.Record) error {
	out, err := p.view.Apply(oplog, acks)
	p.repeats.Add(int64(out.Repeats))
	p.orphans.Add(int64(out.Orphans))
	p.metrics.applied(&out)
	for i := range out.Acks {
		a := &out.Acks[i]
		if a.Claim() {
			continue
		}
		l := view.Log{InstanceID: a.InstanceID, Target: a.Target, BizType: a.BizType}
		if a.Back {
			p.rewound(l)
		} else {
			p.settled(l, a.DeviceID, view.SyncPoint{To: a.To, Rewind: a.Rewind})
		}
	}
	p.wake()
	p.publish(out.Entries)
	return err
}

// catchUpMax is how long a client waits for a view to reach what it claims.
const catchUpMax = time.Second

// catchUp makes sure of a log's head when somebody claims to know of a larger
// one: it asks where the partition ends, and waits until the view is there.
// Whoever cannot be asked in time is taken to know no more.
func (s *Server) catchUp(p *partition, l view.Log, claim int64) (head int64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), catchUpMax)
	defer cancel()
	ends, err := kadm.NewClient(s.producer).ListEndOffsets(ctx, s.cfg.Topology.Oplog.Name)
	if end, ok := ends.Lookup(s.cfg.Topology.Oplog.Name, p.n); err == nil && ok && end.Err == nil {
		for p.view.Position().Oplog < end.Offset && p.parked.Load() == nil && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
	}
	return p.head(l)
}
