package console

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"strings"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// Caller is who calls the API.
type Caller struct {
	Name string // as the audit shows it
	Role registry.Role
	// Session is the login that the call came with; nil: it showed a token, or
	// the door is open.
	Session *Session
}

// Authorize says who calls. The error, if any, is an [*Error] that is answered.
type Authorize func(*http.Request) (Caller, error)

// OpenOnLoopback lets everybody on this machine do everything, and nobody else
// anything. It is for a laptop.
func OpenOnLoopback(r *http.Request) (Caller, error) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil || !isLoopback(host) {
		return Caller{}, &Error{Status: http.StatusForbidden, Reason: "the admin API is open to this machine only: start the node with --admin-token"}
	}
	// A page whose name resolves to 127.0.0.1 is of its own origin to a browser.
	name := r.Host
	if h, _, err := net.SplitHostPort(r.Host); err == nil {
		name = h
	}
	if !isLoopback(strings.Trim(name, "[]")) {
		return Caller{}, &Error{Status: http.StatusForbidden, Reason: "the admin API is open under localhost and 127.0.0.1 only: start the node with --admin-token"}
	}
	return Caller{Name: "local", Role: registry.Admin}, nil
}

// Guard lets who has a role reach a handler that is not the console's own: by a
// login session, or as [Config.Authorize] says.
func (c *Console) Guard(role registry.Role, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, err := c.Caller(r)
		if err == nil && !caller.Role.May(role) {
			err = needs(caller, role)
		}
		if err == nil {
			err = c.CheckCSRF(r, caller)
		}
		if err != nil {
			var e *Error
			if errors.As(err, &e) && e.Status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Bearer realm="tidemark admin"`)
			}
			c.refuse(w, r, err)
			return
		}
		c.Renew(w, r, caller.Session)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// WithToken lets in who shows the token as a bearer token.
func WithToken(token string) Authorize {
	want := sha256.Sum256([]byte(token))
	return func(r *http.Request) (Caller, error) {
		shown, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		got := sha256.Sum256([]byte(shown))
		if !ok || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			return Caller{}, &Error{Status: http.StatusUnauthorized, Reason: "show the admin token: Authorization: Bearer <token>"}
		}
		return Caller{Name: "admin-token", Role: registry.Admin}, nil
	}
}
