package console

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"unicode/utf8"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// Limits of one redelivery.
const (
	// RedeliverTargetsMax bounds the targets, and RedeliverPointsMax the sync
	// points that move: a user has one for each device.
	RedeliverTargetsMax = 1000
	RedeliverPointsMax  = 5000

	// redeliverNoteBytes bounds what one operation record tells of points; the
	// rest stands in more of them.
	redeliverNoteBytes = registry.MaxDetailBytes - 4<<10
)

// RedeliverForm asks for entries to be delivered once more. Exactly one of
// After and Since says from where.
type RedeliverForm struct {
	BizType  string   `json:"bizType"`
	Targets  []string `json:"targets"`            // user or device ids (link tokens), 1 to 1,000
	DeviceID string   `json:"deviceId,omitempty"` // where devices have sync points of their own: only this one
	After    *int64   `json:"after,omitempty"`    // oplog id behind which entries come again; 0: all of them
	Since    int64    `json:"since,omitempty"`    // epoch ms of acceptance from which they do
	DryRun   bool     `json:"dryRun,omitempty"`   // only say what would move
}

// Redelivered is what moved, or would.
type Redelivered struct {
	Moved []RewoundPoint `json:"moved"`
	// Unmoved are the targets that nothing is delivered to again: they have
	// confirmed nothing behind that, or nothing is stored from then on.
	Unmoved []string `json:"unmoved"`
	DryRun  bool     `json:"dryRun"`
}

// RewoundPoint is a sync point that moves back.
type RewoundPoint struct {
	Target   string `json:"target"`
	DeviceID string `json:"deviceId,omitempty"` // none where a user's devices share the point
	From     int64  `json:"from"`
	To       int64  `json:"to"`
}

// redeliverDetail is what the operation record keeps.
type redeliverDetail struct {
	BizType string         `json:"bizType"`
	After   *int64         `json:"after,omitempty"`
	Since   int64          `json:"since,omitempty"`
	Points  []RewoundPoint `json:"points"` // before and after
}

func (f *RedeliverForm) check() error {
	bad := func(path, reason string) error {
		return &Error{http.StatusBadRequest, registry.Invalid, path, reason}
	}
	switch {
	case f.BizType == "":
		return bad("bizType", "it is missing")
	case len(f.Targets) == 0 || len(f.Targets) > RedeliverTargetsMax:
		return bad("targets", fmt.Sprintf("%d of them: use 1 to %d", len(f.Targets), RedeliverTargetsMax))
	case utf8.RuneCountInString(f.DeviceID) > schemas.MaxDeviceID:
		return bad("deviceId", fmt.Sprintf("over %d characters", schemas.MaxDeviceID))
	case f.After != nil && *f.After < 0:
		return bad("after", "an oplog id, or 0 for all")
	case f.Since < 0:
		return bad("since", "a time in epoch ms")
	case (f.After == nil) == (f.Since == 0):
		return bad("after", "say either after (an oplog id) or since (a time)")
	}
	seen := make(map[string]bool, len(f.Targets))
	for i, t := range f.Targets {
		at := fmt.Sprintf("targets[%d]", i)
		if t == "" || utf8.RuneCountInString(t) > schemas.MaxLinkToken {
			return bad(at, fmt.Sprintf("1 to %d characters", schemas.MaxLinkToken))
		}
		if seen[t] {
			return bad(at, fmt.Sprintf("%.100q is named twice", t))
		}
		seen[t] = true
	}
	return nil
}

// Redeliver moves sync points back in an operator's name. The operation record
// is written first: there is no redelivery that nobody knows of.
func (c *Console) Redeliver(ctx context.Context, caller Caller, from, instanceID string, f RedeliverForm) (*Redelivered, error) {
	if !caller.Role.May(registry.Operator) {
		return nil, needs(caller, registry.Operator)
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	if c.cfg.Redeliverer == nil {
		return nil, errPart
	}
	m, err := c.newest(ctx)
	if err != nil {
		return nil, err
	}
	s := m.Sync(instanceID, f.BizType)
	switch {
	case s == nil:
		return nil, &Error{http.StatusNotFound, registry.NotFound, "bizType", fmt.Sprintf("no config %.120q in instance %.120q", f.BizType, instanceID)}
	case !s.Persistent:
		return nil, &Error{http.StatusConflict, registry.Refused, "bizType", fmt.Sprintf("%q keeps nothing that could come again", f.BizType)}
	case f.DeviceID != "" && s.Target == schemas.TargetUser && !s.MultiDevice && s.Scope != schemas.ScopeGlobal:
		return nil, &Error{http.StatusBadRequest, registry.Invalid, "deviceId", fmt.Sprintf("%q goes to whichever device of a user is online: leave it out", f.BizType)}
	}
	done := &Redelivered{Moved: []RewoundPoint{}, Unmoved: []string{}, DryRun: f.DryRun}
	for _, target := range f.Targets {
		points, err := c.cfg.Redeliverer.PlanRewinds(ctx, instanceID, target, &f)
		if err != nil {
			return nil, fmt.Errorf("look at sync points of %.100q: %w", target, err)
		}
		if len(points) == 0 {
			done.Unmoved = append(done.Unmoved, target)
		}
		done.Moved = append(done.Moved, points...)
		if len(done.Moved) > RedeliverPointsMax {
			return nil, &Error{http.StatusBadRequest, registry.Invalid, "targets", fmt.Sprintf("their devices have more than %d sync points: name fewer targets at once", RedeliverPointsMax)}
		}
	}
	if f.DryRun || len(done.Moved) == 0 {
		return done, nil
	}
	if err := c.noteRedelivery(ctx, caller, from, s, &f, done.Moved); err != nil {
		return nil, fmt.Errorf("keep the operation record, so nothing was moved: %w", err)
	}
	// The record stands: what it tells of happens, also if the caller has gone.
	if err := c.cfg.Redeliverer.Rewind(context.WithoutCancel(ctx), instanceID, f.BizType, done.Moved); err != nil {
		return nil, fmt.Errorf("move sync points back: %w", err)
	}
	return done, nil
}

func (c *Console) noteRedelivery(ctx context.Context, caller Caller, from string, s *registry.Sync, f *RedeliverForm, points []RewoundPoint) error {
	for len(points) > 0 {
		n, size := 0, 0
		for ; n < len(points) && size < redeliverNoteBytes; n++ {
			b, err := json.Marshal(points[n])
			if err != nil {
				return fmt.Errorf("encode detail: %w", err)
			}
			if size += len(b) + 1; size > redeliverNoteBytes && n > 0 {
				break
			}
		}
		detail, err := json.Marshal(redeliverDetail{f.BizType, f.After, f.Since, points[:n]})
		if err != nil {
			return fmt.Errorf("encode detail: %w", err)
		}
		points = points[n:]
		if _, err := c.propose(ctx, registry.Command{Actor: caller.Name, Source: from, Ops: []registry.Op{registry.Note{
			Action: registry.Redeliver, Object: registry.Object{Kind: registry.KindConfig, InstanceID: s.InstanceID, Name: s.BizType}, Detail: detail,
		}}}); err != nil {
			return err
		}
	}
	return nil
}

func (c *Console) postRedeliver(r *request) (any, error) {
	var f RedeliverForm
	if err := r.decode(&f); err != nil {
		return nil, err
	}
	return c.Redeliver(r.Context(), r.caller, source(r.Request), r.PathValue("instanceId"), f)
}
