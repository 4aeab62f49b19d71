package ingress

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// wire is a connection to the door, written to by hand.
type wire struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

// served puts a door behind an HTTP server.
func served(t *testing.T, tune ...func(*Config)) (*door, func() *wire) {
	d := newDoor(t, tune...)
	s := httptest.NewServer(d.server.Handler())
	t.Cleanup(s.Close)
	return d, func() *wire {
		t.Helper()
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		return &wire{t, c, bufio.NewReader(c)}
	}
}

// head is a call's head, with more header lines.
func head(lines ...string) string {
	all := append([]string{"POST " + uri + " HTTP/1.1", "Host: 127.0.0.1", "Authorization: Bearer " + demoKey}, lines...)
	return strings.Join(all, "\r\n") + "\r\n\r\n"
}

func (w *wire) head(lines ...string) *wire {
	w.t.Helper()
	return w.send(head(lines...))
}

func (w *wire) send(text string) *wire {
	w.t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		w.t.Fatal(err)
	}
	return w
}

// sized sends a whole call at once.
func (w *wire) sized(body string) *wire {
	w.t.Helper()
	return w.send(head(fmt.Sprint("Content-Length: ", len(body))) + body)
}

// answered reads an answer; closed says that the connection must end with it.
func (w *wire) answered(what string, status int, closed bool) *http.Response {
	w.t.Helper()
	res, err := http.ReadResponse(w.in, nil)
	if err != nil {
		w.t.Fatalf("%s: no answer: %v", what, err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != status || !strings.HasPrefix(string(body), `{"msg":"`) {
		w.t.Errorf("%s: %s %s (%s), %v; want %d", what, res.Status, body, res.Header.Get(HeaderReason), err, status)
	}
	if closed {
		if n, err := io.Copy(io.Discard, w.in); err != nil && !strings.Contains(err.Error(), "reset") || n > 0 {
			w.t.Errorf("%s: then %d bytes more, %v: want that the connection is closed", what, n, err)
		}
	}
	return res
}

// drips sends a text again and again until the other side has had enough.
func (w *wire) drips(text string) {
	go func() {
		for {
			if _, err := io.WriteString(w, text); err != nil {
				return
			}
		}
	}()
}

// until waits for a condition.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in a minute: %s", what)
		}
	}
}

// patient lets bodies come as slowly as tests do.
func patient(c *Config) { c.BodyTimeout = time.Minute }

// took says how many requests were written, and that nothing is kept of calls
// that have ended.
func (d *door) took(requests int) {
	d.t.Helper()
	d.empty()
	if n := d.requests(); n != requests {
		d.t.Errorf("%d requests were written, want %d", n, requests)
	}
}

// empty says that nothing is kept of calls that have ended.
func (d *door) empty() {
	d.t.Helper()
	until(d.t, "all places are free again", func() bool {
		calls, bytes := d.server.places.used()
		return calls == 0 && bytes == 0
	})
}

// TestSlowBodies: a body arrives in time, or the call and its connection end.
func TestSlowBodies(t *testing.T) {
	d, dial := served(t, func(c *Config) { c.BodyTimeout = 50 * time.Millisecond })
	dial().head("Content-Length: 100").answered("a body that does not come", http.StatusRequestTimeout, true)
	dial().head("Content-Length: 100").send(`{"bizType":`).answered("half a body", http.StatusRequestTimeout, true)
	dial().head("Transfer-Encoding: chunked").send("5\r\n{\"biz\r\n").answered("chunks without end", http.StatusRequestTimeout, true)
	// Who is not let in need not send a body, and does not keep the connection
	// by not sending it.
	dial().head("Authorization: Bearer x", "Content-Length: 100").answered("two keys", http.StatusRequestTimeout, true) // the first counts
	w := dial().send("POST " + uri + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\nContent-Length: 100\r\n\r\n")
	w.answered("a wrong key, without the body", http.StatusUnauthorized, true)
	d.took(0)
	ok := dial()
	ok.sized(goodBody).answered("in time", http.StatusOK, false)
	ok.sized(goodBody).answered("the next on this connection", http.StatusOK, false)
	d.took(2)
}

// TestBrokenBodies end the call and its connection at once.
func TestBrokenBodies(t *testing.T) {
	d, dial := served(t, patient)
	dial().head("Transfer-Encoding: chunked").send("zz\r\n").answered("no chunks", http.StatusBadRequest, true)
	endless := dial().head("Transfer-Encoding: chunked")
	endless.drips("400\r\n" + strings.Repeat("x", 0x400) + "\r\n")
	endless.answered("chunks without end", http.StatusRequestEntityTooLarge, true)
	dial().head(fmt.Sprint("Content-Length: ", schemas.MaxRequestBytes+1)).answered("a length over the limit", http.StatusRequestEntityTooLarge, true)
	dial().head("Content-Length: 100").send("{").Close()
	d.took(0)
}

// TestAnswersMayTakeLongerThanBodies: the time limit of a body ends with it.
func TestAnswersMayTakeLongerThanBodies(t *testing.T) {
	const limit = 20 * time.Millisecond
	d, dial := served(t, func(c *Config) { c.BodyTimeout = limit })
	d.server.exchange = func(ctx context.Context, _ *schemas.Request) (schemas.Result, error) {
		select {
		case <-ctx.Done():
			return schemas.Result{}, ctx.Err()
		case <-time.After(5 * limit):
			return schemas.Result{Code: schemas.Success}, nil
		}
	}
	w := dial()
	for range 2 {
		w.sized(goodBody)
		if res := w.answered("a late answer", http.StatusOK, false); res.Header.Get(HeaderReason) != "" {
			t.Error(res.Header.Get(HeaderReason))
		}
	}
}

// TestCallsUnderWayAreBounded from their headers on.
func TestCallsUnderWayAreBounded(t *testing.T) {
	d, dial := served(t, patient, func(c *Config) { c.InFlightMax = 2 })
	release := make(chan struct{})
	d.server.exchange = func(ctx context.Context, _ *schemas.Request) (schemas.Result, error) {
		select {
		case <-ctx.Done():
		case <-release:
		}
		return schemas.Result{Code: schemas.Success}, nil
	}
	waits := dial().sized(goodBody)
	sends := dial().head(fmt.Sprint("Content-Length: ", len(goodBody)))
	until(t, "both are under way", func() bool { calls, _ := d.server.places.used(); return calls == 2 })
	if res := dial().head("Content-Length: 100").answered("a third call, from its headers on", http.StatusServiceUnavailable, true); res.Header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After: %q", res.Header.Get("Retry-After"))
	}
	if _, err := d.server.Push(t.Context(), &schemas.Request{InstanceID: "nobody"}); err != errBusy {
		t.Errorf("from within: %v", err)
	}
	if n := d.counted(errBusy); n != 1 {
		t.Errorf("counted %v times as busy, want 1", n)
	}
	close(release)
	sends.send(goodBody).answered("the one that was sending", http.StatusOK, false)
	waits.answered("the one that waited", http.StatusOK, false)
	d.empty()
	dial().sized(goodBody).answered("and then there is room", http.StatusOK, false)
}

// TestBytesUnderWayAreBounded, whatever the number of calls.
func TestBytesUnderWayAreBounded(t *testing.T) {
	d, dial := served(t, patient, func(c *Config) { c.BodyBytesMax = schemas.MaxRequestBytes })
	chunked := dial().head("Transfer-Encoding: chunked")
	until(t, "a body of unknown length has its room", func() bool {
		_, bytes := d.server.places.used()
		return bytes == schemas.MaxRequestBytes
	})
	dial().sized(goodBody).answered("without room", http.StatusServiceUnavailable, true)
	chunked.send(fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(goodBody), goodBody)).answered("the body is there", http.StatusOK, false)
	d.empty()
	dial().sized(goodBody).answered("with room", http.StatusOK, false)
	d.took(2)
}

// TestPlacesKeepNothing of calls that end in any way.
func TestPlacesKeepNothing(t *testing.T) {
	d := newDoor(t)
	if _, err := d.server.Push(t.Context(), &schemas.Request{InstanceID: demo, BizType: "A", LinkToken: "u", ThirdMsgID: "m", Payload: "p"}); err != nil || d.requests() != 1 {
		t.Errorf("from within: %v, %d requests", err, d.requests())
	}
	for _, r := range []*http.Request{
		keyed(), call(uri, goodBody), call(uri+"&instanceId=x", goodBody), call("/", ""), call(uri, strings.Repeat("x", schemas.MaxRequestBytes+1)),
		func() *http.Request { r := keyed(); r.ContentLength = -1; return r }(),
		func() *http.Request { r := keyed(); r.Body = io.NopCloser(strings.NewReader("{}")); return r }(), // shorter than it says
	} {
		d.do(r)
		if calls, bytes := d.server.places.used(); calls != 0 || bytes != 0 {
			t.Errorf("%s %d: %d calls and %d bytes are kept", r.URL, r.ContentLength, calls, bytes)
		}
	}
}

func TestConfigRefusesLimitsThatHoldNoCall(t *testing.T) {
	for what, tune := range map[string]func(*Config){
		"InFlightMax":  func(c *Config) { c.InFlightMax = -1 },
		"BodyTimeout":  func(c *Config) { c.BodyTimeout = -1 },
		"BodyBytesMax": func(c *Config) { c.BodyBytesMax = schemas.MaxRequestBytes - 1 },
	} {
		c := Config{Client: []kgo.Opt{kgo.SeedBrokers("x")}, Topology: new(topology.Topology), Settings: func() *registry.Settings { return nil }}
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		tune(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
