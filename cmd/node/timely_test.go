package node

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestNoCallWaitsForeverForItsBody, at either HTTP door, whoever serves it or
// nobody.
func TestNoCallWaitsForeverForItsBody(t *testing.T) {
	r := startNode(t, func(c *Config) { c.bodyTimeout = 50 * time.Millisecond; c.Push.BodyTimeout = 50 * time.Millisecond })
	public, admin := r.public.Addr(), r.Node.admin.Addr()
	for _, c := range []struct {
		door net.Addr
		call string
	}{
		{public, "POST /webapi/sync/single?instanceId=demo_APP1"}, {public, "POST //webapi/sync/single"}, {public, "POST /sync/ack"},
		{public, "POST /nothing"}, {public, "GET /nothing"}, {admin, "POST /nothing"}, {admin, "POST /api/v1/login"}, {admin, "POST /api/v1/config"},
	} {
		for _, header := range []string{"Content-Length: 100\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n5\r\n{"} {
			conn, err := net.Dial("tcp", c.door.String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close() //nolint:errcheck // the other side has
			if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer test token\r\n%s", c.call, header)
			if _, err := io.Copy(io.Discard, conn); err != nil && !strings.Contains(err.Error(), "reset") {
				t.Errorf("%s with half a body, %.10s: %v; want that the connection is closed", c.call, header, err)
			}
		}
	}
}

// TestAnswersMayTakeLongerThanBodies: the HTTP server ends the deadline with
// the body, or it would take who waits for an answer for gone.
func TestAnswersMayTakeLongerThanBodies(t *testing.T) {
	const limit = 20 * time.Millisecond
	s := httptest.NewServer(timely(limit, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		select {
		case <-r.Context().Done():
			t.Error("the caller is taken for gone")
		case <-time.After(5 * limit):
		}
		w.Write(body) //nolint:errcheck // the caller checks
	})))
	defer s.Close()
	for range 2 { // on one connection
		res, err := http.Post(s.URL, "", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close() //nolint:errcheck // it was read
		if err != nil || string(body) != "x" {
			t.Errorf("%q, %v", body, err)
		}
	}
}
