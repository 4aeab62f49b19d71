package edge

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/tidemarkio/tidemark/connectors/edge/session"
	"github.com/tidemarkio/tidemark/schemas"
)

var tcpWire = &native{transport: transportTCP, put: appendTCPFrame}

// appendTCPFrame appends a frame behind its length.
func appendTCPFrame(b []byte, frame func([]byte) []byte) []byte {
	at := len(b)
	b = frame(append(b, 0, 0, 0, 0))
	n := len(b) - at - schemas.FrameLengthBytes
	b[at], b[at+1], b[at+2], b[at+3] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
	return b
}

// serveNative accepts native sessions over TCP.
func (s *Server) serveNative(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			var temporary interface{ Temporary() bool }
			if errors.As(err, &temporary) && temporary.Temporary() { // out of file handles: it may pass
				s.log.Warn("cannot accept", "error", err)
				select {
				case <-ctx.Done():
				case <-time.After(100 * time.Millisecond):
				}
				continue
			}
			return fmt.Errorf("edge: accept native sessions: %w", err)
		}
		if s.admit() != "" {
			_ = conn.Close() // before TLS: as cheap as it can be
			continue
		}
		s.spawn(func() { s.serveTCP(conn) })
	}
}

func (s *Server) serveTCP(conn net.Conn) {
	if t, ok := conn.(*tls.Conn); ok {
		ctx, cancel := context.WithTimeout(context.Background(), s.cfg.HelloTimeout)
		err := t.HandshakeContext(ctx)
		cancel()
		if err != nil {
			_ = conn.Close()
			s.release()
			return
		}
	}
	var held []byte
	s.serveFrames(newSocket(conn, s.spawn), tcpWire, nil, func(c *nativeConn, b []byte) error {
		if len(held) > 0 {
			held = append(held, b...)
			b = held
		}
		for {
			body, rest, _, err := schemas.NextFrame(b, schemas.MaxClientFrame)
			if err != nil {
				return err
			}
			if body == nil {
				break
			}
			if err := c.take(body); err != nil {
				return err
			}
			b = rest
		}
		if len(b) == 0 {
			held = nil
		} else {
			held = append([]byte(nil), b...)
		}
		return nil
	})
}

// nativeConn is the reading side of a native session.
type nativeConn struct {
	s      *Server
	wire   *native
	socket *socket
	began  time.Time
	c      *client // nil before the hello
}

// refusal ends a connection with a close frame.
type refusal struct {
	code   schemas.CloseCode
	reason string
}

func (r *refusal) Error() string { return r.reason }

// serveFrames reads a native connection to its end. It holds one of the places
// of connections being set up until the hello is taken.
func (s *Server) serveFrames(socket *socket, w *native, early []byte, split func(*nativeConn, []byte) error) {
	n := &nativeConn{s: s, wire: w, socket: socket, began: s.cfg.Now()}
	defer socket.conn.Close()
	_ = socket.conn.SetReadDeadline(time.Now().Add(s.cfg.HelloTimeout))
	var err error
	if len(early) > 0 {
		err = split(n, early)
	}
	if err == nil {
		err = socket.read(func(b []byte) error { return split(n, b) })
	}
	if n.c == nil {
		s.release()
	}
	n.leave(err)
	// The client gets a moment to read why; what it still says is not heard.
	_ = socket.conn.SetReadDeadline(time.Now().Add(lingerFor))
	for err == nil || !gone(err) {
		if err = socket.read(func([]byte) error { return nil }); err != nil {
			break
		}
	}
}

// leave ends the session for the reason that reading ended.
func (n *nativeConn) leave(err error) {
	code, reason := schemas.CloseNormal, "the client left"
	var r *refusal
	switch {
	case errors.As(err, &r):
		code, reason = r.code, r.reason
	case errors.Is(err, errWSClose) || gone(err):
	case errors.Is(err, schemas.ErrFrameSize):
		code, reason = schemas.CloseTooLarge, err.Error()
	default:
		code, reason = schemas.CloseProtocol, err.Error()
	}
	if n.c != nil {
		n.c.close(code, reason)
		return
	}
	n.socket.end(n.wire.goodbye(nil, code, reason, n.s.retryAfter(code)))
}

// pong answers a WebSocket ping.
func (n *nativeConn) pong(payload []byte) {
	if n.c == nil {
		return
	}
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.c.control = appendWSPong(n.c.control, payload)
	n.c.enqueue()
}

// take takes one frame. b is valid during the call only.
func (n *nativeConn) take(b []byte) error {
	var f schemas.Frame
	if err := f.Decode(bytes.Clone(b)); err != nil { // names outlive the buffer
		return err
	}
	if n.c == nil {
		if f.Hello == nil {
			return &refusal{schemas.CloseProtocol, "the first frame must be a hello"}
		}
		return n.hello(f.Hello)
	}
	n.c.heard.Store(n.s.nowMillis() / 1000)
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	if n.c.closed {
		return errClosed
	}
	return n.c.frame(&f)
}

// hello lets a client in, or says why not.
func (n *nativeConn) hello(h *schemas.Hello) error {
	s := n.s
	if h.Version != schemas.SessionVersion {
		return &refusal{schemas.CloseVersion, fmt.Sprintf("protocol version %d: this server speaks version %d", h.Version, schemas.SessionVersion)}
	}
	if !s.cfg.Authenticate(h.InstanceID, h.ClientKey) {
		s.metrics.refused.WithLabelValues(refusedUnauthorized).Inc()
		return &refusal{schemas.CloseUnauthorized, "the client key is wrong"}
	}
	who := &hello{
		identity: session.Identity{
			InstanceID: h.InstanceID, DeviceID: h.DeviceID, UserID: h.UserID, SessionID: h.SessionID, OS: h.OS, AppVersion: h.AppVersion,
		},
		biz: interests(h.Biz), window: window(h.WindowEntries, h.WindowBytes), background: h.Background,
	}
	if field, why := who.check(s.sessionMax(h.InstanceID)); why != "" {
		s.metrics.refused.WithLabelValues(refusedBad).Inc()
		return &refusal{schemas.CloseBadHello, field + ": " + why}
	}
	if err := s.admitUser(&who.identity, ""); err != nil {
		return s.turnAway(err, schemas.CloseUnauthorized)
	}
	issued, err := s.admitDevice(who.identity.InstanceID, who.identity.DeviceID, h.DeviceCredential)
	if err != nil {
		return s.turnAway(err, schemas.CloseDevice)
	}
	_ = n.socket.conn.SetReadDeadline(time.Time{})
	n.c = s.connect(who, n.wire, n.socket, issued)
	s.release()
	s.metrics.connectSeconds.Observe(s.cfg.Now().Sub(n.began).Seconds())
	return nil
}

func interests(all []schemas.Interest) []session.Interest {
	out := make([]session.Interest, len(all))
	for i, b := range all {
		out[i] = session.Interest{BizType: b.BizType, Point: b.Point, Known: b.Known, Rewind: b.Rewind}
	}
	return out
}

// window reads a client's wish; what is out of range means the server's limit.
func window(entries, size int64) session.Window {
	return session.Window{Entries: int(min(max(entries, 0), session.WindowEntries)), Bytes: int(min(max(size, 0), session.WindowBytes))}
}

// greet is the welcome.
func (n *native) greet(c *client, credential string) []byte {
	w := c.session.Window()
	return n.frame(nil, &schemas.Frame{Welcome: &schemas.Welcome{
		Session: c.name, HeartbeatMillis: c.s.cfg.Heartbeat.Milliseconds(), WindowEntries: int64(w.Entries), WindowBytes: int64(w.Bytes),
		Time: c.s.nowMillis(), DeviceCredential: credential, Biz: c.session.Standings(),
	}})
}

// say adds a frame to what goes out next. A client that asks and does not read
// is cut. With c.mu.
func (c *client) say(f *schemas.Frame) {
	c.control = c.wire.(*native).frame(c.control, f)
	if len(c.control) > controlBytesMax {
		c.end(schemas.CloseSlow, "answers wait that nobody reads")
		return
	}
	c.enqueue()
}

// frame does what a client's frame asks for. With c.mu.
func (c *client) frame(f *schemas.Frame) error {
	switch {
	case f.Acks != nil:
		c.ackAll(f.Acks.Acks)
	case f.Ping != nil:
		c.ackAll(f.Ping.Acks)
		c.say(&schemas.Frame{Pong: &schemas.Pong{Time: f.Ping.Time, Biz: c.session.Standings()}})
	case f.Register != nil:
		biz := interests(f.Register.Biz)
		if field, why := checkInterests(biz); why != "" {
			return &refusal{schemas.CloseProtocol, field + ": " + why}
		}
		c.step(session.Register{Biz: biz})
	case f.Unregister != nil:
		c.step(session.Unregister{BizTypes: f.Unregister.BizTypes})
	case f.Bind != nil:
		return c.bind(f.Bind)
	case f.Unbind != nil:
		c.step(session.Unbind{})
		c.loggedIn()
	case f.Foreground != nil:
		c.step(session.Foreground{})
	case f.Background != nil:
		c.step(session.Background{})
	case f.Close != nil:
		return &refusal{schemas.CloseNormal, "the client said goodbye"}
	case f.Hello != nil:
		return &refusal{schemas.CloseProtocol, "a second hello"}
	}
	return nil
}

// ackAll takes acknowledgements. With c.mu.
func (c *client) ackAll(acks []schemas.AckTo) {
	for _, a := range acks {
		out := c.step(session.Ack{BizType: a.BizType, To: a.To, Rewind: a.Rewind})
		if out.Refused != "" {
			c.say(&schemas.Frame{Notice: &schemas.Notice{Code: schemas.NoticeAckRefused, BizType: a.BizType, ID: a.To, Text: out.Refused}})
		}
	}
}
