package console

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// watched is somebody at the other end of a watch.
type watched struct {
	t     *testing.T
	res   *http.Response
	lines *bufio.Scanner
	stop  context.CancelFunc
}

type seen struct {
	name, id string
	WatchEvent
}

func serveDesk(t *testing.T, d *desk) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(d.c.Handler())
	t.Cleanup(func() { d.c.Close(); s.Close() })
	return s
}

func watch(t *testing.T, s *httptest.Server, query string, header ...string) *watched {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+v1+"/watch"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{t: t, res: res, lines: bufio.NewScanner(res.Body), stop: stop}
	w.lines.Buffer(nil, 4<<20)
	t.Cleanup(w.close)
	return w
}

func (w *watched) close() {
	w.stop()
	w.res.Body.Close()
}

// next reads one event; comments are no events.
func (w *watched) next() (e seen) {
	w.t.Helper()
	for w.lines.Scan() {
		field, value, _ := strings.Cut(w.lines.Text(), ": ")
		switch {
		case field == "event":
			e.name = value
		case field == "id":
			e.id = value
		case field == "data":
			if err := json.Unmarshal([]byte(value), &e.WatchEvent); err != nil {
				w.t.Fatal(err)
			}
		case w.lines.Text() == "" && e.name != "":
			return e
		}
	}
	w.t.Fatalf("the watch ended: %v", w.lines.Err())
	return e
}

func (d *desk) describe(biz, text string) {
	d.t.Helper()
	d.ok("PUT", syncs+"/"+biz, fmt.Sprintf(`{"description":%q}`, text))
}

// TestWatchGoesOnAfterADisconnect: what changed while nobody watched is told to
// who comes back, each object once and as it is now; by query and by header.
func TestWatchGoesOnAfterADisconnect(t *testing.T) {
	d, _ := furnished(t)
	s := serveDesk(t, d)
	first := watch(t, s, "")
	if e := first.next(); e.name != "revision" || e.Revision != d.r.m.Revision() {
		t.Fatalf("it begins with %+v", e)
	}
	d.describe("UCHAT", "one")
	e := first.next()
	if e.name != "change" || e.id != fmt.Sprint(e.Revision) || e.Revision != d.r.m.Revision() || len(e.Changes) != 1 {
		t.Fatalf("the change is told as %+v", e)
	}
	value, _ := json.Marshal(e.Changes[0].Value)
	if o := e.Changes[0].Object; o.Kind != registry.KindConfig || o.Name != "UCHAT" || !strings.Contains(string(value), `"description":"one"`) {
		t.Errorf("the change is of %+v: %s", o, value)
	}
	first.close()

	d.describe("UCHAT", "two")
	d.describe("UCHAT", "three")
	d.ok("POST", syncs+"/PING/offline", "")
	d.ok("DELETE", syncs+"/PING", "")
	for _, again := range []*watched{watch(t, s, "?since="+e.id), watch(t, s, "", "Last-Event-ID", e.id)} {
		got := again.next()
		if got.name != "change" || got.Revision != d.r.m.Revision() || len(got.Changes) != 2 {
			t.Fatalf("who comes back is told %+v", got)
		}
		value, _ := json.Marshal(got.Changes[0].Value)
		if !strings.Contains(string(value), "three") || got.Changes[0].Gone {
			t.Errorf("the config is told as %s", value)
		}
		if c := got.Changes[1]; c.Object.Name != "PING" || !c.Gone || c.Value != nil {
			t.Errorf("what was removed is told as %+v", c)
		}
		if next := again.next(); next.name != "revision" || next.Revision != got.Revision {
			t.Errorf("then comes %+v", next)
		}
	}
}

// TestWatchAfterCompaction: who was away for longer than changes are remembered
// is told to start over, and from which revision; then it goes on.
func TestWatchAfterCompaction(t *testing.T) {
	d, _ := furnished(t)
	s := serveDesk(t, d)
	since := d.r.m.Revision()
	for i := range registry.MaxHistory + 1 {
		if _, err := d.r.apply(registry.Command{Ops: []registry.Op{registry.SetSignature{On: i%2 == 0}}}); err != nil {
			t.Fatal(err)
		}
	}
	w := watch(t, s, fmt.Sprint("?since=", since))
	e := w.next()
	if e.name != "reset" || e.Revision != d.r.m.Revision() || !strings.Contains(e.Reason, fmt.Sprint("since revision ", since)) || !strings.Contains(e.Reason, fmt.Sprint("from revision ", e.Revision)) {
		t.Fatalf("it is told %+v", e)
	}
	w.next() // where it stands
	d.describe("UCHAT", "one")
	if e := w.next(); e.name != "change" || e.Revision != d.r.m.Revision() {
		t.Errorf("then it is told %+v", e)
	}
	for _, query := range []string{"?since=0", fmt.Sprint("?since=", d.r.m.Revision()+5)} { // never known; of another history
		if e := watch(t, s, query).next(); e.name != "reset" || e.Revision != d.r.m.Revision() {
			t.Errorf("%s: %+v", query, e)
		}
	}
}

// TestWatchManyChanges: a change of many objects comes in parts, and a watcher
// that loses its connection between two of them misses nothing.
func TestWatchManyChanges(t *testing.T) {
	d, _ := furnished(t)
	s := serveDesk(t, d)
	since, many := d.r.m.Revision(), 2*watchChanges+10
	for i := range many {
		op := registry.CreateSync{Sync: registry.Sync{InstanceID: "demo_APP1", BizType: fmt.Sprint("B", i), Scope: "specified", Target: "user"}}
		if _, err := d.r.apply(registry.Command{Ops: []registry.Op{op}}); err != nil {
			t.Fatal(err)
		}
	}
	w := watch(t, s, fmt.Sprint("?since=", since))
	told := 0
	for told < many {
		e := w.next()
		told += len(e.Changes)
		if want := map[bool]int64{true: since, false: d.r.m.Revision()}[told < many]; e.Revision != want || len(e.Changes) > watchChanges {
			t.Fatalf("after %d of %d objects: revision %d, want %d", told, many, e.Revision, want)
		}
	}
}

// TestWatchHidesUsers: users are for admins; others are told that the revision
// has risen.
func TestWatchHidesUsers(t *testing.T) {
	for role, want := range map[registry.Role]string{registry.Viewer: "revision", registry.Admin: "change"} {
		d, _ := furnished(t, func(c *Config) {
			c.Authorize = func(*http.Request) (Caller, error) { return Caller{Name: "ann", Role: role}, nil }
		})
		w := watch(t, serveDesk(t, d), "")
		w.next()
		if _, err := d.r.apply(registry.Command{Ops: []registry.Op{registry.CreateUser{User: registry.User{Name: "bob", Role: registry.Viewer, Password: "$argon2id$secret"}}}}); err != nil {
			t.Fatal(err)
		}
		e := w.next()
		text, _ := json.Marshal(e)
		if e.name != want || e.Revision != d.r.m.Revision() || strings.Contains(string(text), "argon2id") {
			t.Errorf("a %s is told %s %s", role, e.name, text)
		}
	}
}

// TestWatchHeartbeat: a watcher hears where it stands when nothing changes.
func TestWatchHeartbeat(t *testing.T) {
	d, _ := furnished(t)
	d.c.heartbeat = time.Millisecond
	w := watch(t, serveDesk(t, d), "")
	for range 3 {
		if e := w.next(); e.name != "revision" || e.Revision != d.r.m.Revision() || e.id == "" {
			t.Fatalf("a sign of life is %+v", e)
		}
	}
}

// TestWatchOfAnotherNodesRevision: a node that is behind asks the leader before
// it calls a revision unknown, and without a leader says so.
func TestWatchOfAnotherNodesRevision(t *testing.T) {
	d, _ := furnished(t)
	d.r.behind = d.r.m
	d.describe("UCHAT", "one")
	at := d.r.m.Revision()
	w := watch(t, serveDesk(t, d), fmt.Sprint("?since=", at))
	if e := w.next(); e.name != "revision" || e.Revision != at {
		t.Errorf("it is told %+v", e)
	}
	d.r.behind, d.r.down = d.r.m, errTest
	d.refused("GET", v1+fmt.Sprint("/watch?since=", at+1), "", http.StatusServiceUnavailable, "no leader")
	for _, query := range []string{"?since=x", "?since=-1", "?since=1.5"} {
		d.refused("GET", v1+"/watch"+query, "", http.StatusBadRequest, "since")
	}
}

// TestWatchLimits: so many watchers and no more; one that goes makes room; and
// one that does not read is cut off.
func TestWatchLimits(t *testing.T) {
	d, _ := furnished(t, func(c *Config) { c.WatchersMax = 2 })
	s := httptest.NewUnstartedServer(d.c.Handler())
	s.Config.ConnState = func(c net.Conn, state http.ConnState) {
		if state == http.StateNew {
			_ = c.(*net.TCPConn).SetWriteBuffer(4096)
		}
	}
	s.Start()
	t.Cleanup(func() { d.c.Close(); s.Close() })
	one := watch(t, s, "")
	one.next()
	slow := watch(t, s, "")
	slow.next()
	refused := watch(t, s, "")
	if refused.res.StatusCode != http.StatusServiceUnavailable || refused.res.Header.Get("Retry-After") == "" {
		t.Fatalf("one more than the limit: %s", refused.res.Status)
	}
	one.close()
	until(t, "the one that went is gone", func() bool { return len(d.c.watchers) == 1 })

	d.c.streamWrite = time.Millisecond
	made := 0
	until(t, "the one that does not read is cut off", func() bool {
		ops := []registry.Op{}
		for range 100 {
			made++
			ops = append(ops, registry.CreateSync{Sync: registry.Sync{InstanceID: "demo_APP1", BizType: fmt.Sprint("B", made), Scope: "specified", Target: "user", Description: strings.Repeat("x", 100)}})
		}
		if _, err := d.r.apply(registry.Command{Ops: ops}); err != nil {
			t.Fatal(err)
		}
		return len(d.c.watchers) == 0
	})
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("in a minute it was not so that %s", what)
		}
		time.Sleep(time.Millisecond) // between two looks at the condition
	}
}

// TestAThousandWatchers: the limit's default holds a thousand, and each is told.
func TestAThousandWatchers(t *testing.T) {
	d, _ := furnished(t)
	s := serveDesk(t, d)
	var all []*watched
	for range DefaultWatchersMax {
		w := watch(t, s, "")
		w.next()
		all = append(all, w)
	}
	if res := watch(t, s, "").res; res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one more: %s", res.Status)
	}
	d.describe("UCHAT", "one")
	for _, w := range all {
		if e := w.next(); e.name != "change" || e.Revision != d.r.m.Revision() {
			t.Fatalf("one is told %+v", e)
		}
	}
}

// TestWatchValuesAreWhatTheAPIShows: no secret is told with a change.
func TestWatchValuesAreWhatTheAPIShows(t *testing.T) {
	d, _ := furnished(t)
	w := watch(t, serveDesk(t, d), "")
	w.next()
	var key NewKey
	if err := json.Unmarshal([]byte(d.ok("POST", "/api/v1/instances/demo_APP1/keys", `{"for":"api","label":"one"}`)), &key); err != nil {
		t.Fatal(err)
	}
	d.ok("PUT", "/api/v1/instances/demo_APP1", `{"jwt":{"algorithms":["HS256"],"secret":"`+strings.Repeat("s", 32)+`"}}`)
	d.ok("PUT", "/api/v1/service/signature", `{"on":true}`)
	kinds := []string{}
	for at := int64(0); at < d.r.m.Revision(); {
		e := w.next()
		at = e.Revision
		text, _ := json.Marshal(e)
		if strings.Contains(string(text), key.Secret) || strings.Contains(string(text), "ssss") {
			t.Errorf("a secret is told: %s", text)
		}
		for _, c := range e.Changes {
			kinds = append(kinds, c.Object.Kind)
		}
	}
	slices.Sort(kinds)
	if got := slices.Compact(kinds); !slices.Equal(got, []string{registry.KindInstance, registry.KindService}) {
		t.Errorf("told were %v", got)
	}
}
