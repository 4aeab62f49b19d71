package main

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/tidemarkio/tidemark/bench/openloop"
	"github.com/tidemarkio/tidemark/bench/report"
)

// phase is a stretch of load at one rate through one door.
type phase struct {
	index    int // in thirdMsgIds
	door     string
	rate     int
	count    int
	clock    openloop.Clock
	pushes   *report.Latency
	answers  *report.Latency
	complete chan struct{} // closed when the last push has arrived

	mu   sync.Mutex
	seen []bool
	left int
}

func newPhase(index int, door string, rate int, d time.Duration) *phase {
	count := int(float64(rate) * d.Seconds())
	return &phase{
		index: index, door: door, rate: rate, count: count, pushes: report.NewLatency(), answers: report.NewLatency(),
		complete: make(chan struct{}), seen: make([]bool, count), left: count,
	}
}

// arrive notes the i-th request's push.
func (p *phase) arrive(i int, at time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.clock.Began.IsZero() {
		return fmt.Errorf("push %d of phase %d came before it was sent", i, p.index)
	}
	if i >= p.count || p.seen[i] {
		return fmt.Errorf("push %d of phase %d came twice, or nobody sent it", i, p.index)
	}
	p.seen[i] = true
	p.pushes.Record(at.Sub(p.clock.Due(i)))
	if p.left--; p.left == 0 {
		close(p.complete)
	}
	return nil
}

func (p *phase) begin(at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clock = openloop.Clock{Began: at, PerSecond: p.rate}
}

func (p *phase) missing() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.left
}

// messageID names the i-th request of a phase.
func messageID(index, i int) string { return fmt.Sprintf("live-%02d-%09d", index, i) }

// parseMessageID reads what messageID wrote.
func parseMessageID(s string) (index, i int, ok bool) {
	if len(s) != 5+2+1+9 || s[:5] != "live-" || s[7] != '-' {
		return 0, 0, false
	}
	index, err1 := strconv.Atoi(s[5:7])
	i, err2 := strconv.Atoi(s[8:])
	return index, i, err1 == nil && err2 == nil && index >= 0 && i >= 0
}
