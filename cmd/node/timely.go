package node

import (
	"net/http"
	"time"
)

// defaultBodyTimeout is how long the body of a call may take to arrive, where
// its handler says nothing else.
const defaultBodyTimeout = 30 * time.Second

// timely bounds how long bodies take to arrive, of calls that nobody serves
// too: the HTTP server reads what is left of a body before it answers. A
// handler may set a read deadline of its own. With a body's end the HTTP server
// ends its deadline.
func timely(limit time.Duration, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != http.NoBody {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(limit)) // net/http's can
		}
		h.ServeHTTP(w, r)
	})
}
