package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// TestMembersSayWhy: what the quorum answers has its status: a refusal of the
// kind that it is, 503 with a time to come back else, and outcome unknown where
// it is.
func TestMembersSayWhy(t *testing.T) {
	q := &quorum{}
	d, _ := furnished(t, func(c *Config) { c.Members = q })
	for _, c := range []struct {
		err     error
		status  int
		problem registry.Problem
		words   string
	}{
		{&registry.Error{Problem: registry.NotFound, Reason: "no member"}, http.StatusNotFound, registry.NotFound, "no member"},
		{&registry.Error{Problem: registry.Exists, Reason: "is elsewhere"}, http.StatusConflict, registry.Exists, "is elsewhere"},
		{&registry.Error{Problem: registry.Conflict, Reason: "another"}, http.StatusConflict, registry.Conflict, "another"},
		{fmt.Errorf("join: %w", &registry.Error{Problem: registry.Refused, Reason: "other topology"}), http.StatusConflict, registry.Refused, "other topology"},
		{&registry.Error{Problem: registry.Invalid, Reason: "no port"}, http.StatusBadRequest, registry.Invalid, "no port"},
		{errTest, http.StatusServiceUnavailable, "", "no leader is known"},
		{context.DeadlineExceeded, http.StatusServiceUnavailable, "", "deadline"},
		{fmt.Errorf("leadership lost: %w", registry.ErrOutcome), http.StatusServiceUnavailable, OutcomeUnknown, "outcome unknown"},
	} {
		q.err = c.err
		for _, call := range [][3]string{
			{"POST", "/members", `{"id":"r4","address":"10.0.0.4:7000"}`}, {"DELETE", "/members/r2", ""}, {"POST", "/transfer", `{"id":"r3"}`},
			{"GET", "/backup", ""}, {"POST", "/restore", "a backup"},
		} {
			w := d.call(call[0], v1+"/registry"+call[1], call[2])
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.words) || !strings.Contains(w.Body.String(), `"problem":"`+string(c.problem)) && c.problem != "" {
				t.Errorf("%s %s with %q: %d %s", call[0], call[1], c.err, w.Code, w.Body)
			}
			if again := w.Header().Get("Retry-After"); (again != "") != (w.Code == http.StatusServiceUnavailable) {
				t.Errorf("%s %s with %q: Retry-After is %q", call[0], call[1], c.err, again)
			}
			if w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Content-Disposition") != "" {
				t.Errorf("%s %s: a refusal with the headers %v", call[0], call[1], w.Header())
			}
		}
	}
	for _, body := range []string{`{"id":"","address":"x:1"}`, `{"id":"r4"}`, `{"name":"r4"}`} {
		d.refused("POST", v1+"/registry/members", body, http.StatusBadRequest, "")
	}
}

// TestEveryWriteWithoutLeader: on a node without a leader every change is
// answered 503, and when to come back.
func TestEveryWriteWithoutLeader(t *testing.T) {
	q := &quorum{err: errTest}
	d, _ := furnished(t, func(c *Config) { c.Members = q })
	d.r.down = errTest
	bodies := map[string]string{
		"POST " + v1 + "/instances":                                  `{"id":"other"}`,
		"POST " + v1 + "/instances/{instanceId}/sync":                `{"bizType":"NEW","scope":"specified","target":"user"}`,
		"PUT " + v1 + "/config":                                      file,
		"POST " + v1 + "/config":                                     file,
		"POST " + v1 + "/instances/{instanceId}/keys":                `{"for":"client"}`,
		"PUT " + v1 + "/service/signature":                           `{"on":true}`,
		"POST " + v1 + "/registry/members":                           `{"id":"r4","address":"10.0.0.4:7000"}`,
		"POST " + v1 + "/users":                                      `{"name":"bob","role":"viewer"}`,
		"POST " + v1 + "/instances/{instanceId}/sync/{bizType}/send": `{"target":"u1","data":"x","uniqueId":"m1","os":["iOS"]}`,
		"POST " + v1 + "/instances/{instanceId}/redeliver":           `{"bizType":"UCHAT","targets":["u1"],"after":0}`,
	}
	// These change nothing in the registry, or not for this caller.
	local := []string{
		"POST " + v1 + "/login",    // by what the node knows: TestLoginsOfACluster
		"POST " + v1 + "/logout",   // forgets a cookie, at this node
		"POST " + v1 + "/password", // only a login session has a password: 409
	}
	for _, r := range d.c.routes() {
		name := r.Method + " " + r.Path
		if r.Method == http.MethodGet || slices.Contains(local, name) {
			continue
		}
		body := bodies[name]
		if body == "" && r.In != nil {
			body = "{}"
		}
		w := d.call(r.Method, filled(r.Path), body)
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "no leader") {
			t.Errorf("%s: %d %v %s", name, w.Code, w.Header(), w.Body)
		}
	}
}

// TestBackupBreaksOff: an error after the first byte ends the connection, so
// that nobody takes what came for the whole.
func TestBackupBreaksOff(t *testing.T) {
	q := &quorum{}
	d, _ := furnished(t, func(c *Config) { c.Members = q })
	s := serveDesk(t, d)
	get := func() ([]byte, error) {
		t.Helper()
		res, err := http.Get(s.URL + v1 + "/registry/backup")
		if err != nil {
			return nil, err // so short a part is not sent before the connection breaks
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Fatal(res.Status)
		}
		return io.ReadAll(res.Body)
	}
	if b, err := get(); err != nil || string(b) != "all of it" {
		t.Fatalf("a whole one: %q, %v", b, err)
	}
	q.broken = errTest
	if b, err := get(); !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		t.Errorf("one that breaks off: %q, %v", b, err)
	}
	until(t, "its slot is free", func() bool { return len(d.c.moving) == 0 })
}

// TestRestoreTakesWhatIsWhole: an upload that breaks off or is too large reaches
// the quorum as an error, and is answered as one.
func TestRestoreTakesWhatIsWhole(t *testing.T) {
	q := &quorum{}
	d, _ := furnished(t, func(c *Config) { c.Members, c.RestoreMax = q, 1000 })
	d.ok("POST", v1+"/registry/restore", strings.Repeat("x", 1000))
	d.refused("POST", v1+"/registry/restore", strings.Repeat("x", 1001), http.StatusRequestEntityTooLarge, "over 1000 bytes")
	if len(q.did) != 1 {
		t.Errorf("restored were %q", q.did)
	}
	s := httptest.NewServer(d.c.Handler())
	defer s.Close()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s/registry/restore HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n%s", v1, bytes.Repeat([]byte("x"), 100))
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(conn)
	if !bytes.Contains(answer, []byte("400 Bad Request")) || !bytes.Contains(answer, []byte("did not come whole")) || len(q.did) != 1 {
		t.Errorf("an upload that broke off: %s; restored were %q", answer, q.did)
	}
}

// TestTransfersHaveALimit: so many at a time, and what is over is told to come
// back.
func TestTransfersHaveALimit(t *testing.T) {
	d, _ := furnished(t)
	for range transfersMax {
		d.c.moving <- struct{}{}
	}
	d.refused("GET", v1+"/registry/backup", "", http.StatusServiceUnavailable, "the limit")
	d.refused("POST", v1+"/registry/restore", "x", http.StatusServiceUnavailable, "the limit")
}
