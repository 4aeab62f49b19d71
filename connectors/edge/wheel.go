package edge

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/tidemarkio/tidemark/connectors/edge/session"
	"github.com/tidemarkio/tidemark/schemas"
)

// wheelSlots is how many seconds ahead the wheel can look.
const wheelSlots = 64

// wheel visits every client now and then: to say something when nothing was
// said, to notice that nothing was heard, to announce it again, to unbind a user
// whose proof has ended, to ask a tenant again. One timer for all.
type wheel struct {
	s     *Server
	mu    sync.Mutex
	slots [wheelSlots][]*client
}

func newWheel(s *Server) *wheel { return &wheel{s: s} }

// add has a client visited at a time, or sooner if that is said already; what
// is further away than the wheel can see, at the last second that it sees. A
// client stands in a slot once, so in wheelSlots at most. Times are epoch
// seconds.
func (w *wheel) add(c *client, now, at int64) {
	at = min(max(at, now+1), now+wheelSlots-1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.next == 0 || at < c.next {
		c.next = at
		w.put(c, at)
	}
}

// put stands a client into a slot. With w.mu.
func (w *wheel) put(c *client, at int64) {
	n := at % wheelSlots
	if c.slots&(1<<n) == 0 {
		c.slots |= 1 << n
		w.slots[n] = append(w.slots[n], c)
	}
}

// take gives the clients that are to be visited in a second. Those that were
// visited sooner instead are left out.
func (w *wheel) take(now int64) []*client {
	n := now % wheelSlots
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.slots[n]
	w.slots[n] = nil
	due := all[:0]
	for _, c := range all {
		c.slots &^= 1 << n
		if c.next <= now {
			c.next = 0
			due = append(due, c)
		} else if c.next%wheelSlots == n { // the wheel is late by a whole turn
			w.put(c, c.next)
		}
	}
	return due
}

// interval is how often a client is looked at, in seconds.
func (c *client) interval() int64 {
	return max(1, int64(c.wire.interval(&c.s.cfg)/time.Second))
}

func (w *wheel) run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last := w.s.nowMillis() / 1000
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := w.s.nowMillis() / 1000
		for ; last < now; last++ {
			w.turn(last + 1)
		}
	}
}

// turn visits the clients of one second.
func (w *wheel) turn(now int64) {
	for _, c := range w.take(now) {
		if next := c.visit(now); next != 0 {
			w.add(c, now, next)
		}
	}
}

// due is when a client wants to be visited next. With c.mu.
func (c *client) due(now int64) int64 {
	at := now + c.interval()
	if until := c.session.Identity().Until; until != 0 {
		at = min(at, (until+999)/1000)
	}
	if c.retryAt != 0 {
		at = min(at, c.retryAt)
	}
	return at
}

// visit looks after a client, and says when to come again; 0: it has gone.
func (c *client) visit(now int64) (next int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0
	}
	if until := c.session.Identity().Until; until != 0 && c.s.nowMillis() >= until {
		c.step(session.Tick{})
	}
	c.askAgain(now)
	interval := c.interval()
	if c.wire.speaks() && 2*(now-c.heard.Load()) > 5*interval {
		c.end(schemas.CloseSilent, "nothing was heard for "+strconv.FormatInt(now-c.heard.Load(), 10)+" seconds")
		return 0
	}
	if !c.wire.speaks() && now-c.wrote >= interval {
		c.ask(todoKeepAlive)
	}
	if c.announce == 0 {
		c.announce = now + int64(AnnounceEvery/time.Second)
	}
	if now >= c.announce {
		c.announce = now + int64(AnnounceEvery/time.Second)
		c.s.presence.announce(c)
	}
	return c.due(now)
}

// sessionName names a session among all that this edge ever had.
func sessionName(epoch int64, id uint64) string {
	return strconv.FormatInt(epoch, 36) + "." + strconv.FormatUint(id, 36)
}
