package edge

import (
	"bytes"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/connectors/edge/session"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/state/view"
)

// Trace begins a span: push, from an entry's record on the oplog to its write
// to a client, or ack, from a client's acknowledgement to its sync point on
// the acks topic. parent and traceparent are W3C's; an empty traceparent says
// that nothing is recorded. end is called once.
type Trace func(name, parent string, start time.Time) (traceparent string, end func(error))

// tracesMax bounds the entries that wait to be written or acknowledged and are
// traced. Past it the oldest are forgotten.
const tracesMax = 4096

// traces follows entries whose record asks for it. A nil one follows none.
//
// An entry's push is the first one that a client gets, its ack the first one
// that covers it, whichever device it is from. Global entries are not followed.
type traces struct {
	begin Trace
	some  atomic.Int64 // entries that are followed: most of the time none, and nobody locks

	mu      sync.Mutex
	waiting map[tracedEntry]string      // its record's traceparent
	pushed  map[tracedEntry]string      // its push's
	order   []tracedEntry               // as they came, the oldest first
	logs    map[view.Log]map[int64]bool // ids that were pushed and not acknowledged
}

type tracedEntry struct {
	log view.Log
	id  int64
}

func newTraces(begin Trace) *traces {
	if begin == nil {
		return nil
	}
	return &traces{begin: begin, waiting: map[tracedEntry]string{}, pushed: map[tracedEntry]string{}, logs: map[view.Log]map[int64]bool{}}
}

// note looks which records of the oplog are to be followed.
func (t *traces) note(records []*kgo.Record) {
	if t == nil {
		return
	}
	for _, r := range records {
		for i := range r.Headers {
			if h := &r.Headers[i]; h.Key == schemas.HeaderTraceparent && schemas.Sampled(string(h.Value)) {
				t.noteOne(r.Value, string(h.Value))
				break
			}
		}
	}
}

func (t *traces) noteOne(value []byte, parent string) {
	var e schemas.Entry
	if e.Decode(bytes.Clone(value)) != nil || e.OplogID == 0 || e.LinkToken == "" {
		return // a marker, or global; what cannot be read is the view's to report
	}
	t.follow(tracedEntry{view.Log{InstanceID: e.InstanceID, Target: e.LinkToken, BizType: e.BizType}, e.OplogID}, parent)
}

func (t *traces) follow(e tracedEntry, parent string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.waiting[e]; ok {
		return
	}
	for len(t.order) >= tracesMax {
		t.forget(t.order[0])
		t.order = t.order[1:]
	}
	t.order = append(t.order, e)
	t.waiting[e] = parent
	t.some.Store(int64(len(t.waiting) + len(t.pushed)))
}

// forget drops an entry wherever it is. The caller holds the lock.
func (t *traces) forget(e tracedEntry) {
	delete(t.waiting, e)
	delete(t.pushed, e)
	if ids := t.logs[e.log]; ids != nil {
		delete(ids, e.id)
		if len(ids) == 0 {
			delete(t.logs, e.log)
		}
	}
	t.some.Store(int64(len(t.waiting) + len(t.pushed)))
}

// written says that entries are being written to a client.
func (t *traces) written(spans []session.Span) {
	if t == nil || t.some.Load() == 0 {
		return
	}
	for i := range spans {
		for _, e := range spans[i].Entries {
			t.push(e)
		}
	}
}

func (t *traces) push(e *session.Entry) {
	te := tracedEntry{view.Log{InstanceID: e.InstanceID, Target: e.LinkToken, BizType: e.BizType}, e.OplogID}
	t.mu.Lock()
	parent, ok := t.waiting[te]
	delete(t.waiting, te)
	t.mu.Unlock()
	if !ok {
		return
	}
	traceparent, end := t.begin("push", parent, time.UnixMilli(e.Written))
	end(nil)
	t.mu.Lock()
	defer t.mu.Unlock()
	if traceparent != "" {
		t.pushed[te] = traceparent
		if t.logs[te.log] == nil {
			t.logs[te.log] = make(map[int64]bool)
		}
		t.logs[te.log][te.id] = true
	}
	t.some.Store(int64(len(t.waiting) + len(t.pushed)))
}

// acknowledged begins the spans of the entries that an acknowledgement covers.
func (t *traces) acknowledged(l view.Log, to int64, at time.Time) (end func(error)) {
	if t == nil || t.some.Load() == 0 {
		return func(error) {}
	}
	var ends []func(error)
	t.mu.Lock()
	defer t.mu.Unlock()
	for id := range t.logs[l] {
		if id > to {
			continue
		}
		e := tracedEntry{l, id}
		if traceparent, end := t.begin("ack", t.pushed[e], at); traceparent != "" {
			ends = append(ends, end)
		}
		t.forget(e)
	}
	return func(err error) {
		for _, end := range ends {
			end(err)
		}
	}
}
