package node

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tidemarkio/tidemark/connectors/console"
	"github.com/tidemarkio/tidemark/connectors/control"
	"github.com/tidemarkio/tidemark/connectors/edge"
	"github.com/tidemarkio/tidemark/processor/runtime"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// publicHandler is the door for producers and clients.
func (n *Node) publicHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/webapi/sync/", n.ingress.Handler())
	edge := n.edge.Handler()
	mux.Handle("/sync/", edge)
	mux.Handle("/route", edge)
	return mux
}

// adminHandler is the operators' door. It serves from the first moment, so
// that a node that waits can say for what.
func (n *Node) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", n.serveHealth)
	mux.HandleFunc("GET /readyz", n.serveReady)
	mux.Handle("GET /metrics", promhttp.HandlerFor(n.metrics, promhttp.HandlerOpts{}))
	mux.Handle("GET /api/v1/status", n.guard(registry.Viewer, http.HandlerFunc(n.serveStatus)))
	mux.HandleFunc("/", n.serveConsole)
	addProfiles(mux, func(h http.Handler) http.Handler { return n.guard(registry.Admin, h) })
	return mux
}

// serveConsole hands over to the console, once the registry that it needs is
// there.
func (n *Node) serveConsole(w http.ResponseWriter, r *http.Request) {
	c := n.operators.Load()
	if c == nil {
		w.Header().Set("Retry-After", "1")
		plain(w, http.StatusServiceUnavailable, "starting: waiting for "+n.wait.get()+"\n")
		return
	}
	c.Handler().ServeHTTP(w, r)
}

// addProfiles serves Go's profiles to whom the guard lets in. They tell of
// memory and slow a node down: for admins only.
func addProfiles(mux *http.ServeMux, guard func(http.Handler) http.Handler) {
	for path, h := range map[string]http.HandlerFunc{"/debug/pprof/": pprof.Index, "/debug/pprof/profile": pprof.Profile, "/debug/pprof/trace": pprof.Trace} {
		mux.Handle(path, guard(h))
	}
}

// guard asks for the admin token, where one is set, or for a login session of
// the role. Before the console is there only the token is known.
func (n *Node) guard(role registry.Role, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := n.operators.Load()
		switch {
		case n.authorized(r):
			h.ServeHTTP(w, r)
		case c != nil:
			c.Guard(role, h).ServeHTTP(w, r)
		default:
			w.Header().Set("WWW-Authenticate", `Bearer realm="tidemark admin"`)
			plain(w, http.StatusUnauthorized, "the node is starting, and knows only the admin token: Authorization: Bearer ...\n")
		}
	})
}

func (n *Node) authorized(r *http.Request) bool {
	if n.cfg.AdminToken == "" {
		_, err := console.OpenOnLoopback(r)
		return err == nil
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	// Hashes have one length, so the comparison tells nothing of the token's.
	got, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(n.cfg.AdminToken))
	return ok && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

func (n *Node) serveReady(w http.ResponseWriter, _ *http.Request) {
	if err := n.Ready(); err != nil {
		plain(w, http.StatusServiceUnavailable, err.Error()+"\n")
		return
	}
	plain(w, http.StatusOK, "ready\n")
}

// Status is what `tidemark status` shows.
type Status struct {
	Ready      bool             `json:"ready"`
	Waiting    string           `json:"waiting,omitempty"` // why it is not ready
	Topology   string           `json:"topology"`
	Partitions []runtime.Status `json:"partitions,omitempty"`
	Edge       *EdgeStatus      `json:"edge,omitempty"`
	Registry   *registry.Status `json:"registry,omitempty"`
	Control    *control.Status  `json:"control,omitempty"`
}

// EdgeStatus is the edge's part of it.
type EdgeStatus struct {
	edge.Counts
	Views []edge.PartitionStatus `json:"views"`
}

// Status says how the node is.
func (n *Node) Status() Status {
	s := Status{Topology: n.topo.Hash()}
	if err := n.Ready(); err != nil {
		s.Waiting = err.Error()
	} else {
		s.Ready = true
	}
	if n.running.Load() {
		r, c := n.registry.Status(), n.publisher.Status()
		s.Registry, s.Control = &r, &c
		if n.cfg.RegistryOnly {
			return s
		}
		s.Partitions = n.tasks.Status()
		s.Edge = &EdgeStatus{n.edge.Counts(), n.edge.Partitions()}
	}
	return s
}

func (n *Node) serveStatus(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.Encode(n.Status()) //nolint:errcheck // the caller has gone
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	w.Write([]byte(text)) //nolint:errcheck // the caller has gone
}
