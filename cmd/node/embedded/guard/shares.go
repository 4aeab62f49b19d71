package guard

import (
	"context"
	"net"
	"sync"

	"golang.org/x/sync/semaphore"
)

// shares is what one connection holds of the memory for frames, until they
// are answered. Its reader takes, its writer gives back, closing gives back all.
type shares struct {
	budget *semaphore.Weighted

	mu     sync.Mutex
	held   int64
	queue  []int64 // shares of the frames whose answers are to come, in order
	closed bool
}

// take waits for a share, but not for ever: two connections that each hold
// one and want another must not wait for each other.
func (s *shares) take(ctx context.Context, n int64) error {
	wait, cancel := context.WithTimeout(ctx, frameTimeout)
	defer cancel()
	if err := s.budget.Acquire(wait, n); err != nil {
		if ctx.Err() != nil {
			return net.ErrClosed
		}
		return refusef("no memory for a request of %d bytes: too many large ones at once", n)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		s.budget.Release(n)
		return net.ErrClosed
	}
	s.held += n
	return nil
}

// give returns a share that was taken and is not awaited.
func (s *shares) give(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release(n)
}

// await keeps a share until the answer to the frame has been written.
func (s *shares) await(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, n)
}

// answered ends the wait of the oldest frame.
func (s *shares) answered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return
	}
	s.release(s.queue[0])
	s.queue = s.queue[:copy(s.queue, s.queue[1:])]
}

// close returns all, and reports whether it was the first to be called.
func (s *shares) close() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := !s.closed
	s.release(s.held)
	s.closed = true
	return first
}

func (s *shares) release(n int64) {
	if n > 0 && !s.closed {
		s.held -= n
		s.budget.Release(n)
	}
}
