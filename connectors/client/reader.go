package client

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// message is one event of a stream as the HTML standard dispatches it.
type message struct {
	id, event string
	data      []byte        // valid until the next message
	retry     time.Duration // 0: not said
}

// reader takes an event stream apart.
type reader struct {
	lines *bufio.Scanner
	data  []byte
}

// lineBytesFirst is the buffer that lines begin with; few need more.
const lineBytesFirst = 16 << 10

func newReader(body io.Reader) *reader {
	r := &reader{lines: bufio.NewScanner(body)}
	r.lines.Buffer(make([]byte, lineBytesFirst), EventBytesMax)
	return r
}

// next gives the next event. What a stream that breaks off has left half said
// is dropped: it comes again. The end of a stream is [io.ErrUnexpectedEOF].
func (r *reader) next() (message, error) {
	var m message
	r.data = r.data[:0]
	for r.lines.Scan() {
		line := r.lines.Bytes()
		if len(line) == 0 {
			m.data = bytes.TrimSuffix(r.data, []byte{'\n'})
			return m, nil
		}
		r.field(&m, line)
		if len(r.data) > EventBytesMax {
			return m, fmt.Errorf("%w: an event of more than %d bytes", ErrData, EventBytesMax)
		}
	}
	if err := r.lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return m, fmt.Errorf("%w: an event of more than %d bytes", ErrData, EventBytesMax)
	} else if err != nil {
		return m, err
	}
	return m, io.ErrUnexpectedEOF
}

// field takes one line; comments and unknown fields say nothing.
func (r *reader) field(m *message, line []byte) {
	name, value, _ := bytes.Cut(line, []byte{':'})
	value = bytes.TrimPrefix(value, []byte{' '})
	switch string(name) {
	case "id":
		if bytes.IndexByte(value, 0) < 0 {
			m.id = string(value)
		}
	case "event":
		m.event = string(value)
	case "data":
		r.data = append(append(r.data, value...), '\n')
	case "retry":
		if ms, err := strconv.ParseUint(string(value), 10, 32); err == nil {
			m.retry = time.Duration(ms) * time.Millisecond
		}
	}
}
