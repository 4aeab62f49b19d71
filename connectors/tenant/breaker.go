package tenant

import (
	"fmt"
	"sync"
	"time"
)

// When a breaker opens, and for how long.
const (
	failuresMax = 5 // in a row
	openFor     = time.Second
	openForMax  = 30 * time.Second
)

// ErrOpen says that a tenant's endpoint has failed too often to be asked now.
var ErrOpen = fmt.Errorf("%w: the endpoint failed the last calls, and is left alone for a while", ErrUnanswered)

// breaker leaves an endpoint alone that fails: after failuresMax in a row for
// openFor, then one call tries it; each failed try doubles the pause, up to
// openForMax. The zero value is closed.
type breaker struct {
	mu       sync.Mutex
	failures int // in a row
	until    time.Time
	pause    time.Duration
	trying   bool
}

// enter lets a call through, or gives [ErrOpen]. done takes how it went, once.
func (b *breaker) enter(now time.Time) (done func(now time.Time, ok bool), err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < failuresMax {
		return b.leave, nil
	}
	if b.trying || now.Before(b.until) {
		return nil, ErrOpen
	}
	b.trying = true
	return func(now time.Time, ok bool) {
		b.mu.Lock()
		b.trying = false
		b.mu.Unlock()
		b.leave(now, ok)
	}, nil
}

func (b *breaker) leave(now time.Time, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ok {
		b.failures, b.pause = 0, 0
		return
	}
	b.failures = min(b.failures+1, failuresMax)
	if b.failures == failuresMax && !now.Before(b.until) {
		b.pause = min(max(2*b.pause, openFor), openForMax)
		b.until = now.Add(b.pause)
	}
}
