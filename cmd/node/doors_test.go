package node

import (
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tidemarkio/tidemark/connectors/console"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// person is a browser at a node.
type person struct {
	r    *running
	http http.Client
}

func (r *running) login(name, password string) *person {
	r.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	p := &person{r: r, http: http.Client{Jar: jar}}
	if code := p.do(http.MethodPost, "/api/v1/login", `{"name":"`+name+`","password":"`+password+`"}`); code != http.StatusOK {
		r.t.Fatalf("%s cannot log in: %d", name, code)
	}
	return p
}

func (p *person) do(method, path, body string) int {
	p.r.t.Helper()
	req, err := http.NewRequestWithContext(p.r.t.Context(), method, p.r.AdminURL()+path, strings.NewReader(body))
	if err != nil {
		p.r.t.Fatal(err)
	}
	res, err := p.http.Do(req)
	if err != nil {
		p.r.t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // only its status counts
	return res.StatusCode
}

// TestNodeDoorsTakeSessions: the node's own admin paths let login sessions in
// by their role, as the console does, and nobody without.
func TestNodeDoorsTakeSessions(t *testing.T) {
	r := startNode(t)
	for _, role := range []registry.Role{registry.Viewer, registry.Operator} {
		var changed console.Changed
		r.admin("POST", "/users", `{"name":"`+string(role)+`1","role":"`+string(role)+`","password":"battery staple 8"}`, &changed)
	}
	people := map[registry.Role]*person{
		"":                {r: r},
		registry.Viewer:   r.login("viewer1", "battery staple 8"),
		registry.Operator: r.login("operator1", "battery staple 8"),
		registry.Admin:    r.login("admin", "correct horse 9"),
	}
	doors := map[string]registry.Role{
		"/healthz": "", "/readyz": "", "/metrics": "",
		"/api/v1/status": registry.Viewer, "/api/v1/instances": registry.Viewer, "/api/v1/users": registry.Admin,
		"/debug/pprof/": registry.Admin, "/debug/pprof/heap": registry.Admin, "/debug/pprof/cmdline": registry.Admin, "/debug/pprof/symbol": registry.Admin,
		"/debug/pprof/profile?seconds=1": registry.Admin, "/debug/pprof/trace?seconds=0.01": registry.Admin,
	}
	for path, need := range doors {
		for role, p := range people {
			want := http.StatusOK
			switch {
			case need == "" || role.May(need):
			case role == "":
				want = http.StatusUnauthorized
			default:
				want = http.StatusForbidden
			}
			got := p.do(http.MethodGet, path, "")
			if strings.HasSuffix(path, "/cmdline") || strings.HasSuffix(path, "/symbol") { // who may is told that there is none
				if want == http.StatusOK {
					want = http.StatusNotFound
				}
			}
			if got != want {
				t.Errorf("role %q: %s: %d, want %d", role, path, got, want)
			}
		}
	}
	// A write with a cookie alone is refused: another site's page has that too.
	if got := people[registry.Admin].do(http.MethodPost, "/debug/pprof/heap", ""); got != http.StatusForbidden {
		t.Errorf("POST without the session's token: %d", got)
	}
	// The token goes on to open them.
	for path := range doors {
		if strings.Contains(path, "pprof/") && !strings.HasSuffix(path, "heap") {
			continue
		}
		r.open(t.Context(), http.MethodGet, r.AdminURL()+path, "test token", "").Body.Close() //nolint:errcheck,gosec // only its status counts
	}
	p := people[registry.Viewer]
	if p.do(http.MethodPost, "/api/v1/logout", "") != http.StatusForbidden {
		t.Error("a logout without the session's token was taken")
	}
}

// TestOpenNodeIsForThisMachine: a node without a token serves these paths to
// this machine and under its own names only.
func TestOpenNodeIsForThisMachine(t *testing.T) {
	n := bare(t)
	for _, path := range []string{"/api/v1/status", "/debug/pprof/heap"} {
		for _, c := range []struct {
			from, host string
			want       int
		}{
			{"127.0.0.1:1", "localhost:8081", http.StatusOK},
			{"[::1]:1", "127.0.0.1:8081", http.StatusOK},
			{"192.0.2.1:1", "localhost:8081", http.StatusUnauthorized},
			{"127.0.0.1:1", "rebound.example:8081", http.StatusUnauthorized},
		} {
			if got := probeFrom(n, path, c.from, c.host); got != c.want {
				t.Errorf("%s from %s as %s: %d, want %d", path, c.from, c.host, got, c.want)
			}
		}
	}
}

func probeFrom(n *Node, path, from, host string) int {
	r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
	r.RemoteAddr, r.Host = from, host
	w := httptest.NewRecorder()
	n.adminHandler().ServeHTTP(w, r)
	return w.Code
}
