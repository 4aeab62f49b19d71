package ingress

import (
	"context"

	"github.com/tidemarkio/tidemark/schemas"
)

// Push is a call of the API from within this process, such as data sent from
// the console: the same checks and the same answer, without a caller's key. An
// error means that the outcome is unknown, or that too many calls wait.
func (s *Server) Push(ctx context.Context, req *schemas.Request) (schemas.Result, error) {
	if f := s.check(req); !f.None() {
		return schemas.Result{Code: f.Code, Reason: f.Reason}, nil
	}
	bytes := int64(len(req.Payload) + len(req.Base64))
	if !s.places.enter(bytes) {
		return schemas.Result{}, errBusy
	}
	defer s.places.leave(bytes)
	return s.exchange(ctx, req)
}
