package guard

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
)

// A frame is its length (4 bytes), API key (2), version (2), correlation id
// (4), client id and, when flexible, tags; then the body.
const (
	frameLen    = 4
	frameKey    = 4
	frameVer    = 6
	frameClient = 12
)

// conn is a connection whose reader sees whole, checked frames only.
type conn struct {
	net.Conn
	l  *Listener
	in *bufio.Reader

	// Of the one goroutine that reads.
	buf      []byte // kept between small frames
	large    []byte // the current frame, if it is a large one
	out      []byte // what is left of the frame being handed out
	silent   int64  // bytes of the last frame, if it gets no answer
	places   []place
	producer int64 // the last one admitted, plus one

	shares shares
}

// Read hands out the current frame, then reads and checks the next one.
func (c *conn) Read(p []byte) (int, error) {
	if len(c.out) == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.out)
	c.out = c.out[n:]
	return n, nil
}

// Write sends one answer; a client that does not take it is cut off. The
// broker makes one call for each request that has an answer, in their order.
func (c *conn) Write(p []byte) (int, error) {
	defer c.shares.answered()
	if err := c.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// Close closes the connection; more than once does no harm.
func (c *conn) Close() error {
	if !c.shares.close() {
		return net.ErrClosed
	}
	err := c.Conn.Close()
	c.l.open.Add(-1)
	c.l.conns.Done()
	return err
}

// next reads one frame, checks it and lays it out. The reader before us
// closes the connection on any error.
func (c *conn) next() error {
	c.recycle()
	frame, err := c.read()
	if err == nil {
		frame, err = c.check(frame)
	}
	if err != nil {
		var refusal refusal
		if errors.As(err, &refusal) {
			c.l.complain(c.RemoteAddr(), err)
		}
		return err
	}
	c.out = frame
	return nil
}

// recycle is for when the last frame has been handed out.
func (c *conn) recycle() {
	c.shares.give(c.silent)
	c.silent = 0
	if n := cap(c.large); n > 0 && n <= pooledFrame {
		b := c.large
		c.l.buffers.Put(&b)
	}
	c.large = nil
}

// refusal is an error that the client is to blame for.
type refusal string

func (r refusal) Error() string { return string(r) }

func refusef(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

func (c *conn) read() ([]byte, error) {
	if err := c.SetReadDeadline(time.Now().Add(idleTimeout)); err != nil {
		return nil, err
	}
	if _, err := c.in.Peek(1); err != nil {
		return nil, err
	}
	if err := c.SetReadDeadline(time.Now().Add(frameTimeout)); err != nil {
		return nil, err
	}
	var head [frameClient]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return nil, err
	}
	size, err := admit(head)
	if err != nil {
		return nil, err
	}
	frame, err := c.room(frameLen + size)
	if err != nil {
		return nil, err
	}
	// Waiting for room is our doing, not the client's.
	if err := c.SetReadDeadline(time.Now().Add(frameTimeout)); err != nil {
		return nil, err
	}
	copy(frame, head[:])
	_, err = io.ReadFull(c.in, frame[frameClient:])
	return frame, err
}

// admit judges a frame by its head and says how long it is.
func admit(head [frameClient]byte) (int, error) {
	size := binary.BigEndian.Uint32(head[:])
	key := int16(binary.BigEndian.Uint16(head[frameKey:]))
	version := int16(binary.BigEndian.Uint16(head[frameVer:]))
	switch string(head[:3]) {
	case "GET", "POS", "PUT", "HEA", "PRI", "OPT", "DEL":
		return 0, refusef("it speaks HTTP; this port speaks the Kafka protocol")
	case "\x16\x03\x00", "\x16\x03\x01", "\x16\x03\x02", "\x16\x03\x03":
		return 0, refusef("it speaks TLS; the embedded broker speaks plaintext (security.protocol=PLAINTEXT)")
	}
	s := lookup(key)
	limit := uint32(MaxOtherBytes)
	if key == keyProduce {
		limit = MaxFrameBytes
	}
	switch {
	case size > limit:
		return 0, refusef("a request of %d bytes (API key %d), over the limit of %d", size, key, limit)
	case size < frameClient-frameLen:
		return 0, refusef("a request of %d bytes, too short for one", size)
	case s == nil:
		return 0, refusef("API key %d, which the embedded broker does not serve", key)
	case version < s.min || version > s.max && key != keyApiVersions:
		return 0, refusef("%s version %d, served are %d to %d", s.name, version, s.min, s.max)
	}
	return int(size), nil
}

// room finds memory for a frame; a large one waits for its share.
func (c *conn) room(n int) ([]byte, error) {
	if n <= smallFrame {
		if n > cap(c.buf) {
			c.buf = make([]byte, n, max(n, readBuffer))
		}
		return c.buf[:n], nil
	}
	if err := c.shares.take(c.l.ctx, int64(n)); err != nil {
		return nil, err
	}
	if b, ok := c.l.buffers.Get().(*[]byte); ok && cap(*b) >= n {
		c.large = (*b)[:n]
	} else {
		c.large = make([]byte, n, max(n, pooledFrame/4))
	}
	return c.large, nil
}

// check walks the frame and changes it where it must be changed.
func (c *conn) check(frame []byte) ([]byte, error) {
	key := int16(binary.BigEndian.Uint16(frame[frameKey:]))
	version := int16(binary.BigEndian.Uint16(frame[frameVer:]))
	s := lookup(key)
	if version > s.max {
		c.shares.await(0)
		return newerVersions(frame, version), nil
	}
	body, err := s.afterHeader(frame, version)
	if err == nil {
		c.places, err = s.walk(body, version, c.places[:0])
	}
	if err != nil {
		return nil, refusef("malformed %s version %d: %v", s.name, version, err)
	}
	for _, at := range c.places {
		c.apply(at.note, body[at.start:], at.end-at.start)
	}
	return frame, c.account(len(frame), body)
}

// account says what the frame's share of memory waits for: its answer, or,
// when the client wants none, nothing; so that such a frame must be small.
func (c *conn) account(n int, body []byte) error {
	share := int64(0)
	if n > smallFrame {
		share = int64(n)
	}
	for _, at := range c.places {
		if at.note != noteAcks || binary.BigEndian.Uint16(body[at.start:]) != 0 {
			continue
		}
		if n > MaxOtherBytes {
			return refusef("a Produce of %d bytes with acks=0, over the limit of %d: use acks=1 or all", n, MaxOtherBytes)
		}
		c.silent = share
		return nil
	}
	c.shares.await(share)
	return nil
}

// afterHeader is the body behind a request's header.
func (s *shape) afterHeader(frame []byte, version int16) ([]byte, error) {
	w := walker{flexible: s.flexible >= 0 && version >= s.flexible}
	w.r = kbin.Reader{Src: frame[frameClient:]}
	w.span(int(w.r.Int16())) // client id
	if w.flexible {
		if err := w.tags(0); err != nil {
			return nil, err
		}
	}
	if !w.r.Ok() {
		return nil, errShort
	}
	return w.r.Src, nil
}

// apply acts on a noted field, the first n bytes of b, which may be changed.
func (c *conn) apply(what note, b []byte, n int) {
	switch what {
	case noteRecords:
		b = b[:n]
		if err := c.checkProduced(b); err != nil {
			refuse(b)
			c.l.complain(c.RemoteAddr(), fmt.Errorf("a record batch answered with INVALID_RECORD: %w", err))
		}
	case noteMaxBytes:
		if limit := c.l.fetchCap(); binary.BigEndian.Uint32(b) > limit {
			binary.BigEndian.PutUint32(b, limit)
		}
	case noteGroupType:
		lower(b[:n])
	case noteSession:
		binary.BigEndian.PutUint32(b, 0)            // no session
		binary.BigEndian.PutUint32(b[4:8], 1<<32-1) // epoch -1: a full fetch without one
	}
}

func lower(b []byte) {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
}

func (c *conn) checkProduced(b []byte) error {
	if err := c.l.codecs.checkBatch(b); err != nil {
		return err
	}
	id := producerOf(b)
	if id < 0 || id == c.producer-1 {
		return nil
	}
	if !c.l.admitProducer(id) {
		return fmt.Errorf("over %d producer ids since the start", MaxProducers)
	}
	c.producer = id + 1
	return nil
}

// newerVersions is a request for API versions that holds nothing but what its
// answer depends on: the version, which we do not know, and the correlation id.
func newerVersions(frame []byte, version int16) []byte {
	out := append(make([]byte, 0, 32), frame[:frameClient]...)
	out = append(out, 0xff, 0xff, 0) // client id: null; no tags
	out = append(out, 1, 1)          // software name and version: empty
	out = append(out, 0)             // cluster id: null
	out = append(out, 0xff, 0xff, 0xff, 0xff, 0)
	binary.BigEndian.PutUint32(out, uint32(len(out)-frameLen))
	return out
}
