package control

import (
	"time"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// Pauses after a failed write of a partition, doubled up to the maximum.
const (
	retryMin = 100 * time.Millisecond
	retryMax = 5 * time.Second
)

// ledger knows what each partition has and what it is to get next. It does no
// IO and reads no clock.
type ledger struct {
	parts []part
	last  int64 // largest time written, epoch ms
}

// part is one partition, as the leader knows it.
type part struct {
	acked    int64 // settings revision that is in its log
	sending  bool
	end      int64 // offset behind the last record of ours; -1: none yet
	due      bool  // wants a tick
	failures int
	retryAt  time.Time
}

// newLedger begins where the registry says that all partitions are. Every
// partition gets a tick first: nobody knows when it had the last one.
func newLedger(partitions int32, published registry.Published) *ledger {
	l := &ledger{parts: make([]part, partitions), last: published.Time}
	for i := range l.parts {
		l.parts[i] = part{acked: published.Revision, end: -1, due: true}
	}
	return l
}

// next is what a partition is to get now, if anything. The caller sends it.
func (l *ledger) next(partition int32, m *registry.Model, now time.Time) (schemas.Control, bool) {
	p := &l.parts[partition]
	if p.sending || now.Before(p.retryAt) {
		return schemas.Control{}, false
	}
	c := schemas.Control{}
	if waiting := m.NextPending(p.acked); waiting != nil {
		c = waiting.Control
	} else if !p.due {
		return c, false
	}
	l.last = max(l.last, now.UnixMilli()) // time never goes back, whatever the clock does
	c.Partition, c.Time = partition, l.last
	p.sending, p.due = true, false
	return c, true
}

// written takes note that a partition has a record, at an offset.
func (l *ledger) written(c *schemas.Control, offset int64) {
	p := &l.parts[c.Partition]
	p.sending, p.failures, p.retryAt = false, 0, time.Time{}
	p.acked = max(p.acked, c.Revision)
	p.end = offset + 1
}

// failed takes note that a write did not succeed; it will be tried again.
func (l *ledger) failed(c *schemas.Control, now time.Time) {
	p := &l.parts[c.Partition]
	p.sending = false
	p.due = p.due || c.Revision == 0
	p.retryAt = now.Add(min(retryMin<<min(p.failures, 10), retryMax))
	p.failures++
}

// tick has time told to partitions that had input: whose end is not where our
// last record left it. All tells every one.
func (l *ledger) tick(ends map[int32]int64, all bool) {
	for i := range l.parts {
		p := &l.parts[i]
		end, known := ends[int32(i)]
		if all || known && !p.sending && end != p.end {
			p.due = true
		}
	}
}

// everywhere is the settings revision that every partition has.
func (l *ledger) everywhere() int64 {
	least := l.parts[0].acked
	for i := range l.parts {
		least = min(least, l.parts[i].acked)
	}
	return least
}

// wakeAt is when the earliest pause ends, or the zero time.
func (l *ledger) wakeAt(now time.Time) (earliest time.Time) {
	for i := range l.parts {
		if at := l.parts[i].retryAt; at.After(now) && (earliest.IsZero() || at.Before(earliest)) {
			earliest = at
		}
	}
	return earliest
}

// behind counts the partitions that lack settings that the model has.
func (l *ledger) behind(m *registry.Model) int {
	n := 0
	for i := range l.parts {
		if m.NextPending(l.parts[i].acked) != nil {
			n++
		}
	}
	return n
}
