package ingress

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/tidemarkio/tidemark/schemas"
)

// door is the push door with a task behind it that takes everything. What is
// asked of the task is what would be on the requests topic.
type door struct {
	*world
	server *Server
	log    bytes.Buffer

	mu    sync.Mutex
	asked []schemas.Request
}

// newDoor lets in whom the doorman of a world lets in.
func newDoor(t *testing.T, tune ...func(*Config)) *door {
	d := &door{world: newWorld(t)}
	cfg := Config{
		Settings: d.model.Settings, Authorize: d.doorman(0).Authorize,
		Log: slog.New(slog.NewTextHandler(&d.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range tune {
		f(&cfg)
	}
	d.server = newServer(cfg)
	d.server.exchange = func(_ context.Context, req *schemas.Request) (schemas.Result, error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.asked = append(d.asked, *req)
		return schemas.Result{Code: schemas.Success, OplogID: int64(len(d.asked))}, nil
	}
	return d
}

// requests counts what has got through.
func (d *door) requests() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.asked)
}

// counted gives how often calls were refused for a reason.
func (d *door) counted(why *refusal) float64 {
	var m dto.Metric
	if err := d.server.metrics.refused.WithLabelValues(why.label).Write(&m); err != nil {
		d.t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

func (d *door) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	d.server.Handler().ServeHTTP(w, r)
	return w
}

const goodBody = `{"bizType":"UCHAT","linkToken":"u1","thirdMsgId":"m1","payload":"p"}`

// refused says that a call must be refused for a reason, exactly so, and leave
// nothing.
func (d *door) refused(what string, r *http.Request, want *refusal) {
	d.t.Helper()
	before, counted := d.requests(), d.counted(want)
	w := d.do(r)
	if w.Code != want.status || w.Body.String() != `{"msg":"`+string(want.code)+`","success":false}` || w.Header().Get(HeaderReason) == "" {
		d.t.Errorf("%s: %d %s (%s), want %s", what, w.Code, w.Body, w.Header().Get(HeaderReason), want.label)
	}
	if n := d.counted(want); n != counted+1 {
		d.t.Errorf("%s: not counted as %s (%s)", what, want.label, w.Header().Get(HeaderReason))
	}
	if n := d.requests(); n != before {
		d.t.Errorf("%s: it was refused, and a request was written", what)
	}
}

func (d *door) accepted(what string, r *http.Request) {
	d.t.Helper()
	before := d.requests()
	w := d.do(r)
	if w.Code != http.StatusOK || w.Body.String() != `{"msg":"SUCCESS","success":true}` || d.requests() != before+1 {
		d.t.Errorf("%s: %d %s (%s), want that it is accepted", what, w.Code, w.Body, w.Header().Get(HeaderReason))
	}
}

// keyed is a good call with the instance's key.
func keyed(header ...string) *http.Request {
	r := call(uri, goodBody)
	r.Header.Set("Authorization", "Bearer "+demoKey)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

// TestOddPaths: a call has one path and one method, as they are written.
func TestOddPaths(t *testing.T) {
	d := newDoor(t)
	d.accepted("the path", keyed())
	for _, path := range []string{
		"/", "/webapi/sync", "/webapi/sync/", "/webapi/sync/single/", "//webapi/sync/single", "/webapi//sync/single", "/webapi/sync/./single",
		"/webapi/sync/../sync/single", "/webapi/sync/global/../single", "/webapi/sync/%2e%2e/sync/single", "/webapi/sync/%73ingle", "/webapi/sync%2fsingle",
		"/webapi/sync/single%00", "/webapi/sync/single;x=1", "/WEBAPI/sync/single", "/webapi/sync/single%0d%0aSet-Cookie:a=b",
	} {
		r := keyed()
		if err := retarget(r, path+"?instanceId="+demo); err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		d.refused(path, r, errNoSuchCall)
	}
	for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "post", "CONNECT"} {
		r := keyed()
		r.Method = method
		d.refused(method, r, errMethod)
		if allow := d.do(r).Header().Get("Allow"); allow != "POST" {
			t.Errorf("%s: Allow: %q", method, allow)
		}
	}
}

// retarget gives a call another target, as it would be read from the wire.
func retarget(r *http.Request, target string) (err error) {
	r.URL, err = url.ParseRequestURI(target)
	r.RequestURI = target
	return err
}

func TestOddQueries(t *testing.T) {
	d := newDoor(t)
	for _, query := range []string{"instanceId=" + demo + "&instanceId=other_APP1", "instanceId=" + demo + "&instanceId=" + demo, "instanceId=%zz", "instanceId=" + demo + ";a=b"} {
		r := keyed()
		r.URL.RawQuery = query
		d.refused(query, r, errQuery)
	}
	r := keyed()
	r.URL.RawQuery = "a=1&a=2&instanceId=" + demo
	d.accepted("other parameters are passed over", r)
}

// TestOtherSites: a page cannot push with its visitor's browser; who is no
// browser is not asked.
func TestOtherSites(t *testing.T) {
	d := newDoor(t)
	for what, header := range map[string][]string{
		"another site":           {"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"},
		"a form of another site": {"Sec-Fetch-Site", "cross-site", "Origin", "null", "Content-Type", "text/plain"},
		"another port":           {"Sec-Fetch-Site", "same-site", "Origin", "http://127.0.0.1:8081"},
		"an old browser":         {"Origin", "https://evil.example"},
		"an old browser's frame": {"Origin", "null"},
		"what no browser sends":  {"Sec-Fetch-Site", "x"},
	} {
		d.refused(what, keyed(header...), errSite)
	}
	for what, header := range map[string][]string{
		"curl -d":            {"Content-Type", "application/x-www-form-urlencoded", "User-Agent", "curl/8"},
		"a JSON client":      {"Content-Type", "application/json; charset=utf-8"},
		"no content type":    {},
		"the door's own":     {"Sec-Fetch-Site", "same-origin", "Origin", "http://127.0.0.1:8080"},
		"typed by a visitor": {"Sec-Fetch-Site", "none"},
	} {
		d.accepted(what, keyed(header...))
	}
}

// TestReasonsCannotMakeHeaders: what a caller sent comes back in a reason on
// one line.
func TestReasonsCannotMakeHeaders(t *testing.T) {
	d := newDoor(t, func(c *Config) { c.Authorize = nil })
	const evil = "x\r\nSet-Cookie: a=b\x00\u2028\u0085é"
	d.server.exchange = func(context.Context, *schemas.Request) (schemas.Result, error) {
		return schemas.Result{Code: schemas.BizNotOnline, Reason: strings.Repeat(evil, 100)}, nil
	}
	for what, r := range map[string]*http.Request{
		"instance": call("/webapi/sync/single?instanceId=x%0d%0aSet-Cookie:a=b", `{`),
		"field":    call(uri, `{"`+strings.ReplaceAll(evil, "\r\n", `\r\n`)+`":1,"bizType":{}}`),
		"payload":  call(uri, `{"payload":"`+evil+`"}`),
		"a task's": call(uri, goodBody),
		"version":  call(uri, strings.Replace(goodBody, `{`, `{"appMinVersion":"1\r\nSet-Cookie: a=b",`, 1)),
	} {
		w := d.do(r)
		reason := w.Header().Get(HeaderReason)
		if reason == "" || strings.ContainsFunc(reason, func(c rune) bool { return c < ' ' || c > '~' }) || w.Header().Get("Set-Cookie") != "" || len(reason) > 300 {
			t.Errorf("%s: reason %q", what, reason)
		}
	}
}

// TestEveryRefusalIsCounted under a label of its own, and says what to do.
func TestEveryRefusalIsCounted(t *testing.T) {
	seen := make(map[string]bool)
	for _, r := range refusals {
		if seen[r.label] || r.text == "" || r.code.OK() || r.status < 400 || printable(r.text) != r.text {
			t.Errorf("%+v", r)
		}
		seen[r.label] = true
	}
	all := make(chan prometheus.Metric, 2*len(refusals))
	newMetrics(new(places)).refused.Collect(all)
	if n := len(all); n != len(refusals) {
		t.Errorf("%d series before the first call, want %d", n, len(refusals))
	}
}

// TestReadmeHasEveryRefusal with its status.
func TestReadmeHasEveryRefusal(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range refusals {
		row := regexp.MustCompile(fmt.Sprintf("(?m)^\\|[ 0-9,]*\\b%d\\b[ 0-9,]*\\|.*`%s`", r.status, r.label))
		if !row.Match(text) {
			t.Errorf("the README's table of refusals has no %s with status %d", r.label, r.status)
		}
	}
}
