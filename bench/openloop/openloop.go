// Package openloop is the clock of load that comes whatever becomes of it: the
// i-th request of a stretch is due at a fixed moment, and is sent then even if
// earlier ones still wait for their answers.
//
// # Contract
//
// Times are to be taken from [Clock.Due], not from when a request was sent:
// then a stall counts for everyone that it would have delayed. The clock starts
// no goroutine: [Clock.Run] works in its caller's.
package openloop

import (
	"context"
	"time"
)

// Clock says when the requests of a stretch of load are due.
type Clock struct {
	Began     time.Time // the first is due
	PerSecond int
}

// Due is when the i-th request (from 0) is due.
func (c Clock) Due(i int) time.Time {
	return c.Began.Add(time.Duration(float64(i) / float64(c.PerSecond) * float64(time.Second)))
}

// Run calls prepare(i) ahead of time and what that gives when the i-th request
// is due, for i below count. Neither may block. late is the longest delay
// between due and called: beyond a few milliseconds the caller is the bottleneck.
func (c Clock) Run(ctx context.Context, count int, prepare func(i int) (send func())) (late time.Duration, err error) {
	for i := range count {
		send := prepare(i)
		if wait := time.Until(c.Due(i)); wait > 0 {
			select {
			case <-ctx.Done():
				return late, ctx.Err()
			case <-time.After(wait):
			}
		}
		late = max(late, time.Since(c.Due(i)))
		send()
	}
	return late, nil
}
