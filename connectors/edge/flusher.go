package edge

import (
	"context"
	"sync"

	"github.com/tidemarkio/tidemark/connectors/edge/session"
)

// flusher writes to the clients of its share that have something to get. It
// makes a client's next batch when it comes to it, so load makes batches
// larger, and nothing waits for a timer.
type flusher struct {
	wake chan struct{} // capacity 1

	mu    sync.Mutex
	queue []*client

	// What follows is the flusher's own, kept from one client to the next.
	spare   []*client
	scratch session.Scratch
	buf     []byte
	encode  encoder
	metrics *metrics
	now     func() int64
}

func newFlusher(m *metrics, now func() int64) *flusher {
	return &flusher{wake: make(chan struct{}, 1), metrics: m, now: now}
}

// push adds a client to the queue. A client is in it at most once, so it is
// never longer than there are clients.
func (f *flusher) push(c *client) {
	f.mu.Lock()
	f.queue = append(f.queue, c)
	first := len(f.queue) == 1
	f.mu.Unlock()
	if first {
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
}

// take gives what is in the queue.
func (f *flusher) take() []*client {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.spare)
	batch := f.queue
	f.queue = f.spare[:0]
	f.spare = batch
	return batch
}

func (f *flusher) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
		}
		for batch := f.take(); len(batch) > 0; batch = f.take() {
			for _, c := range batch {
				c.flush(f)
			}
		}
	}
}

// measure counts what is about to be written.
func (f *flusher) measure(spans []session.Span) {
	if len(spans) == 0 {
		return
	}
	now, n := f.now(), 0
	for i := range spans {
		n += len(spans[i].Entries)
		for _, e := range spans[i].Entries {
			if e.Written > 0 {
				f.metrics.latency.Observe(float64(max(0, now-e.Written)) / 1000)
			}
		}
	}
	f.metrics.writes.Inc()
	f.metrics.entries.Add(float64(n))
}
