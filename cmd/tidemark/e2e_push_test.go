package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/cmd/internal/e2e"
)

// forwarded calls as a proxy on this machine does, for somebody elsewhere.
type forwarded struct{}

func (forwarded) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Forwarded-For", "192.0.2.1")
	return http.DefaultTransport.RoundTrip(r)
}

// hold begins a push whose body does not come. What it sends of the body is the
// test's business.
func hold(t *testing.T, n *e2e.Node, header string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", n.HTTP)
	must(t, err)
	t.Cleanup(func() { c.Close() }) //nolint:errcheck // it may have ended
	must(t, c.SetDeadline(time.Now().Add(time.Minute)))
	_, err = fmt.Fprintf(c, "POST /webapi/sync/single?instanceId=%s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n\r\n", instance, header)
	must(t, err)
	return c
}

// status reads the answer of a held push.
func status(t *testing.T, c net.Conn) int {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	defer res.Body.Close() //nolint:errcheck // only its status counts
	_, err = io.Copy(io.Discard, res.Body)
	must(t, err)
	return res.StatusCode
}

// underWay waits until so many calls are.
func underWay(ctx context.Context, t *testing.T, n *e2e.Node, want int) {
	t.Helper()
	line := fmt.Sprintf("\ntidemark_ingress_in_flight %d\n", want)
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.AdminURL()+"/metrics", nil)
		must(t, err)
		res, err := http.DefaultClient.Do(req)
		must(t, err) // or the time is over
		all, err := io.ReadAll(res.Body)
		res.Body.Close() //nolint:errcheck // it was read
		must(t, err)
		if bytes.Contains(all, []byte(line)) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// The push door's limits are those of the flags.
func TestPushDoorKeepsTheLimitsOfItsFlags(t *testing.T) {
	ctx := within(t)
	n := startDev(ctx, t, nil, "--push-in-flight-max", "2", "--push-body-bytes-max", "262144", "--push-body-timeout", "1m")
	pushed := func(what string, want int) {
		t.Helper()
		if a := push(ctx, t, n, chat("u", what)).Answer; a.Status != want {
			t.Errorf("%s: %+v, want status %d", what, a, want)
		}
	}
	chunked := hold(t, n, "Transfer-Encoding: chunked") // takes the room of the largest body
	underWay(ctx, t, n, 1)
	pushed("no room for a body", http.StatusServiceUnavailable)
	_, err := io.WriteString(chunked, "2\r\n{}\r\n0\r\n\r\n")
	must(t, err)
	if got := status(t, chunked); got != http.StatusOK {
		t.Errorf("a body in chunks: %d", got)
	}
	underWay(ctx, t, n, 0)
	pushed("room for a body", http.StatusOK)
	for range 2 {
		hold(t, n, "Content-Length: 2")
	}
	underWay(ctx, t, n, 2)
	pushed("no place for a call", http.StatusServiceUnavailable)
}

// An instance without API keys is for this machine, or with --open-push for
// everybody.
func TestInstancesWithoutKeysAreForThisMachine(t *testing.T) {
	ctx := within(t)
	r := chat("u", "m")
	for flag, want := range map[string]int{"--open-push=false": http.StatusUnauthorized, "--open-push": http.StatusOK} {
		n := startDev(ctx, t, nil, flag, "--push-body-timeout", "300ms")
		elsewhere := e2e.Door{URL: n.URL(), HTTP: &http.Client{Transport: forwarded{}}}
		if a, err := elsewhere.Push(ctx, &r); err != nil || a.Status != want {
			t.Errorf("%s: from elsewhere: %+v, %v; want %d", flag, a, err, want)
		}
		if a := push(ctx, t, n, r); a.Answer.Status != http.StatusOK || !a.Answer.Success {
			t.Errorf("%s: from here: %+v", flag, a.Answer)
		}
		if got := status(t, hold(t, n, "Content-Length: 2")); got != http.StatusRequestTimeout {
			t.Errorf("a body that does not come: %d", got)
		}
		must(t, n.Stop())
	}
}

// The demo pushes without an API key.
func TestDemoSaysWhereItMayPush(t *testing.T) {
	for address, may := range map[string]bool{
		"127.0.0.1:8080": true, "localhost:8080": true, "[::1]:8080": true, "0.0.0.0:8080": true, "[::]:8080": true, ":8080": true,
		"192.0.2.1:8080": false, "push.example:8080": false, "8080": false,
	} {
		if got := callsItselfLocal(address); got != may {
			t.Errorf("%s: %v", address, got)
		}
	}
	cmd := devCommand()
	cmd.SetArgs([]string{"--demo", "--http", "192.0.2.1:8080", "--plaintext", "--data-dir", t.TempDir()})
	if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "--open-push") {
		t.Error(err)
	}
}
