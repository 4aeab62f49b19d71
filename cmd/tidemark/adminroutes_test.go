package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/connectors/console"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// adminCommands is which command calls which route of the admin API; FILE is a
// file that is there, NEW one that is not.
var adminCommands = map[string]string{
	"GET /api/v1/instances":                                         "instance list",
	"POST /api/v1/instances":                                        "instance create i1",
	"GET /api/v1/instances/{instanceId}":                            "instance show i1",
	"PUT /api/v1/instances/{instanceId}":                            "instance change i1 --description x --validation-url https://x/y --jwt FILE",
	"DELETE /api/v1/instances/{instanceId}":                         "instance delete i1",
	"GET /api/v1/instances/{instanceId}/sync":                       "sync list i1",
	"POST /api/v1/instances/{instanceId}/sync":                      "sync create i1 B",
	"GET /api/v1/instances/{instanceId}/sync/{bizType}":             "sync show i1 B",
	"PUT /api/v1/instances/{instanceId}/sync/{bizType}":             "sync change i1 B --repush threshold --threshold 7 --transient=false",
	"DELETE /api/v1/instances/{instanceId}/sync/{bizType}":          "sync delete i1 B",
	"POST /api/v1/instances/{instanceId}/sync/{bizType}/online":     "sync online i1 B",
	"POST /api/v1/instances/{instanceId}/sync/{bizType}/offline":    "sync offline i1 B",
	"POST /api/v1/instances/{instanceId}/sync/{bizType}/send":       "send-test i1 B --to u --data x --id m",
	"GET /api/v1/instances/{instanceId}/keys":                       "key list i1",
	"POST /api/v1/instances/{instanceId}/keys":                      "key create i1",
	"DELETE /api/v1/instances/{instanceId}/keys/{kind}/{keyId}":     "key revoke i1 api k",
	"GET /api/v1/instances/{instanceId}/targets/{dimension}/{name}": "stats i1 user u",
	"POST /api/v1/instances/{instanceId}/redeliver":                 "redeliver i1 B u1 --after 3 --dry-run",
	"GET /api/v1/config":                                            "config export",
	"POST /api/v1/config":                                           "config apply -f FILE",
	"GET /api/v1/service/signature":                                 "signature show",
	"PUT /api/v1/service/signature":                                 "signature on",
	"GET /api/v1/users":                                             "user list",
	"POST /api/v1/users":                                            "user create ann",
	"GET /api/v1/users/{name}":                                      "user show ann",
	"PUT /api/v1/users/{name}":                                      "user role ann admin",
	"DELETE /api/v1/users/{name}":                                   "user delete ann",
	"GET /api/v1/locks":                                             "user locks",
	"DELETE /api/v1/locks/{kind}/{name}":                            "user unlock ann",
	"GET /api/v1/audit":                                             "audit list",
	"GET /api/v1/audit/{seq}":                                       "audit show 4",
	"GET /api/v1/audit/export":                                      "audit export",
	"GET /api/v1/actions":                                           "audit actions",
	"GET /api/v1/live":                                              "live",
	"GET /api/v1/oplog/tail":                                        "tail",
	"GET /api/v1/watch":                                             "registry watch",
	"GET /api/v1/registry/status":                                   "registry status",
	"POST /api/v1/registry/members":                                 "registry join r4 10.0.0.4:7000",
	"DELETE /api/v1/registry/members/{memberId}":                    "registry remove r4",
	"POST /api/v1/registry/transfer":                                "registry transfer",
	"GET /api/v1/registry/backup":                                   "registry backup NEW",
	"POST /api/v1/registry/restore":                                 "registry restore FILE --replace",
}

// noCommand are routes of a login session, which the command line has none of,
// and ways to say the same.
var noCommand = map[string]bool{
	"POST /api/v1/login": true, "POST /api/v1/logout": true, "GET /api/v1/session": true, "POST /api/v1/password": true,
	"GET /api/v1/openapi.json": true, "GET /api/v1/live/stream": true, "PUT /api/v1/config": true,
}

// TestEveryRouteHasACommand: what the admin API can do, the command line can.
func TestEveryRouteHasACommand(t *testing.T) {
	t.Setenv("TIDEMARK_USER_PASSWORD", "battery staple 8")
	var called []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		called = append(called, r.Method+" "+r.URL.EscapedPath())
		if strings.Contains(r.URL.Path, "watch") {
			http.Error(w, "{}", http.StatusBadRequest) // or it would be watched for ever
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "{}")
	}))
	defer srv.Close()
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, []byte("{}"), 0o600))
	for _, route := range documentedRoutes(t) {
		line, ok := adminCommands[route]
		if noCommand[route] {
			if ok {
				t.Errorf("%s is in both tables", route)
			}
			continue
		}
		if !ok {
			t.Errorf("%s has no command", route)
			continue
		}
		called = nil
		cmd := root()
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		args := strings.Fields(strings.NewReplacer("FILE", file, "NEW", file+filepath.Base(t.Name())).Replace(line))
		cmd.SetArgs(append(args, "--admin", srv.URL))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		err := cmd.ExecuteContext(ctx)
		cancel()
		if len(called) != 1 || !matches(route, called[0]) {
			t.Errorf("tidemark %s called %q, want %s (%v)", line, called, route, err)
		}
	}
}

// matches says whether a call is one of a route.
func matches(route, call string) bool {
	pattern := regexp.MustCompile(`\\\{[^}]*\\\}`).ReplaceAllString(regexp.QuoteMeta(route), `[^/]+`)
	return regexp.MustCompile("^" + pattern + "$").MatchString(call)
}

// documentedRoutes are those of the OpenAPI document.
func documentedRoutes(t *testing.T) (all []string) {
	t.Helper()
	c, err := console.New(console.Config{Registry: emptyRegistry{}})
	must(t, err)
	defer c.Close()
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "http://127.0.0.1/api/v1/openapi.json", http.NoBody)
	r.RemoteAddr = "127.0.0.1:1"
	c.Handler().ServeHTTP(w, r)
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	must(t, json.Unmarshal(w.Body.Bytes(), &doc))
	for where, methods := range doc.Paths {
		for method := range methods {
			all = append(all, strings.ToUpper(method)+" "+where)
		}
	}
	if len(all) < len(adminCommands) {
		t.Fatalf("the document has %d routes, and the table %d", len(all), len(adminCommands))
	}
	return all
}

type emptyRegistry struct{}

func (emptyRegistry) Now() (*registry.Model, <-chan struct{}) { return new(registry.Model), nil }
func (emptyRegistry) Read(context.Context) (*registry.Model, error) {
	return new(registry.Model), nil
}

func (emptyRegistry) Propose(context.Context, registry.Command) (registry.Result, error) {
	return registry.Result{}, nil
}
func (emptyRegistry) QuorumStatus(context.Context) registry.Status { return registry.Status{} }
