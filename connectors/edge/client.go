package edge

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/tidemarkio/tidemark/connectors/edge/session"
	"github.com/tidemarkio/tidemark/schemas"
)

// What a flusher has to do for a client beside delivering, as bits.
const (
	todoSettings  = 1 << iota // settings have changed
	todoPeers                 // the user's other sessions have changed
	todoKeepAlive             // say something if nothing was said
)

// client is a connection with its session. Its lock is held while the session
// is asked and while a write that cannot block is made, never while one waits.
type client struct {
	s        *Server
	id       uint64
	name     string // of the session, for people and in presence
	instance string
	wire     wire
	link     link
	shard    *flusher

	changed atomic.Uint64                // slots whose logs have grown
	rewound atomic.Uint64                // slots whose points may have been moved back
	todo    atomic.Uint32                // todo bits
	queued  atomic.Bool                  // in the flusher's queue
	peer    atomic.Pointer[session.Peer] // what the user's other sessions see; nil: not online
	heard   atomic.Int64                 // when bytes last came, epoch seconds

	mu        sync.Mutex
	session   *session.Session
	control   []byte // answers, encoded, that go with the next write
	writing   bool   // a goroutine waits for the socket; nothing else is written
	again     bool   // something came up meanwhile
	closed    bool
	ending    []byte // the last words, to be written by whoever writes now
	wrote     int64  // when something was last written, epoch seconds
	announced []target
	// connecting says that the session is driven by a goroutine of its own,
	// which may wait, and not by a flusher yet.
	connecting bool
	announce   int64 // when to announce it again, epoch seconds
	logins     int   // counts binds: a verdict is for one of them
	retries    int   // times that the tenant gave no answer about this login
	retryAt    int64 // when to ask it again, epoch seconds; 0: not

	// These are the wheel's, under its lock.
	next  int64  // when it is visited next, epoch seconds; 0: nobody has said yet
	slots uint64 // of the wheel that it stands in, as bits
}

// target is a user or device that a session was announced at.
type target struct {
	dimension, name string
}

// grown notes that a log has grown. It is called with a partition's lock held.
func (c *client) grown(slot uint8) {
	c.changed.Or(1 << slot)
	c.enqueue()
}

// rewind notes that a point was moved back. It is called with a partition's
// lock held.
func (c *client) rewind(slot uint8) {
	c.rewound.Or(1 << slot)
	c.enqueue()
}

// ask leaves something to do to the flusher.
func (c *client) ask(todo uint32) {
	c.todo.Or(todo)
	c.enqueue()
}

// enqueue puts the client into its flusher's queue, once.
func (c *client) enqueue() {
	if !c.queued.Swap(true) {
		c.shard.push(c)
	}
}

// Open implements session.Reader. It follows first and looks for points then,
// so that no rewind falls between.
func (c *client) Open(slot int, src *session.Source, newest, claim int64) (session.Start, error) {
	var start session.Start
	p := c.s.partitionOf(src.Target)
	l := logOf(src)
	var err error
	follower := sub{c, uint8(slot)}
	if src.Global {
		g := c.s.globals
		if start.Head, err = g.follow(l, follower, c.s.nowMillis()); err != nil {
			return start, err
		}
		if start.Floor, err = g.store.Floor(l, newest); err != nil {
			return start, err
		}
		return start, p.stand(src, &start)
	}
	if start.Head, start.Arrival, err = p.follow(l, follower); err != nil {
		return start, err
	}
	if claim > start.Head && c.connecting {
		// What the client has may be on its way to this view.
		start.Head, err = c.s.catchUp(p, l, claim)
	}
	if err == nil {
		start.Floor, err = p.view.Floor(l, newest)
	}
	if err == nil {
		err = p.stand(src, &start)
	}
	if err != nil {
		p.leave(l, follower)
	}
	return start, err
}

// stand fills in how far a source's device and target are.
func (p *partition) stand(src *session.Source, start *session.Start) error {
	l := pointLog(src)
	point, known, err := p.point(l, src.DeviceID)
	if err != nil {
		return err
	}
	taken, err := p.taken(l)
	if err != nil {
		return err
	}
	highest, err := p.highest(l)
	start.Point, start.Rewind, start.Known = point.To, point.Rewind, known
	start.Acked, start.AckedRewind = taken.To, taken.Rewind
	start.Head = max(start.Head, highest)
	return err
}

// Close implements session.Reader.
func (c *client) Close(slot int, src *session.Source) {
	if !src.Global {
		c.s.partitionOf(src.Target).leave(logOf(src), sub{c, uint8(slot)})
	}
}

// Acked implements session.Reader.
func (c *client) Acked(src *session.Source) (int64, error) {
	taken, err := c.s.partitionOf(src.Target).taken(pointLog(src))
	return taken.To, err
}

// Read implements session.Reader.
func (c *client) Read(src *session.Source, after int64, visit func(*session.Entry) bool) error {
	if src.Global {
		return c.s.globals.read(logOf(src), after, visit)
	}
	return c.s.partitionOf(src.Target).read(logOf(src), after, visit)
}

// step gives the session an input and sees to what comes of it. With c.mu.
func (c *client) step(in session.Input) session.Output {
	out := c.session.Step(c.s.nowMillis(), in)
	c.outcome(&out)
	return out
}

// outcome does what an output asks for, but for spans. With c.mu.
func (c *client) outcome(out *session.Output) {
	for i := range out.Points {
		c.s.acks.send(&out.Points[i], nil)
	}
	for i := range out.Notices {
		c.control = c.wire.notice(c.control, &out.Notices[i])
	}
	if out.Unbound {
		c.s.metrics.usersEnded.Inc()
		c.newLogin()
	}
	if out.Announce {
		c.introduce()
	}
	if out.More || len(out.Notices) > 0 {
		c.enqueue()
	}
	if out.Err != nil && !c.closed {
		c.s.log.Error("session cannot read its logs", "session", c.name, "error", out.Err)
		c.end(schemas.CloseInternal, "the server cannot read its store")
	}
}

// introduce tells presence, and the user's other sessions, what is new about
// this one. With c.mu.
func (c *client) introduce() {
	var p *session.Peer
	if !c.closed && c.session.Foreground() {
		id := c.session.Identity()
		p = &session.Peer{OS: id.OS, AppVersion: id.AppVersion, Verified: c.session.Verified(), Biz: c.session.Businesses()}
	}
	c.peer.Store(p)
	c.s.users.update(c)
	c.s.presence.announce(c)
}

// errClosed says that a client has gone in the meantime.
var errClosed = errors.New("the session has ended")

// flush does what there is to do for a client.
func (c *client) flush(f *pen) {
	c.queued.Store(false)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	if c.writing {
		c.again = true
		return
	}
	todo := c.todo.Swap(0)
	if todo&todoSettings != 0 {
		c.step(session.SettingsChanged{Settings: c.s.settings()})
	}
	if todo&todoPeers != 0 {
		c.step(session.PeersChanged{Newer: c.s.users.newer(c)})
	}
	if slots := c.rewound.Swap(0); slots != 0 {
		c.step(session.Rewound{Slots: slots})
	}
	out := c.step(session.Deliver{Changed: c.changed.Swap(0), Scratch: &f.scratch})
	if c.closed {
		return
	}
	b := append(f.buf[:0], c.control...)
	c.control = nil
	b = c.wire.spans(b, c.session, out.Spans, &f.encode)
	if len(b) == 0 && todo&todoKeepAlive != 0 {
		b = c.wire.keepAlive(b)
	}
	f.buf = b[:0]
	f.measure(out.Spans)
	if len(b) > 0 {
		c.write(b)
	}
}

// write writes without waiting, and leaves the rest to a goroutine that does.
// With c.mu.
func (c *client) write(b []byte) {
	c.wrote = c.s.nowMillis() / 1000
	n, err := c.link.tryWrite(b)
	if err != nil {
		c.end(schemas.CloseSlow, "the connection broke")
		return
	}
	c.s.metrics.bytes.Add(float64(n))
	if n < len(b) {
		c.writing = true
		c.s.metrics.waiting.Inc()
		rest := append([]byte(nil), b[n:]...)
		c.s.spawn(func() { c.finish(rest) })
	}
}

// finish writes what a socket did not take at once.
func (c *client) finish(rest []byte) {
	err := c.link.write(rest, c.s.cfg.StallTimeout)
	c.s.metrics.waiting.Dec()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing = false
	switch {
	case c.closed:
		c.link.end(c.ending)
	case err != nil:
		c.end(schemas.CloseSlow, "the client's socket took nothing for too long")
	default:
		c.s.metrics.bytes.Add(float64(len(rest)))
		c.again = false
		c.enqueue()
	}
}

// end closes the session: it leaves the local tables first, and then the
// connection. With c.mu.
func (c *client) end(code schemas.CloseCode, reason string) {
	if c.closed {
		return
	}
	c.closed = true
	c.session.Step(0, session.Close{})
	c.peer.Store(nil)
	c.s.forget(c)
	c.s.presence.announce(c)
	c.s.metrics.closed(c.wire.name(), code)
	c.ending = c.wire.goodbye(c.control, code, reason, c.s.retryAfter(code))
	c.control = nil
	if !c.writing { // else whoever writes ends the link
		c.link.end(c.ending)
	} else {
		c.link.hurry()
	}
}

// close is end for those who do not hold the lock.
func (c *client) close(code schemas.CloseCode, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end(code, reason)
}
