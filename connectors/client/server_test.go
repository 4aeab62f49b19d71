package client

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"
)

// script is a server without a network, so that virtual time works: it answers
// each stream with the next text, and ends it there. When there are no more,
// it refuses for good, which ends Run.
type script struct {
	streams []answer
	ackFail []int // status of the first acks; 0 breaks the connection

	opened []*http.Request
	at     []time.Time
	acks   []string
}

// answer to a request for a stream.
type answer struct {
	status     int // 0: 200
	text       string
	retryAfter string
	lasts      time.Duration // before the stream breaks off
}

// over is how a script ends Run.
const over = "the script is over"

func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Path == "/sync/ack" {
		return s.ack(req)
	}
	s.opened = append(s.opened, req)
	s.at = append(s.at, time.Now())
	a := answer{status: http.StatusGone, text: over}
	if n := len(s.opened); n <= len(s.streams) {
		a = s.streams[n-1]
	}
	if a.status == 0 {
		a.status = http.StatusOK
	}
	h := make(http.Header)
	if a.retryAfter != "" {
		h.Set("Retry-After", a.retryAfter)
	}
	return &http.Response{StatusCode: a.status, Header: h, Body: io.NopCloser(io.MultiReader(strings.NewReader(a.text), pause(a.lasts)))}, nil
}

// pause is a reader that waits, and then has nothing.
type pause time.Duration

func (p pause) Read([]byte) (int, error) {
	time.Sleep(time.Duration(p))
	return 0, io.EOF
}

func (s *script) ack(req *http.Request) (*http.Response, error) {
	var w struct {
		BizType string
		To      int64
		Rewind  int64
	}
	if err := json.NewDecoder(req.Body).Decode(&w); err != nil {
		return nil, err
	}
	status := http.StatusOK
	if len(s.ackFail) > 0 {
		status, s.ackFail = s.ackFail[0], s.ackFail[1:]
	}
	if status == 0 {
		return nil, io.ErrClosedPipe
	}
	if status == http.StatusOK {
		said := fmt.Sprintf("%s:%d", w.BizType, w.To)
		if w.Rewind != 1 {
			said += fmt.Sprint("@", w.Rewind)
		}
		s.acks = append(s.acks, said)
	}
	return &http.Response{StatusCode: status, Header: make(http.Header), Body: io.NopCloser(strings.NewReader(`{"success":true}`))}, nil
}

// event is a sync event with the ids as the server writes it; its cursor
// names business and end.
func event(biz string, from, to int64, ids ...int64) string {
	ops := make([]string, len(ids))
	for i, id := range ids {
		ops[i] = fmt.Sprintf(`{"id":%d,"thirdMsgId":"m%d","pl":"p%d"}`, id, id, id)
	}
	return fmt.Sprintf("id: %s-%d\nevent: sync\ndata: {\"bizType\":%q,\"from\":%d,\"to\":%d,\"op\":[%s]}\n\n", biz, to, biz, from, to, strings.Join(ops, ","))
}

// scripted makes a client of the script; change may alter its configuration.
func scripted(t *testing.T, s *script, change func(*Config)) *Client {
	t.Helper()
	cfg := Config{
		URL: "http://server.test", InstanceID: "demo_APP1", DeviceID: "phone1", UserID: "user1", Biz: []string{"A", "B"}, ClientKey: "ck-test",
		HTTP: &http.Client{Transport: s}, Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
