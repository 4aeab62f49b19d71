package ingress

import (
	"context"
	"net/http"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/schemas"
)

// Trace begins the span of a call. traceparent (W3C) goes with the request
// into its record's headers; an empty one says that nothing is recorded. end is
// called once, with the answer's code.
type Trace func(r *http.Request) (traceparent string, end func(schemas.Code))

type traceKey struct{}

// traced begins the call's span and puts its traceparent into the context.
func (s *Server) traced(r *http.Request) (*http.Request, func(schemas.Code)) {
	if s.cfg.Trace == nil {
		return r, func(schemas.Code) {}
	}
	traceparent, end := s.cfg.Trace(r)
	if traceparent != "" {
		r = r.WithContext(context.WithValue(r.Context(), traceKey{}, traceparent))
	}
	return r, end
}

// withTrace adds what the context has of a trace to a record.
func withTrace(ctx context.Context, r *kgo.Record) *kgo.Record {
	if traceparent, ok := ctx.Value(traceKey{}).(string); ok {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: schemas.HeaderTraceparent, Value: []byte(traceparent)})
	}
	return r
}
