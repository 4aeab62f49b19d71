package console

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// fakeRegistry is a registry of one model in memory.
type fakeRegistry struct {
	mu      sync.Mutex
	m       *registry.Model
	changed chan struct{}
	n       int
	meddle  func(*fakeRegistry) // called before a proposal, as somebody who is faster
	down    error
	behind  *registry.Model // what Now gives, until somebody reads; nil: the newest
}

func (r *fakeRegistry) Now() (*registry.Model, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.behind != nil {
		return r.behind, r.changed
	}
	return r.m, r.changed
}

func (r *fakeRegistry) Read(context.Context) (*registry.Model, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down == nil {
		r.behind = nil // a read waits until the node has as much
	}
	return r.m, r.down
}

func (r *fakeRegistry) Propose(_ context.Context, c registry.Command) (registry.Result, error) {
	if r.down != nil {
		return registry.Result{}, r.down
	}
	if f := r.meddle; f != nil {
		f(r)
	}
	return r.apply(c)
}

func (r *fakeRegistry) apply(c registry.Command) (registry.Result, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.ID == "" {
		r.n++
		c.ID = fmt.Sprint("fake", r.n)
	}
	if _, err := c.Append(nil); err != nil {
		return registry.Result{}, err
	}
	var result registry.Result
	r.m, result = r.m.Apply(c)
	close(r.changed)
	r.changed = make(chan struct{})
	return result, result.Err()
}

func (r *fakeRegistry) QuorumStatus(context.Context) registry.Status {
	return registry.Status{ID: "n1", State: "leader", Ready: true, Revision: r.m.Revision()}
}

// desk is a console under test and somebody who calls it.
type desk struct {
	t       *testing.T
	r       *fakeRegistry
	c       *Console
	now     time.Time
	publish error // what waiting for publication gives
	waited  []int64
}

func newDesk(t *testing.T, change ...func(*Config)) *desk {
	t.Helper()
	d := &desk{t: t, r: &fakeRegistry{m: &registry.Model{}, changed: make(chan struct{})}, now: time.Date(2024, 4, 10, 18, 2, 52, 0, time.UTC)}
	if _, err := d.r.apply(registry.Command{Time: d.now.UnixMilli(), Ops: []registry.Op{registry.Create{
		ID: "cluster", ClusterKey: registry.Hash{1}, Pepper: registry.Hash{2}, Topology: []byte(`{}`),
	}}}); err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Registry: d.r, Clock: func() time.Time { return d.now }, Log: slog.New(slog.DiscardHandler),
		WaitPublished: func(_ context.Context, revision int64) error { d.waited = append(d.waited, revision); return d.publish },
	}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	if d.c, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	return d
}

// call makes a request from this machine.
func (d *desk) call(method, path, body string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	d.t.Helper()
	r := httptest.NewRequest(method, "http://localhost:8081"+path, strings.NewReader(body))
	r.RemoteAddr = "127.0.0.1:5555"
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	d.c.Handler().ServeHTTP(w, r)
	return w
}

// ok is call for what must succeed; it gives the body.
func (d *desk) ok(method, path, body string) string {
	d.t.Helper()
	w := d.call(method, path, body)
	if w.Code < 200 || w.Code > 299 {
		d.t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	return w.Body.String()
}

// refused is call for what must be refused, with a status and words in it.
func (d *desk) refused(method, path, body string, status int, words string, change ...func(*http.Request)) {
	d.t.Helper()
	w := d.call(method, path, body, change...)
	var e struct {
		Error Error `json:"error"`
	}
	b, _ := io.ReadAll(w.Body)
	if w.Code != status || json.Unmarshal(b, &e) != nil || !strings.Contains(e.Error.Error(), words) {
		d.t.Errorf("%s %s: %d %s; want %d and %q", method, path, w.Code, b, status, words)
	}
}

// audit lists the newest actions.
func (d *desk) audit(n int) (actions []registry.Action) {
	for _, r := range d.r.m.Audit(registry.AuditFilter{Limit: n}) {
		actions = append(actions, r.Action)
	}
	return actions
}
