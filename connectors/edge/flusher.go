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

	held int // holds: see hold

	// What follows is the flusher's own, kept from one client to the next.
	spare []*client
	pen   pen
}

// pen is what it takes to write to clients, one after the other.
type pen struct {
	scratch session.Scratch
	buf     []byte
	encode  encoder
	metrics *metrics
	now     func() int64
	traces  *traces
}

func newFlusher(m *metrics, now func() int64) *flusher {
	return &flusher{wake: make(chan struct{}, 1), pen: pen{metrics: m, now: now}}
}

// push adds a client to the queue. A client is in it at most once, so it is
// never longer than there are clients.
func (f *flusher) push(c *client) {
	f.mu.Lock()
	f.queue = append(f.queue, c)
	wake := len(f.queue) == 1 && f.held == 0
	f.mu.Unlock()
	if wake {
		f.rouse()
	}
}

func (f *flusher) rouse() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// hold keeps the flusher asleep until release. Who knows that little is coming
// can write it by itself, which spares waking another goroutine for it.
func (f *flusher) hold() {
	f.mu.Lock()
	f.held++
	f.mu.Unlock()
}

// release ends a hold. Up to max clients that were pushed meanwhile are given
// to the caller; if there are more, the flusher gets them all.
func (f *flusher) release(max int) (mine []*client) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held--
	switch {
	case f.held > 0 || len(f.queue) == 0:
	case len(f.queue) > max:
		f.rouse()
	default:
		mine = append(mine, f.queue...)
		clear(f.queue)
		f.queue = f.queue[:0]
	}
	return mine
}

// len is how many clients wait.
func (f *flusher) len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.queue)
}

// take gives what is in the queue, unless it is held.
func (f *flusher) take() []*client {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held > 0 {
		return nil
	}
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
				c.flush(&f.pen)
			}
		}
	}
}

// measure counts what is about to be written.
func (f *pen) measure(spans []session.Span) {
	if len(spans) == 0 {
		return
	}
	f.traces.written(spans)
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
