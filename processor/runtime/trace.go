package runtime

import (
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/schemas"
)

// Tracer begins the span of one request, from when it was taken to the
// acknowledgement of its entry. parent is the request's traceparent header
// (W3C); traceparent goes into the header of the oplog's record, never into
// its value, which must not depend on who watches (design I4). An empty one
// says that nothing is recorded. end is called once, and must be quick.
type Tracer func(parent string, taken time.Time) (traceparent string, end func(error))

// tracedMax bounds the requests of one turn that are traced; the others are
// decided as well and not seen.
const tracedMax = 64

// Trace has requests traced whose header asks for it. Call it before Run; nil,
// the default, costs a comparison a request.
func (rt *Runtime) Trace(t Tracer) { rt.tracer = t }

// asked is a request that wants to be traced, until what follows from it is
// written.
type asked struct {
	parent string
	taken  time.Time
}

// appendSpan is one on its way into the log.
type appendSpan struct {
	traceparent string
	end         func(error)
}

// noteTrace remembers a request that wants to be traced.
func (r *runner) noteTrace(rec *kgo.Record) {
	for i := range rec.Headers {
		if h := &rec.Headers[i]; h.Key == schemas.HeaderTraceparent && schemas.Sampled(string(h.Value)) && len(r.asked) < tracedMax {
			if r.asked == nil {
				r.asked = make(map[int64]asked)
			}
			r.asked[rec.Offset] = asked{string(h.Value), time.Now()}
			return
		}
	}
}

// beginSpans begins the spans of what is about to be written. Requests that
// yield no entry have none.
func (r *runner) beginSpans(outs []processor.Output) {
	for i := range outs {
		o := &outs[i]
		a, ok := r.asked[o.Position]
		if o.Kind != processor.Append || !ok {
			continue
		}
		if traceparent, end := r.rt.tracer(a.parent, a.taken); traceparent != "" {
			r.out.begin(o.Position, appendSpan{traceparent, end})
		}
	}
	clear(r.asked)
}

// begin adds a span, for the record that will be written at the position.
func (w *writer) begin(position int64, s appendSpan) {
	w.acks.mu.Lock()
	defer w.acks.mu.Unlock()
	if w.acks.spans == nil {
		w.acks.spans = make(map[int64]appendSpan)
	}
	w.acks.spans[position] = s
	w.traced++
}

// traceHeaders are those of an oplog record at the position.
func (w *writer) traceHeaders(position int64) []kgo.RecordHeader {
	w.acks.mu.Lock()
	defer w.acks.mu.Unlock()
	s, ok := w.acks.spans[position]
	if !ok {
		return nil
	}
	w.traced--
	return []kgo.RecordHeader{{Key: schemas.HeaderTraceparent, Value: []byte(s.traceparent)}}
}

// endSpan ends the span of an append, if it has one. The caller holds the lock.
func (a *acks) endSpan(position int64, err error) {
	if s, ok := a.spans[position]; ok {
		delete(a.spans, position)
		s.end(err)
	}
}
