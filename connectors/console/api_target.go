package console

import (
	"context"
	"fmt"
	"net/http"
	"unicode/utf8"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// How long a push list is: if nothing is said, and at most.
const (
	DefaultPushList = 100
	MaxPushList     = 1000
)

// Target looks a user or device up for the data query. Somebody who was never
// heard of is a Target that is not Known.
func (c *Console) Target(ctx context.Context, instanceID, dimension, name string, limit int) (*Target, error) {
	bad := func(path, reason string) (*Target, error) {
		return nil, &Error{http.StatusBadRequest, registry.Invalid, path, reason}
	}
	switch {
	case dimension != schemas.TargetUser && dimension != schemas.TargetDevice:
		return bad("dimension", fmt.Sprintf("%.20q: use user or device", dimension))
	case name == "" || utf8.RuneCountInString(name) > schemas.MaxLinkToken:
		return bad("name", fmt.Sprintf("1 to %d characters", schemas.MaxLinkToken))
	case limit < 0 || limit > MaxPushList:
		return bad("limit", fmt.Sprintf("at most %d", MaxPushList))
	case c.cfg.Stats == nil:
		return nil, errPart
	}
	if m, _ := c.cfg.Registry.Now(); m.Instance(instanceID) == nil {
		return nil, &Error{http.StatusNotFound, registry.NotFound, "instanceId", fmt.Sprintf("no instance %.120q", instanceID)}
	}
	if limit == 0 {
		limit = DefaultPushList
	}
	return c.cfg.Stats.Target(ctx, instanceID, dimension, name, limit)
}

func (c *Console) getTarget(r *request) (any, error) {
	limit, err := number(r.URL.Query().Get("limit"), 0)
	if err != nil {
		return nil, &Error{http.StatusBadRequest, registry.Invalid, "limit", fmt.Sprintf("a number up to %d", MaxPushList)}
	}
	return c.Target(r.Context(), r.PathValue("instanceId"), r.PathValue("dimension"), r.PathValue("name"), int(min(limit, MaxPushList+1)))
}
