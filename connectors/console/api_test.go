package console

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tidemarkio/tidemark/topology/registry"
	"github.com/tidemarkio/tidemark/topology/registry/configfile"
)

const file = `
instances:
  - id: demo_APP1
    clientKey: ck-demo
    sync:
      - bizType: UCHAT
        scope: specified
        target: user
        repush: {mode: threshold, threshold: 100}
`

func TestApplyConfigFile(t *testing.T) {
	d := newDesk(t)
	var a Applied
	apply := func(query, body string) *Applied {
		t.Helper()
		a = Applied{}
		if err := json.Unmarshal([]byte(d.ok("PUT", "/api/v1/config"+query, body)), &a); err != nil {
			t.Fatal(err)
		}
		return &a
	}
	if apply("?dryRun=true", file); len(a.Changes) != 3 || a.Changed.Changed || d.r.m.InstanceCount() != 0 {
		t.Errorf("a dry run: %+v, %d instances", a, d.r.m.InstanceCount())
	}
	if apply("", file); len(a.Changes) != 3 || !a.Changed.Changed || !a.Published || a.Revision != d.r.m.Revision() {
		t.Errorf("applied: %+v", a)
	}
	if len(d.waited) == 0 || d.waited[len(d.waited)-1] != d.r.m.Settings().Revision {
		t.Errorf("it answered without waiting for revision %d: %v", d.r.m.Settings().Revision, d.waited)
	}
	if apply("", file); len(a.Changes) != 0 || a.Changed.Changed {
		t.Errorf("a second time: %+v", a)
	}
	b, err := json.Marshal(&configfile.File{Instances: []configfile.Instance{}})
	if err != nil {
		t.Fatal(err)
	}
	if apply("", string(b)); len(a.Changes) != 0 {
		t.Errorf("without pruning, %v", a.Changes)
	}
	if apply("?prune", string(b)); len(a.Changes) != 2 || d.r.m.InstanceCount() != 0 {
		t.Errorf("pruned: %v", a.Changes)
	}
	d.refused("PUT", "/api/v1/config", "instances:\n- id: a\n  colour: red\n", http.StatusBadRequest, "line 3: unknown field")
	d.refused("PUT", "/api/v1/config", `{"instances":[{"id":"a","colour":1}]}`, http.StatusBadRequest, "colour")
	d.refused("PUT", "/api/v1/config?prune=perhaps", file, http.StatusBadRequest, "prune")
}

// TestApplyMeetsOthers: somebody else changes the registry while a file is
// being applied.
func TestApplyMeetsOthers(t *testing.T) {
	d := newDesk(t)
	times := 0
	d.r.meddle = func(r *fakeRegistry) {
		if times++; times <= 2 {
			if _, err := r.apply(registry.Command{Ops: []registry.Op{registry.PutPlacement{Placement: registry.Placement{}}}}); err != nil {
				t.Error(err)
			}
		}
	}
	d.ok("PUT", "/api/v1/config", file)
	if d.r.m.Sync("demo_APP1", "UCHAT") == nil || times != 3 {
		t.Errorf("after %d attempts there is no config", times)
	}
	d.r.meddle = func(r *fakeRegistry) {
		_, _ = r.apply(registry.Command{Ops: []registry.Op{registry.PutPlacement{}}})
	}
	d.refused("PUT", "/api/v1/config?prune", "instances: []", http.StatusConflict, "somebody else changed")
}

func TestNotYetInForce(t *testing.T) {
	d := newDesk(t)
	d.publish = errors.New("3 records wait")
	for path, body := range map[string]string{"/api/v1/instances": `{"id":"a"}`, "/api/v1/config": file} {
		w := d.call("POST", path, body)
		if w.Code != http.StatusAccepted || !strings.Contains(w.Body.String(), "3 records wait") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	d.waited = nil
	if w := d.call("POST", "/api/v1/instances?wait=false", `{"id":"b"}`); w.Code != http.StatusAccepted || d.waited != nil {
		t.Errorf("not to wait: %d, waited for %v", w.Code, d.waited)
	}
}

func TestIfMatch(t *testing.T) {
	d := withInstance(t)
	d.ok("POST", syncs, uchat)
	tag := d.call("GET", syncs+"/UCHAT", "").Header().Get("ETag")
	with := func(tag string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("If-Match", tag) }
	}
	if w := d.call("PUT", syncs+"/UCHAT", `{"description":"one"}`, with(tag)); w.Code != http.StatusOK {
		t.Errorf("with the newest tag: %d %s", w.Code, w.Body)
	}
	d.refused("PUT", syncs+"/UCHAT", `{"description":"two"}`, http.StatusConflict, "look again", with(tag))
	d.refused("POST", syncs+"/UCHAT/offline", "", http.StatusConflict, "look again", with(tag))
	d.refused("PUT", syncs+"/UCHAT", `{}`, http.StatusBadRequest, "If-Match", with("x"))
}

func TestInstanceSettings(t *testing.T) {
	d := withInstance(t)
	const path = "/api/v1/instances/demo_APP1"
	secret := strings.Repeat("s", 32)
	d.ok("PUT", path, `{"sessionValidation":{"url":"https://tenant.example/validate"},"jwt":{"algorithms":["HS256"],"secret":"`+secret+`"}}`)
	d.ok("PUT", path, `{"description":"x"}`)
	i := d.r.m.Instance("demo_APP1")
	if i.SessionValidation == nil || i.JWT.Secret != secret || i.Description != "x" {
		t.Errorf("what was left out did not stay: %+v", i)
	}
	body := d.ok("GET", path, "") + d.ok("GET", "/api/v1/instances", "") + d.ok("GET", "/api/v1/audit", "") + d.ok("GET", "/api/v1/config", "")
	if strings.Contains(body, secret) {
		t.Error("a secret is shown")
	}
	d.ok("PUT", path, `{"jwt":{}}`)
	if d.r.m.Instance("demo_APP1").JWT != nil {
		t.Error("it is not removed")
	}
	d.refused("PUT", path, `{"sessionValidation":{"url":"http://tenant.example/"}}`, http.StatusBadRequest, "sessionValidation.url")
	d.refused("PUT", path, `{"colour":1}`, http.StatusBadRequest, "colour")
	d.refused("PUT", "/api/v1/instances/other", `{}`, http.StatusNotFound, "no instance")
}

func TestOddNamesInPaths(t *testing.T) {
	d := newDesk(t)
	d.ok("POST", "/api/v1/instances", `{"id":"a/b c"}`)
	d.ok("POST", "/api/v1/instances/a%2Fb%20c/sync", `{"bizType":"业/务?","scope":"specified","target":"user"}`)
	d.ok("POST", "/api/v1/instances/a%2Fb%20c/sync/%E4%B8%9A%2F%E5%8A%A1%3F/offline", "")
	if s := d.r.m.Sync("a/b c", "业/务?"); s == nil || s.Online {
		t.Errorf("it is %+v", s)
	}
}

func TestExport(t *testing.T) {
	d := newDesk(t)
	d.ok("PUT", "/api/v1/config", file)
	text := d.ok("GET", "/api/v1/config", "")
	if strings.Contains(text, "ck-demo") || !strings.Contains(text, "bizType: UCHAT") {
		t.Errorf("exported as\n%s", text)
	}
	var a Applied
	if err := json.Unmarshal([]byte(d.ok("PUT", "/api/v1/config?prune", text)), &a); err != nil || len(a.Changes) > 0 {
		t.Errorf("applied again it changes %v, %v", a.Changes, err)
	}
	d.ok("PUT", "/api/v1/config", d.ok("GET", "/api/v1/config?format=json", ""))
	d.refused("GET", "/api/v1/config?format=xml", "", http.StatusBadRequest, "yaml or json")
}

func TestBadBodies(t *testing.T) {
	d := newDesk(t)
	for _, body := range []string{"", "{", "[]", `{"id":1}`, `{"id":"a"}}`, `{"id":"\ud800"}`, "{\"id\":\"\xff\"}", strings.Repeat("[", 100)} {
		d.refused("POST", "/api/v1/instances", body, http.StatusBadRequest, "")
	}
	d.refused("POST", "/api/v1/instances", `{"id":"`+strings.Repeat("x", maxBody)+`"}`, http.StatusRequestEntityTooLarge, "over")
	if d.r.m.InstanceCount() != 0 {
		t.Error("something was made of it")
	}
}

func TestRegistryWithoutLeader(t *testing.T) {
	d := newDesk(t)
	d.r.down = errors.New("no leader is known")
	d.refused("POST", "/api/v1/instances", `{"id":"a"}`, http.StatusServiceUnavailable, "no leader")
	d.refused("PUT", "/api/v1/config", file, http.StatusServiceUnavailable, "no leader")
	d.refused("GET", "/api/v1/instances?consistent=true", "", http.StatusServiceUnavailable, "no leader")
	d.ok("GET", "/api/v1/instances", "") // what this node has
	d.ok("GET", "/api/v1/registry/status", "")
}

func TestWhoMayCall(t *testing.T) {
	from := func(address string) func(*http.Request) {
		return func(r *http.Request) { r.RemoteAddr = address }
	}
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	host := func(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }
	d := newDesk(t)
	d.refused("GET", "/api/v1/instances", "", http.StatusForbidden, "this machine only", from("192.0.2.1:1"))
	d.refused("GET", "/api/v1/instances", "", http.StatusForbidden, "localhost", host("evil.example:8081"))
	if w := d.call("GET", "/api/v1/instances", "", host("[::1]:8081"), from("[::1]:1")); w.Code != http.StatusOK {
		t.Errorf("IPv6 loopback: %d %s", w.Code, w.Body)
	}
	for name, change := range map[string]func(*http.Request){
		"another site":        header("Sec-Fetch-Site", "cross-site"),
		"another origin":      header("Origin", "https://evil.example"),
		"another port's page": header("Sec-Fetch-Site", "same-site"),
	} {
		if w := d.call("POST", "/api/v1/instances", `{"id":"a"}`, change); w.Code != http.StatusForbidden {
			t.Errorf("a page of %s: %d", name, w.Code)
		}
	}

	d = newDesk(t, func(c *Config) { c.Authorize = WithToken("secret") })
	d.refused("GET", "/api/v1/instances", "", http.StatusUnauthorized, "admin token")
	for _, shown := range []string{"Bearer wrong", "secret", "Bearer ", "Bearer secretx"} {
		d.refused("GET", "/api/v1/instances", "", http.StatusUnauthorized, "admin token", header("Authorization", shown))
	}
	if w := d.call("GET", "/api/v1/instances", "", header("Authorization", "Bearer secret"), from("192.0.2.1:1")); w.Code != http.StatusOK {
		t.Errorf("with the token: %d", w.Code)
	}

	for role, may := range map[registry.Role][2]bool{registry.Viewer: {true, false}, registry.Operator: {true, true}, "": {false, false}} {
		d = newDesk(t, func(c *Config) {
			c.Authorize = func(*http.Request) (Caller, error) { return Caller{Name: "ann", Role: role}, nil }
		})
		read, write := d.call("GET", "/api/v1/instances", "").Code == 200, d.call("POST", "/api/v1/instances", `{"id":"a"}`).Code == 201
		if read != may[0] || write != may[1] {
			t.Errorf("role %q: reads %t, writes %t", role, read, write)
		}
	}
}

// TestOpenAPIHasEveryRoute: the document and the handlers are of one table.
func TestOpenAPIHasEveryRoute(t *testing.T) {
	d := newDesk(t)
	var doc struct {
		Paths map[string]map[string]struct {
			Summary string `json:"summary"`
		} `json:"paths"`
	}
	if err := json.Unmarshal([]byte(d.ok("GET", "/api/v1/openapi.json", "")), &doc); err != nil {
		t.Fatal(err)
	}
	d.c.Close() // streams end at once
	for _, r := range d.c.routes() {
		if doc.Paths[r.Path][strings.ToLower(r.Method)].Summary == "" {
			t.Errorf("%s %s is not described", r.Method, r.Path)
		}
		path := strings.NewReplacer("{instanceId}", "x", "{bizType}", "y").Replace(r.Path)
		if w := d.call(r.Method, path, "{}"); w.Code == http.StatusMethodNotAllowed || w.Code == http.StatusNotFound && !strings.Contains(w.Body.String(), "reason") {
			t.Errorf("%s %s is not served: %d", r.Method, r.Path, w.Code)
		}
	}
	d.ok("GET", "/api/v1/actions", "")
}

func FuzzConfigDoor(f *testing.F) {
	f.Add("application/yaml", file)
	f.Add("application/json", `{"instances":[{"id":"a","clientKey":"k","sync":[]}]}`)
	f.Fuzz(func(t *testing.T, contentType, body string) {
		d := newDesk(t)
		w := d.call("PUT", "/api/v1/config", body, func(r *http.Request) { r.Header.Set("Content-Type", contentType) })
		if w.Code >= 500 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

func ExampleConsole_Handler() {
	// A node gives the console its registry and serves it on the admin port:
	//
	//	c, err := console.New(console.Config{Registry: node, WaitPublished: publisher.WaitPublished})
	//	http.Handle("/api/", c.Handler())
	c, err := New(Config{Registry: &fakeRegistry{m: &registry.Model{}}})
	if err != nil {
		panic(err)
	}
	r := httptest.NewRequest("GET", "http://localhost/api/v1/instances", nil)
	r.RemoteAddr = "127.0.0.1:1"
	w := httptest.NewRecorder()
	c.Handler().ServeHTTP(w, r)
	fmt.Print(w.Body)
	// Output: {"instances":[],"revision":0}
}
