package console

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology/registry"
)

var errTest = errors.New("no leader is known")

// house stands for the rest of a node.
type house struct {
	sent   []schemas.Request
	code   schemas.Code
	err    error
	target *Target
	tail   []*TailEntry
	asked  TailQuery
	points map[string][]RewoundPoint // of targets
	moved  []RewoundPoint
}

func (h *house) PlanRewinds(_ context.Context, _, target string, _ *RedeliverForm) ([]RewoundPoint, error) {
	return h.points[target], h.err
}

func (h *house) Rewind(_ context.Context, _, _ string, points []RewoundPoint) error {
	h.moved = append(h.moved, points...)
	return h.err
}

func (h *house) Send(_ context.Context, r *schemas.Request) (schemas.Result, error) {
	if h.err != nil {
		return schemas.Result{}, h.err
	}
	h.sent = append(h.sent, *r)
	code := h.code
	if code == "" {
		code = schemas.Success
	}
	return schemas.Result{Code: code, OplogID: int64(len(h.sent))}, nil
}

func (h *house) Target(_ context.Context, instanceID, dimension, name string, limit int) (*Target, error) {
	if h.target != nil && h.target.Name == name && h.target.Dimension == dimension {
		t := *h.target
		t.PushList = t.PushList[:min(limit, len(t.PushList))]
		return &t, h.err
	}
	return &Target{InstanceID: instanceID, Dimension: dimension, Name: name, Configs: []TargetConfig{}, Sessions: []TargetSession{}, Devices: []TargetDevice{}, PushList: []TargetPush{}}, h.err
}

func (h *house) Follow(ctx context.Context, q TailQuery, emit func(*TailEntry) error) error {
	h.asked = q
	for _, e := range h.tail {
		if err := emit(e); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
}

func (h *house) Live(context.Context) (*Snapshot, error) {
	return &Snapshot{Ready: true, Rates: map[string]float64{"calls": 1.5}, Latency: map[string]Latency{"call": {P50: 0.001}}, Partitions: []PartitionLive{{State: "running"}}}, h.err
}

// quorum stands for the registry's members; the real ones are tested in cmd/node.
type quorum struct {
	did    []string
	err    error // refuses all
	broken error // ends a backup halfway
}

func (q *quorum) note(what ...string) error {
	if q.err != nil {
		return q.err
	}
	q.did = append(q.did, strings.Join(what, " "))
	return nil
}

func (q *quorum) Join(_ context.Context, id, address, actor, source string) error {
	return q.note("join", id, address, actor, source)
}

func (q *quorum) Remove(_ context.Context, id, actor, source string) error {
	return q.note("remove", id, actor, source)
}

func (q *quorum) Transfer(_ context.Context, id, actor, source string) error {
	return q.note("transfer", id, actor, source)
}

func (q *quorum) Backup(_ context.Context, w io.Writer, actor, source string) error {
	if err := q.note("backup", actor, source); err != nil {
		return err
	}
	if q.broken != nil {
		_, err := io.WriteString(w, "half")
		return errors.Join(err, q.broken)
	}
	_, err := io.WriteString(w, "all of it")
	return err
}

func (q *quorum) Restore(_ context.Context, r io.Reader, actor, source string) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("restore registry: %w", err)
	}
	return q.note("restore", string(b), actor, source)
}

// TestMembers: what is done to the quorum is done in the caller's name; a node
// without a registry says so.
func TestMembers(t *testing.T) {
	q := &quorum{}
	d, _ := furnished(t, func(c *Config) { c.Members = q })
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/members", `{"id":"r4","address":"10.0.0.4:7000"}`}, {"DELETE", "/members/r2", ""},
		{"POST", "/transfer", `{"id":"r3"}`}, {"GET", "/backup", ""}, {"POST", "/restore", "a backup"},
	} {
		if w := d.call(c.method, v1+"/registry"+c.path, c.body); w.Code != http.StatusOK {
			t.Errorf("%s %s: %d %s", c.method, c.path, w.Code, w.Body)
		}
	}
	for i, want := range []string{"join r4 10.0.0.4:7000", "remove r2", "transfer r3", "backup", "restore a backup"} {
		if i >= len(q.did) || !strings.HasPrefix(q.did[i], want+" ") {
			t.Errorf("%q, want %d to be %q by somebody", q.did, i, want)
		}
	}
	d, _ = furnished(t, func(c *Config) { c.Members = nil })
	if w := d.call("GET", v1+"/registry/backup", ""); w.Code != http.StatusNotImplemented {
		t.Errorf("without a registry: %d", w.Code)
	}
}

// furnished is a desk with the rest of a node, an instance and two configs.
func furnished(t *testing.T, change ...func(*Config)) (*desk, *house) {
	t.Helper()
	h := &house{}
	d := newDesk(t, append([]func(*Config){func(c *Config) {
		c.Sender, c.Stats, c.Redeliverer, c.Tail, c.Live, c.Members = h, h, h, h, h, &quorum{}
	}}, change...)...)
	op := []registry.Op{
		registry.CreateInstance{ID: "demo_APP1"},
		registry.CreateSync{Sync: registry.Sync{InstanceID: "demo_APP1", BizType: "UCHAT", Scope: "specified", Target: "user", Persistent: true, Repush: &registry.Repush{Mode: "queue"}, Online: true}},
		registry.CreateSync{Sync: registry.Sync{InstanceID: "demo_APP1", BizType: "NOTICE", Scope: "global", Target: "user", MultiDevice: true, Persistent: true, Repush: &registry.Repush{Mode: "queue"}, Online: true}},
		registry.CreateSync{Sync: registry.Sync{InstanceID: "demo_APP1", BizType: "PING", Scope: "specified", Target: "device", Online: true}},
		registry.CreateUser{User: registry.User{Name: "ann", Role: registry.Viewer}},
	}
	if _, err := d.r.apply(registry.Command{Time: d.now.UnixMilli(), Ops: op}); err != nil {
		t.Fatal(err)
	}
	return d, h
}

// filled is a route's path with names that exist.
func filled(path string) string {
	return strings.NewReplacer("{instanceId}", "demo_APP1", "{bizType}", "UCHAT", "{dimension}", "user", "{name}", "ann", "{seq}", "1", "{kind}", "api", "{keyId}", "0").Replace(path)
}

// TestRolesOfEveryRoute: each route lets in who may, and nobody below.
func TestRolesOfEveryRoute(t *testing.T) {
	for _, role := range []registry.Role{"", registry.Viewer, registry.Operator, registry.Admin} {
		d, _ := furnished(t, func(c *Config) {
			c.OIDC = &OIDC{Issuer: "http://127.0.0.1:1", ClientID: "x", RedirectURL: "http://localhost/x", Roles: map[string]registry.Role{"a": registry.Admin}}
			c.Authorize = func(*http.Request) (Caller, error) { return Caller{Name: "ann", Role: role}, nil }
		})
		d.c.Close() // streams end at once
		for _, r := range d.c.routes() {
			w := d.call(r.Method, filled(r.Path), "{}")
			refused := w.Code == http.StatusForbidden
			if want := r.Role != "" && !role.May(r.Role); refused != want {
				t.Errorf("role %q: %s %s: %d %s", role, r.Method, r.Path, w.Code, w.Body)
			}
		}
	}
}

// TestRoutesNeedSomeRole: what is open to strangers is listed here, and nowhere
// else.
func TestRoutesNeedSomeRole(t *testing.T) {
	d, _ := furnished(t, func(c *Config) {
		c.OIDC = &OIDC{Issuer: "http://127.0.0.1:1", ClientID: "x", RedirectURL: "x", Roles: map[string]registry.Role{"a": registry.Admin}}
	})
	open := []string{}
	for _, r := range d.c.routes() {
		if r.Role == "" {
			open = append(open, r.Method+" "+r.Path)
		}
	}
	if want := []string{"POST /api/v1/login", "GET " + OIDCStart, "GET " + OIDCCallback}; !slices.Equal(open, want) {
		t.Errorf("open are %v", open)
	}
}

// TestAnswersMatchTheDocument calls every route and holds the answer against
// the schema that the document gives for it.
func TestAnswersMatchTheDocument(t *testing.T) {
	d, h := furnished(t)
	h.target = &Target{InstanceID: "demo_APP1", Dimension: "user", Name: "ann", Known: true, Configs: []TargetConfig{{BizType: "UCHAT"}}, Sessions: []TargetSession{{}}, Devices: []TargetDevice{{}}, PushList: []TargetPush{{}}}
	var doc map[string]any
	if err := json.Unmarshal([]byte(d.ok("GET", "/api/v1/openapi.json", "")), &doc); err != nil {
		t.Fatal(err)
	}
	d.ok("POST", "/api/v1/instances/demo_APP1/keys", `{"for":"api","label":"one"}`)
	h.points = map[string][]RewoundPoint{"u1": {{"u1", "d1", 3, 1}}}
	bodies := map[string]string{
		"POST /api/v1/instances":                                  `{"id":"other"}`,
		"PUT /api/v1/instances/{instanceId}":                      `{"description":"x","sessionValidation":{"url":"https://tenant.example/v"}}`,
		"POST /api/v1/instances/{instanceId}/sync":                `{"bizType":"NEW","scope":"specified","target":"user"}`,
		"PUT " + "/api/v1/config":                                 file,
		"POST " + "/api/v1/config":                                file,
		"POST /api/v1/instances/{instanceId}/keys":                `{"for":"client","retireSeconds":60}`,
		"PUT /api/v1/service/signature":                           `{"on":true}`,
		"POST /api/v1/registry/members":                           `{"id":"r4","address":"10.0.0.4:7000"}`,
		"POST /api/v1/registry/transfer":                          `{"id":"r4"}`,
		"POST /api/v1/users":                                      `{"name":"bob","role":"viewer","password":"` + botsPassword + `"}`,
		"PUT /api/v1/instances/{instanceId}/sync/{bizType}":       `{"description":"x"}`,
		"POST /api/v1/login":                                      `{"name":"bob","password":"` + botsPassword + `"}`,
		"PUT /api/v1/users/{name}":                                `{"role":"operator"}`,
		"POST /api/v1/instances/{instanceId}/sync/{bizType}/send": `{"target":"u1","data":"x","uniqueId":"m1","os":["iOS"]}`,
		"POST /api/v1/instances/{instanceId}/redeliver":           `{"bizType":"UCHAT","targets":["u1","u2"],"after":1}`,
	}
	routes := d.c.routes()
	rank := func(r route) int { // what takes things away comes last
		switch {
		case r.Path == v1+"/login":
			return 3
		case r.Method == "DELETE":
			return 2
		case strings.HasSuffix(r.Path, "/offline"):
			return 1
		}
		return 0
	}
	slices.SortStableFunc(routes, func(a, b route) int { return rank(a) - rank(b) })
	bad := []string{}
	for _, r := range routes {
		if r.Media == "text/event-stream" {
			continue
		}
		name := r.Method + " " + r.Path
		var operation struct {
			Responses map[string]struct {
				Content map[string]struct {
					Schema any `json:"schema"`
				} `json:"content"`
			} `json:"responses"`
		}
		b, _ := json.Marshal(doc["paths"].(map[string]any)[r.Path].(map[string]any)[strings.ToLower(r.Method)])
		if err := json.Unmarshal(b, &operation); err != nil {
			t.Fatal(err)
		}
		if body := bodies[name]; r.In != nil && r.Max == 0 && body != "" {
			in := doc["paths"].(map[string]any)[r.Path].(map[string]any)[strings.ToLower(r.Method)].(map[string]any)["requestBody"].(map[string]any)["content"].(map[string]any)["application/json"].(map[string]any)["schema"]
			if err := validate(doc, in, decoded(t, body), "body"); err != nil {
				t.Errorf("%s: the call does not match its schema: %v", name, err)
			}
		}
		w := d.call(r.Method, filled(r.Path), bodies[name])
		status := fmt.Sprint(w.Code)
		if w.Code >= 400 && w.Code < 500 {
			bad = append(bad, name)
		}
		said, ok := operation.Responses[status]
		if !ok {
			t.Errorf("%s answers %d %s, which the document does not know", name, w.Code, w.Body)
			continue
		}
		media, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";")
		content, ok := said.Content[media]
		if !ok {
			t.Errorf("%s answers %d as %q, which the document does not know", name, w.Code, media)
			continue
		}
		if media == "application/json" {
			if err := validate(doc, content.Schema, decoded(t, w.Body.String()), "answer"); err != nil {
				t.Errorf("%s: %v\n%s", name, err, w.Body)
			}
		}
	}
	// These need a state that no single call makes; other tests have it.
	want := []string{"POST /api/v1/password", "DELETE /api/v1/instances/{instanceId}", "DELETE /api/v1/instances/{instanceId}/keys/{kind}/{keyId}", "DELETE /api/v1/locks/{kind}/{name}"}
	if slices.Sort(want); !slices.Equal(slices.Sorted(slices.Values(bad)), want) {
		t.Errorf("refused were %q", bad)
	}
}

func decoded(t *testing.T, s string) (v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatalf("%v in %s", err, s)
	}
	return v
}

// validate holds a value against a schema: the part of JSON Schema that the
// document uses.
func validate(doc map[string]any, schema, v any, path string) error {
	s, _ := schema.(map[string]any)
	if ref, ok := s["$ref"].(string); ok {
		name := strings.TrimPrefix(ref, "#/components/schemas/")
		target, ok := doc["components"].(map[string]any)["schemas"].(map[string]any)[name]
		if !ok {
			return fmt.Errorf("%s: no component %q", path, name)
		}
		return validate(doc, target, v, path)
	}
	if want := s["type"]; want != nil {
		if one, ok := want.(string); ok {
			want = []any{one}
		}
		is := map[bool]string{}
		switch x := v.(type) {
		case nil:
			is[true] = "null"
		case bool:
			is[true] = "boolean"
		case string:
			is[true] = "string"
		case float64:
			is[true] = "number"
			if x == float64(int64(x)) && slices.Contains(want.([]any), any("integer")) {
				is[true] = "integer"
			}
		case []any:
			is[true] = "array"
		case map[string]any:
			is[true] = "object"
		}
		if !slices.Contains(want.([]any), any(is[true])) {
			return fmt.Errorf("%s is %s, not %v", path, is[true], want)
		}
	}
	if list, ok := v.([]any); ok {
		for i, x := range list {
			if err := validate(doc, s["items"], x, fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	properties, _ := s["properties"].(map[string]any)
	required, _ := s["required"].([]any)
	for _, name := range required {
		if _, ok := object[name.(string)]; !ok {
			return fmt.Errorf("%s has no %s", path, name)
		}
	}
	for name, x := range object {
		sub, ok := properties[name]
		if !ok {
			if s["additionalProperties"] == false {
				return fmt.Errorf("%s has a field %s that the document does not know", path, name)
			}
			sub = s["additionalProperties"]
		}
		if err := validate(doc, sub, x, path+"."+name); err != nil {
			return err
		}
	}
	return nil
}

func TestStreams(t *testing.T) {
	d, h := furnished(t)
	h.tail = []*TailEntry{{BizType: "UCHAT", OplogID: 1, Payload: "line\nbreak\n\nevent: forged"}, nil, {BizType: "UCHAT", OplogID: 2}}
	s := httptest.NewServer(d.c.Handler())
	defer s.Close()
	get := func(path string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	tail := get("/api/v1/oplog/tail?instance=demo_APP1&biz=UCHAT&partition=3&last=7")
	defer tail.Body.Close()
	lines := bufio.NewScanner(tail.Body)
	entries := []TailEntry{}
	for len(entries) < 2 && lines.Scan() {
		if strings.HasPrefix(lines.Text(), "event: forged") {
			t.Fatal("a payload made an event of its own")
		}
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			var e TailEntry
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				t.Fatal(err)
			}
			entries = append(entries, e)
		}
	}
	if len(entries) != 2 || entries[0].Payload != h.tail[0].Payload || entries[1].OplogID != 2 {
		t.Errorf("the tail gave %+v", entries)
	}
	if h.asked != (TailQuery{Partition: 3, InstanceID: "demo_APP1", BizType: "UCHAT", Last: 7}) {
		t.Errorf("it asked for %+v", h.asked)
	}
	for range StreamsMax - 1 {
		res := get("/api/v1/live/stream")
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Fatalf("a stream within the limit: %d", res.StatusCode)
		}
	}
	if res := get("/api/v1/oplog/tail"); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one stream more: %d", res.StatusCode)
	}
	d.c.Close() // and the server's Close above would wait for ever if it did not end them
	for lines.Scan() {
	}
	for _, query := range []string{"?partition=x", "?partition=-2", "?last=-1", "?last=1001", "?biz=" + strings.Repeat("x", 401)} {
		d.refused("GET", "/api/v1/oplog/tail"+query, "", http.StatusBadRequest, "")
	}
}

// TestStreamEndsWithItsSession: who is disabled sees no more of a stream.
func TestStreamEndsWithItsSession(t *testing.T) {
	may := true
	d, h := furnished(t, func(c *Config) {
		c.Authorize = func(*http.Request) (Caller, error) {
			if may {
				return Caller{Name: "ann", Role: registry.Operator}, nil
			}
			return Caller{}, &Error{Status: http.StatusUnauthorized, Reason: "no more"}
		}
	})
	h.tail = []*TailEntry{{OplogID: 1}, {OplogID: 2}}
	first := h.tail[0]
	d.c.cfg.Tail = followFunc(func(_ context.Context, emit func(*TailEntry) error) error {
		if err := emit(first); err != nil {
			return err
		}
		may = false
		return emit(h.tail[1])
	})
	body := d.call("GET", "/api/v1/oplog/tail", "").Body.String()
	if !strings.Contains(body, `"oplogId":1`) || strings.Contains(body, `"oplogId":2`) {
		t.Errorf("it saw %s", body)
	}
}

type followFunc func(context.Context, func(*TailEntry) error) error

func (f followFunc) Follow(ctx context.Context, _ TailQuery, emit func(*TailEntry) error) error {
	return f(ctx, emit)
}

// TestPathsAndHeaders: names in paths stay names, and nothing that somebody
// typed becomes a header.
func TestPathsAndHeaders(t *testing.T) {
	d, _ := furnished(t)
	for _, path := range []string{
		"/api/v1/instances/..%2f..%2fetc%2fpasswd", "/api/v1/instances/demo_APP1/sync/..%2f..", "/api/v1/users/..%2f..%2f",
		"/api/v1/instances/%00", "/api/v1/instances/a%0d%0aSet-Cookie:%20x=y",
	} {
		w := d.call("GET", path, "")
		if w.Code != http.StatusNotFound || w.Header().Get("Set-Cookie") != "" {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
	}
	w := d.call("GET", "/api/v1/audit/export?format=csv%0d%0aX-Evil:%201", "")
	if w.Code != http.StatusBadRequest || w.Header().Get("X-Evil") != "" {
		t.Errorf("a header in the format: %d %v", w.Code, w.Header())
	}
	for _, r := range []*httptest.ResponseRecorder{w, d.call("GET", "/api/v1/instances", "")} {
		if r.Header().Get("X-Content-Type-Options") != "nosniff" || r.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("headers are %v", r.Header())
		}
	}
}

// TestWithoutTheRest: a node that does not run a part says so.
func TestWithoutTheRest(t *testing.T) {
	d := withInstance(t)
	d.ok("POST", syncs, uchat)
	for _, c := range [][3]string{{"GET", "/api/v1/live", ""}, {"GET", "/api/v1/live/stream", ""}, {"GET", "/api/v1/oplog/tail", ""},
		{"GET", "/api/v1/instances/demo_APP1/targets/user/u1", ""}, {"POST", syncs + "/UCHAT/send", `{"target":"u","data":"x","uniqueId":"m","os":["iOS"]}`}} {
		d.refused(c[0], c[1], c[2], http.StatusServiceUnavailable, "does not run")
	}
}
