package client

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// readAll gives all events, and what ended them.
func readAll(body io.Reader) (all []string, err error) {
	r := newReader(body)
	for {
		m, err := r.next()
		if err != nil {
			return all, err
		}
		all = append(all, fmt.Sprintf("%q %q %q %s", m.id, m.event, m.data, m.retry))
	}
}

func TestReaderTakesTheStandardsForms(t *testing.T) {
	const stream = ": comment\n\n" +
		"id: 1\nevent: sync\ndata: one\n\n" +
		"data:no space\r\ndata:  two spaces\r\n\r\n" +
		"id\nunknown: x\nretry: 1500\nretry: no number\n\n" +
		"data: broken off"
	want := []string{`"" "" "" 0s`, `"1" "sync" "one" 0s`, `"" "" "no space\n two spaces" 0s`, fmt.Sprintf(`"" "" "" %s`, 1500*time.Millisecond)}
	for _, body := range []io.Reader{strings.NewReader(stream), iotest.OneByteReader(strings.NewReader(stream))} {
		got, err := readAll(body)
		if !errors.Is(err, io.ErrUnexpectedEOF) || !reflect.DeepEqual(got, want) {
			t.Errorf("got %q, %v\nwant %q", got, err, want)
		}
	}
}

func TestReaderPassesOnWhatBrokeTheStream(t *testing.T) {
	broken := errors.New("connection reset")
	if _, err := readAll(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// FuzzReader: whatever comes, and however it is cut into reads, the reader
// ends with an error and gives the same events.
func FuzzReader(f *testing.F) {
	f.Add([]byte(event("A", 0, 2, 1, 2)))
	f.Add([]byte("event: close\nretry: 10\ndata: {}\n\n"))
	f.Add([]byte(":\n\r\ndata\ndata:\n\nid: \x00\n\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		whole, err1 := readAll(strings.NewReader(string(stream)))
		bytewise, err2 := readAll(iotest.OneByteReader(strings.NewReader(string(stream))))
		if !reflect.DeepEqual(whole, bytewise) || !errors.Is(err1, io.ErrUnexpectedEOF) || !errors.Is(err2, io.ErrUnexpectedEOF) {
			t.Errorf("%q %v, byte by byte %q %v", whole, err1, bytewise, err2)
		}
	})
}

// FuzzDispatch: no data makes the client panic, or take an id twice or out of
// order.
func FuzzDispatch(f *testing.F) {
	f.Add("sync", []byte(`{"bizType":"A","from":0,"to":7,"op":[{"id":4,"thirdMsgId":"m4","pl":"text"},{"id":7,"pl":"aGk=","isB":true}]}`))
	f.Add("close", []byte(`{"code":1,"reason":"x","retry":true}`))
	f.Fuzz(func(t *testing.T, event string, data []byte) {
		c := scripted(t, &script{}, nil)
		last := make(map[string]int64)
		for range 2 {
			c.dispatch(t.Context(), message{event: event, data: data}, inOrder(t, last)) //nolint:errcheck // any
		}
	})
}
