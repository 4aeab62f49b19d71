package quorum

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// A connection's first byte says what it carries.
const (
	wireRaft  = 'r'
	wireCalls = 'c'
)

const (
	greetTimeout = 5 * time.Second
	// maxConns bounds the connections that other members have open here.
	maxConns = 1024
)

// wire is the one listener of a node, with two kinds of connection behind it.
type wire struct {
	network Network
	tls     *tls.Config
	l       net.Listener
	raft    chan net.Conn
	calls   chan net.Conn
	room    chan struct{} // one token for each open connection

	mu     sync.Mutex
	open   map[net.Conn]struct{} // both ways
	ctx    context.Context       // ends when the wire closes
	cancel context.CancelFunc
	once   sync.Once
	wg     sync.WaitGroup
}

func listen(c *Config) (*wire, error) {
	l, err := c.Network.Listen(c.Listen)
	if err != nil {
		return nil, err
	}
	w := &wire{
		network: c.Network, l: l,
		raft: make(chan net.Conn), calls: make(chan net.Conn), room: make(chan struct{}, maxConns),
		open: make(map[net.Conn]struct{}),
	}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	if c.TLS != nil {
		w.tls = c.TLS.Clone()
		w.tls.MinVersion = tls.VersionTLS13
		w.tls.ClientAuth = tls.RequireAndVerifyClientCert
	}
	w.wg.Go(w.accept)
	return w, nil
}

func (w *wire) accept() {
	for {
		select {
		case w.room <- struct{}{}:
		case <-w.ctx.Done():
			return
		}
		conn, err := w.l.Accept()
		if err != nil {
			<-w.room
			if !w.pause(err) {
				return
			}
			continue
		}
		w.wg.Go(func() { w.greet(conn) })
	}
}

// pause waits out a failed accept; false if the listener is closed.
func (w *wire) pause(err error) bool {
	if errors.Is(err, net.ErrClosed) {
		return false
	}
	select {
	case <-time.After(50 * time.Millisecond): // out of file descriptors, most likely
		return true
	case <-w.ctx.Done():
		return false
	}
}

// greet finds out what a new connection is for and hands it on.
func (w *wire) greet(conn net.Conn) {
	conn = w.track(conn, func() { <-w.room })
	_ = conn.SetDeadline(time.Now().Add(greetTimeout))
	if w.tls != nil {
		conn = tls.Server(conn, w.tls)
	}
	var first [1]byte
	if _, err := conn.Read(first[:]); err != nil {
		conn.Close()
		return
	}
	to := w.calls
	if first[0] == wireRaft {
		to = w.raft
	} else if first[0] != wireCalls {
		conn.Close()
		return
	}
	_ = conn.SetDeadline(time.Time{})
	select {
	case to <- conn:
	case <-w.ctx.Done():
		conn.Close()
	}
}

// dial connects to another member.
func (w *wire) dial(ctx context.Context, address string, kind byte) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(w.ctx, cancel)()
	conn, err := w.network.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	conn = w.track(conn, func() {})
	if w.tls != nil {
		config := w.tls.Clone()
		config.ServerName, _, _ = net.SplitHostPort(address)
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		conn = secure
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	if _, err := conn.Write([]byte{kind}); err != nil {
		conn.Close()
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	return conn, nil
}

// close ends the listener and every connection, both ways.
func (w *wire) close() error {
	var err error
	w.once.Do(func() {
		w.cancel()
		err = w.l.Close()
		w.mu.Lock()
		for c := range w.open {
			_ = c.Close()
		}
		w.mu.Unlock()
	})
	w.wg.Wait()
	return err
}

// tracked is a connection that the wire can close.
type tracked struct {
	net.Conn
	w     *wire
	ended func()
	once  sync.Once
}

func (w *wire) track(conn net.Conn, ended func()) net.Conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open[conn] = struct{}{}
	if w.ctx.Err() != nil {
		conn.Close() // too late to be closed with the others
	}
	return &tracked{Conn: conn, w: w, ended: ended}
}

func (t *tracked) Close() error {
	t.once.Do(func() {
		t.w.mu.Lock()
		delete(t.w.open, t.Conn)
		t.w.mu.Unlock()
		t.ended()
	})
	return t.Conn.Close()
}

// side is one kind's listener. Closing it leaves the wire open.
type side struct {
	w     *wire
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (w *wire) side(conns chan net.Conn) *side {
	return &side{w: w, conns: conns, done: make(chan struct{})}
}

func (s *side) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.done:
	case <-s.w.ctx.Done():
	}
	return nil, net.ErrClosed
}

func (s *side) Close() error {
	s.once.Do(func() { close(s.done) })
	return nil
}

func (s *side) Addr() net.Addr { return s.w.l.Addr() }

// raftSide is the side that Raft's own transport uses.
type raftSide struct {
	*side
	address string // as others know it
}

// Dial connects to another member for Raft.
func (s raftSide) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return s.w.dial(ctx, string(address), wireRaft)
}

func (s raftSide) Addr() net.Addr { return advertised(s.address) }

// advertised is an address as text.
type advertised string

func (advertised) Network() string  { return "tcp" }
func (a advertised) String() string { return string(a) }
