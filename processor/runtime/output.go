package runtime

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/schemas"
)

// recordSlab is how many records are allocated at once.
const recordSlab = 64

// newProducer opens the one producer of the process. It retries for as long
// as it takes: an append fails only when trying again cannot help.
func newProducer(cfg *Config, lost func(topic string, partition int32)) (*kgo.Client, error) {
	client, err := kgo.NewClient(append(cfg.clientOpts("processor-output"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0),
		// A broker that has lost what it acknowledged must not be written to as
		// if nothing had happened.
		kgo.ProducerOnDataLossDetected(lost),
		kgo.MaxBufferedRecords(DefaultProducerBuffered),
		kgo.ProducerBatchMaxBytes(1_000_000),
	)...)
	if err != nil {
		return nil, fmt.Errorf("open producer: %w", err)
	}
	return client, nil
}

// writer writes one incarnation's outputs and collects their
// acknowledgements. A failed append ends the incarnation (design 4.7).
type writer struct {
	client    *kgo.Client
	topics    outputTopics
	partition int32
	online    func(*processor.Reach) bool // presence
	slab      []kgo.Record
	traced    int // spans begun whose records are not written yet

	acks acks
	wg   sync.WaitGroup // records handed to the client and not yet answered
}

type outputTopics struct{ requests, oplog, broadcast, results, rejects string }

// acks is where the client's goroutine leaves acknowledgements for the runner.
type acks struct {
	mu       sync.Mutex
	queue    []int64 // positions of appends in the order they were written; markers as -1
	appended int64   // newest acknowledged append's position, -1 none since taken
	offset   int64
	sent     []int64 // positions, one for each side output
	err      error
	notify   chan struct{}

	spans map[int64]appendSpan // of appends on their way that are traced, by position

	// One append at a time is timed, and it stands for its neighbours.
	took    prometheus.Observer // nil: none is
	timed   int64               // its position, -1 none
	timedAt time.Time
}

func newWriter(client *kgo.Client, topics outputTopics, partition int32, online func(*processor.Reach) bool) *writer {
	return &writer{client: client, topics: topics, partition: partition, online: online,
		acks: acks{appended: -1, timed: -1, notify: make(chan struct{}, 1)}}
}

// write hands outputs to the producer; it blocks when too much is buffered.
func (w *writer) write(ctx context.Context, outs []processor.Output) {
	for i := range outs {
		o := &outs[i]
		r := w.record()
		w.wg.Add(1)
		switch o.Kind {
		case processor.Append, processor.Marker:
			r.Topic, r.Partition, r.Key, r.Value = w.topics.oplog, w.partition, o.Key, o.Value
			if w.traced > 0 {
				r.Headers = w.traceHeaders(o.Position)
			}
			w.acks.expect(o)
			w.client.Produce(ctx, r, w.appended)
			continue
		case processor.Broadcast:
			r.Topic, r.Partition, r.Key, r.Value = w.topics.broadcast, w.partition, o.Key, o.Value
		case processor.Forward:
			r.Topic, r.Partition, r.Key, r.Value = w.topics.requests, o.Partition, o.Key, o.Value
			r.Headers = forwardHeaders(o, w.partition)
		case processor.Reject:
			r.Topic, r.Partition, r.Key, r.Value = w.topics.rejects, w.partition, o.Key, o.Answer.AppendProto(nil)
		case processor.Result:
			w.result(o, r)
		}
		position := o.Position
		w.client.Produce(ctx, r, func(_ *kgo.Record, err error) { w.sent(position, err) })
	}
}

func (w *writer) result(o *processor.Output, r *kgo.Record) {
	a := o.Answer
	if a.Code == schemas.Success && o.Reach != nil && !w.online(o.Reach) {
		a.Code = schemas.NotOnline
	}
	r.Topic, r.Partition, r.Value = w.topics.results, o.Partition, a.AppendProto(nil)
	r.Headers = []kgo.RecordHeader{{Key: schemas.HeaderRequestID, Value: o.RequestID}}
}

func forwardHeaders(o *processor.Output, from int32) []kgo.RecordHeader {
	h := []kgo.RecordHeader{{Key: schemas.HeaderForwarded, Value: fmt.Appendf(nil, "%d/%d", from, o.Position)}}
	if o.ContentType != "" {
		h = append(h, kgo.RecordHeader{Key: schemas.HeaderContentType, Value: []byte(o.ContentType)})
	}
	if o.Reply != "" {
		h = append(h, kgo.RecordHeader{Key: schemas.HeaderReply, Value: []byte(o.Reply)})
	}
	if len(o.RequestID) > 0 {
		h = append(h, kgo.RecordHeader{Key: schemas.HeaderRequestID, Value: o.RequestID})
	}
	return h
}

func (w *writer) record() *kgo.Record {
	if len(w.slab) == 0 {
		w.slab = make([]kgo.Record, recordSlab)
	}
	r := &w.slab[0]
	w.slab = w.slab[1:]
	return r
}

// appended is the promise of all records of the oplog partition. The client
// calls promises in the order of its records, so no record has to carry its
// position.
func (w *writer) appended(r *kgo.Record, err error) {
	defer w.wg.Done()
	a := &w.acks
	a.mu.Lock()
	defer a.mu.Unlock()
	position := a.queue[0]
	a.queue = a.queue[1:]
	if len(a.spans) > 0 {
		a.endSpan(position, err)
	}
	switch {
	case err != nil:
		a.fail(fmt.Errorf("append to %s partition %d: %w", r.Topic, r.Partition, err))
	case position >= 0 && a.err == nil:
		a.appended, a.offset = position, r.Offset
		if position == a.timed {
			a.took.Observe(time.Since(a.timedAt).Seconds())
			a.timed = -1
		}
	}
	wake(a.notify)
}

func (w *writer) sent(position int64, err error) {
	defer w.wg.Done()
	a := &w.acks
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.fail(fmt.Errorf("write side output of position %s: %w", strconv.FormatInt(position, 10), err))
	} else {
		a.sent = append(a.sent, position)
	}
	wake(a.notify)
}

func (a *acks) expect(o *processor.Output) {
	position := int64(-1)
	if o.Kind == processor.Append {
		position = o.Position
	}
	a.mu.Lock()
	a.queue = append(a.queue, position)
	if position >= 0 && a.timed < 0 && a.took != nil {
		a.timed, a.timedAt = position, time.Now()
	}
	a.mu.Unlock()
}

// lost says that the broker has lost what it acknowledged before.
func (a *acks) lost() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fail(fmt.Errorf("%w: the broker has lost records that it had acknowledged", errAgain))
	wake(a.notify)
}

func (a *acks) fail(err error) {
	if a.err == nil {
		a.err = err
	}
}

// give reports to the task what was acknowledged since the last call.
func (a *acks) give(t *processor.Task, scratch []int64) ([]int64, error) {
	a.mu.Lock()
	position, offset, err := a.appended, a.offset, a.err
	a.appended = -1
	scratch = append(scratch[:0], a.sent...)
	a.sent = a.sent[:0]
	a.mu.Unlock()
	if err != nil {
		return scratch, err
	}
	if position >= 0 {
		if err := t.Appended(position, offset); err != nil {
			return scratch, err
		}
	}
	for _, p := range scratch {
		t.Sent(p)
	}
	return scratch, nil
}
