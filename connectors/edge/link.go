package edge

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"
)

// link is the write side of a connection.
type link interface {
	// tryWrite writes what it can without waiting, maybe nothing.
	tryWrite(b []byte) (int, error)
	// write writes all of it, waiting for as long as the time-out.
	write(b []byte, timeout time.Duration) error
	// end writes the last words if it can, and closes. It does not wait.
	end(last []byte)
	// hurry makes a write that waits give up soon: the session has ended.
	hurry()
}

// lingerFor is how long a closed connection is kept so that its last words
// arrive.
const lingerFor = time.Second

// socket is a link over a connection of its own. Its reader closes it.
type socket struct {
	conn  net.Conn
	raw   syscall.RawConn // nil: not a plain socket (TLS, or in memory)
	spawn func(func())
}

func newSocket(conn net.Conn, spawn func(func())) *socket {
	s := &socket{conn: conn, spawn: spawn}
	plain := conn
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		plain = t.NetConn()
	}
	if tcp, ok := plain.(*net.TCPConn); ok {
		tuneTCP(tcp)
	}
	if c, ok := conn.(syscall.Conn); ok && rawIO {
		s.raw, _ = c.SyscallConn()
	}
	return s
}

// tuneTCP bounds what the kernel holds for a client that does not read, and
// how long it believes in one that does not answer. That these fail is no
// reason not to serve.
func tuneTCP(c *net.TCPConn) {
	_ = c.SetWriteBuffer(sendBufferBytes)
	_ = c.SetNoDelay(true)
	setUserTimeout(c, 30*time.Second)
}

func (s *socket) tryWrite(b []byte) (int, error) {
	if s.raw == nil {
		return 0, nil
	}
	n := 0
	var err error
	if rerr := s.raw.Write(func(fd uintptr) bool {
		n, err = writeNow(fd, b)
		return true
	}); err == nil {
		err = rerr
	}
	return n, err
}

func (s *socket) write(b []byte, timeout time.Duration) error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	if _, err := s.conn.Write(b); err != nil {
		return err
	}
	return s.conn.SetWriteDeadline(time.Time{})
}

func (s *socket) end(last []byte) {
	if s.raw != nil {
		_, _ = s.tryWrite(last) // the connection may be gone
		s.shut()
		return
	}
	s.spawn(func() {
		_ = s.write(last, lingerFor)
		s.shut()
	})
}

// shut says that nothing more will be written. The reader closes when the
// client does, or after a moment.
func (s *socket) shut() {
	if c, ok := s.conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
		_ = s.conn.SetReadDeadline(time.Now().Add(lingerFor))
		return
	}
	_ = s.conn.Close()
}

func (s *socket) hurry() { _ = s.conn.SetWriteDeadline(time.Now().Add(lingerFor)) }

// readBuffers are lent to readers that have bytes to read.
var readBuffers = sync.Pool{New: func() any { return new([4096]byte) }}

// read waits for bytes, without holding a buffer while it waits, and hands
// them to use. It returns the error that ended the stream, io.EOF included.
func (s *socket) read(use func([]byte) error) error {
	if s.raw == nil {
		return s.readConn(use)
	}
	for {
		var buf *[4096]byte
		n := 0
		var err error
		rerr := s.raw.Read(func(fd uintptr) bool {
			buf = readBuffers.Get().(*[4096]byte)
			n, err = readNow(fd, buf[:])
			if again(err) {
				readBuffers.Put(buf)
				buf = nil
				return false
			}
			return true
		})
		if err == nil {
			err = rerr
		}
		if err == nil && n == 0 {
			err = io.EOF
		}
		if err == nil {
			err = use(buf[:n])
		}
		if buf != nil {
			readBuffers.Put(buf)
		}
		if err != nil {
			return err
		}
	}
}

func (s *socket) readConn(use func([]byte) error) error {
	buf := make([]byte, 512)
	for {
		n, err := s.conn.Read(buf)
		if n > 0 {
			if uerr := use(buf[:n]); uerr != nil {
				return uerr
			}
		}
		if err != nil {
			return err
		}
	}
}

// response is a link over an HTTP response whose connection cannot be had,
// as with HTTP/2. The handler waits for done.
type response struct {
	w     http.ResponseWriter
	ctl   *http.ResponseController
	spawn func(func())
	done  chan struct{}
	once  sync.Once
}

func newResponse(w http.ResponseWriter, spawn func(func())) *response {
	return &response{w: w, ctl: http.NewResponseController(w), spawn: spawn, done: make(chan struct{})}
}

func (r *response) tryWrite([]byte) (int, error) { return 0, nil }

func (r *response) write(b []byte, timeout time.Duration) error {
	err := r.ctl.SetWriteDeadline(time.Now().Add(timeout))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := r.w.Write(b); err != nil {
		return err
	}
	if err := r.ctl.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

func (r *response) end(last []byte) {
	r.spawn(func() {
		_ = r.write(last, lingerFor)
		r.once.Do(func() { close(r.done) })
	})
}

func (r *response) hurry() { _ = r.ctl.SetWriteDeadline(time.Now().Add(lingerFor)) }

// gone reports that an error means no more than that the other side left.
func gone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, os.ErrDeadlineExceeded)
}
