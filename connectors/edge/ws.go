package edge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"

	"github.com/gobwas/ws"

	"github.com/tidemarkio/tidemark/schemas"
)

var wsWire = &native{transport: transportWS, put: appendWSBinary}

// appendWSBinary appends a frame as a binary WebSocket message.
func appendWSBinary(b []byte, frame func([]byte) []byte) []byte {
	const room = 10 // the longest header of a server's message
	at := len(b)
	b = frame(append(b, make([]byte, room)...))
	n := len(b) - at - room
	size := putWSHeader(b[at:], byte(ws.OpBinary), n)
	copy(b[at+size:], b[at+room:])
	return b[:at+size+n]
}

// putWSHeader writes the header of a whole, unmasked message of n bytes.
func putWSHeader(b []byte, op byte, n int) (size int) {
	b[0] = 0x80 | op
	switch {
	case n < 126:
		b[1] = byte(n)
		return 2
	case n < 1<<16:
		b[1] = 126
		binary.BigEndian.PutUint16(b[2:], uint16(n))
		return 4
	}
	b[1] = 127
	binary.BigEndian.PutUint64(b[2:], uint64(n))
	return 10
}

// wsReasonMax is what a close message can hold beside its code.
const wsReasonMax = 123

func appendWSClose(b []byte, code schemas.CloseCode, reason string) []byte {
	reason = reason[:min(len(reason), wsReasonMax)]
	b = append(b, 0x80|byte(ws.OpClose), byte(2+len(reason)))
	b = binary.BigEndian.AppendUint16(b, uint16(code))
	return append(b, reason...)
}

func appendWSPong(b, payload []byte) []byte {
	b = append(b, 0x80|byte(ws.OpPong), byte(len(payload)))
	return append(b, payload...)
}

// errWSClose says that the client sent a close message.
var errWSClose = errors.New("the client closed")

// wsReader takes a client's WebSocket stream apart.
type wsReader struct {
	held    []byte // bytes of a message that is not complete
	message []byte // fragments so far
	partial bool   // a fragmented message is under way
}

// feed takes bytes as they come, and hands on the payload of every binary
// message. Payloads are valid during the call only. pong is called for pings.
func (r *wsReader) feed(b []byte, use func(payload []byte) error, pong func(payload []byte)) error {
	if len(r.held) > 0 {
		r.held = append(r.held, b...)
		b = r.held
	}
	for {
		h, size, err := parseWSHeader(b)
		if err != nil {
			return err
		}
		if size == 0 || len(b) < size+int(h.Length) {
			break
		}
		payload := b[size : size+int(h.Length)]
		ws.Cipher(payload, h.Mask, 0)
		b = b[size+int(h.Length):]
		if err := r.take(h, payload, use, pong); err != nil {
			return err
		}
	}
	if len(b) == 0 {
		r.held = nil
	} else {
		r.held = append([]byte(nil), b...)
	}
	return nil
}

// parseWSHeader reads a header, if it is whole (size 0: it is not), and checks
// what can be refused by it.
func parseWSHeader(b []byte) (h ws.Header, size int, err error) {
	if len(b) < 2 {
		return h, 0, nil
	}
	h.Fin, h.Rsv, h.OpCode = b[0]&0x80 != 0, b[0]&0x70>>4, ws.OpCode(b[0]&0x0f)
	h.Masked = b[1]&0x80 != 0
	n := uint64(b[1] & 0x7f)
	size = 2
	switch n {
	case 126:
		if size = 4; len(b) < size {
			return h, 0, nil
		}
		n = uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if size = 10; len(b) < size {
			return h, 0, nil
		}
		n = binary.BigEndian.Uint64(b[2:])
	}
	if n > schemas.MaxClientFrame {
		return h, 0, fmt.Errorf("message of %d bytes, at most %d: %w", n, schemas.MaxClientFrame, schemas.ErrFrameSize)
	}
	h.Length = int64(n)
	if err := ws.CheckHeader(h, ws.StateServerSide); err != nil && !errors.Is(err, ws.ErrProtocolContinuationUnexpected) {
		return h, 0, err
	}
	if len(b) < size+4 {
		return h, 0, nil
	}
	copy(h.Mask[:], b[size:])
	return h, size + 4, nil
}

// take sees to one message, or a fragment of one.
func (r *wsReader) take(h ws.Header, payload []byte, use func([]byte) error, pong func([]byte)) error {
	switch h.OpCode {
	case ws.OpPing:
		pong(payload)
		return nil
	case ws.OpPong:
		return nil
	case ws.OpClose:
		return errWSClose
	case ws.OpText:
		return errors.New("text messages are not part of the protocol: send binary ones")
	case ws.OpContinuation:
		if !r.partial {
			return errors.New("a continuation without a beginning")
		}
	default:
		if r.partial {
			return errors.New("a new message before the last one was whole")
		}
	}
	if h.Fin && !r.partial {
		return use(payload)
	}
	if len(r.message)+len(payload) > schemas.MaxClientFrame {
		return fmt.Errorf("message of more than %d bytes: %w", schemas.MaxClientFrame, schemas.ErrFrameSize)
	}
	r.message = append(r.message, payload...)
	r.partial = !h.Fin
	if r.partial {
		return nil
	}
	whole := r.message
	r.message = nil
	return use(whole)
}

// handleWS is GET /sync/ws.
func (s *Server) handleWS(w http.ResponseWriter, r *http.Request) {
	if why := s.admit(); why != "" {
		s.refuse(w, why)
		return
	}
	up := ws.HTTPUpgrader{Protocol: func(name string) bool { return name == schemas.SessionName }, Timeout: s.cfg.HelloTimeout}
	conn, rw, _, err := up.Upgrade(r, w)
	if err != nil {
		s.release()
		if conn != nil {
			_ = conn.Close()
		}
		return
	}
	early, _ := rw.Reader.Peek(rw.Reader.Buffered())
	early = append([]byte(nil), early...)
	reader := new(wsReader)
	s.spawn(func() {
		s.serveFrames(newSocket(conn, s.spawn), wsWire, early, func(c *nativeConn, b []byte) error {
			return reader.feed(b, c.take, c.pong)
		})
	})
}
