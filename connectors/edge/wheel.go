package edge

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/tidemarkio/tidemark/schemas"
)

// wheelSlots is how many seconds ahead the wheel can look.
const wheelSlots = 64

// wheel visits every client now and then: to say something when nothing was
// said, to notice that nothing was heard, to announce it again. One timer for
// all.
type wheel struct {
	s     *Server
	mu    sync.Mutex
	slots [wheelSlots][]*client
}

func newWheel(s *Server) *wheel { return &wheel{s: s} }

// add has a client visited when its transport's interval has passed. now is in
// epoch seconds.
func (w *wheel) add(c *client, now int64) {
	at := (now + min(c.interval(), wheelSlots-1)) % wheelSlots
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slots[at] = append(w.slots[at], c)
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
	w.mu.Lock()
	due := w.slots[now%wheelSlots]
	w.slots[now%wheelSlots] = nil
	w.mu.Unlock()
	for _, c := range due {
		if c.visit(now) {
			w.add(c, now)
		}
	}
}

// visit looks after a client; false: it has gone.
func (c *client) visit(now int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	interval := c.interval()
	if c.wire.speaks() && 2*(now-c.heard.Load()) > 5*interval {
		c.end(schemas.CloseSilent, "nothing was heard for "+strconv.FormatInt(now-c.heard.Load(), 10)+" seconds")
		return false
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
	return true
}

// sessionName names a session among all that this edge ever had.
func sessionName(epoch int64, id uint64) string {
	return strconv.FormatInt(epoch, 36) + "." + strconv.FormatUint(id, 36)
}
