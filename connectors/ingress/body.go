package ingress

import (
	"errors"
	"io"
	"net/http"
	"os"

	"github.com/tidemarkio/tidemark/schemas"
)

// bodyBytes is how much room a call's body may need: what its length says, or
// as much as there may be.
func bodyBytes(r *http.Request) (int64, error) {
	switch n := r.ContentLength; {
	case n > schemas.MaxRequestBytes:
		return 0, errTooLarge
	case n < 0:
		return schemas.MaxRequestBytes, nil
	default:
		return n, nil
	}
}

// readBody reads a body whole, until the connection's read deadline.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, schemas.MaxRequestBytes))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, errTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, errSlow
	case err != nil:
		return nil, errBroken
	}
	return body, nil
}
