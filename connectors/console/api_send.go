package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// Validity of data that is sent from the console, days.
const (
	DefaultValidDays = 30
	MaxValidDays     = 3650
)

// The form's systems, as requests name them.
const (
	OSAndroid = "Android"
	OSiOS     = "iOS"
)

// SendForm is the console's form for sending data (spec 1.5).
type SendForm struct {
	Target        string   `json:"target,omitempty"` // user or device id; none for a global config
	Data          string   `json:"data"`
	UniqueID      string   `json:"uniqueId,omitempty"` // may be left out for a config that keeps nothing
	OS            []string `json:"os"`                 // Android, iOS, or both; at least one
	AppMinVersion string   `json:"appMinVersion,omitempty"`
	AppMaxVersion string   `json:"appMaxVersion,omitempty"`
	ValidDays     int      `json:"validDays,omitempty"` // default 30
}

// Sent is what became of it.
type Sent struct {
	Code         string `json:"msg"` // as the sync API answers
	Success      bool   `json:"success"`
	Reason       string `json:"reason,omitempty"`
	OplogID      int64  `json:"oplogId,omitempty"`
	UniqueID     string `json:"uniqueId"` // as sent, or as made
	ValidTimeEnd int64  `json:"validTimeEnd"`
	// Note says that the operation record is missing, and why.
	Note string `json:"note,omitempty"`
}

// sentDetail is what the operation record keeps.
type sentDetail struct {
	SendForm
	Scope        string `json:"scope"`
	ValidTimeEnd int64  `json:"validTimeEnd"`
	Code         string `json:"msg"`
	OplogID      int64  `json:"oplogId,omitempty"`
}

// request checks the form by the console's rules and makes a request of it. The
// sync API's own rules are its to check.
func (f *SendForm) request(s *registry.Sync, now time.Time) (*schemas.Request, error) {
	bad := func(path, reason string) (*schemas.Request, error) {
		return nil, &Error{http.StatusBadRequest, registry.Invalid, path, reason}
	}
	global := s.Scope == schemas.ScopeGlobal
	if f.ValidDays == 0 {
		f.ValidDays = DefaultValidDays
	}
	switch {
	case !s.Online:
		return nil, &Error{http.StatusConflict, registry.Refused, "bizType", fmt.Sprintf("%q is offline: take it online first", s.BizType)}
	case global && f.Target != "":
		return bad("target", "the config is global: everybody gets it")
	case !global && f.Target == "":
		return bad("target", fmt.Sprintf("the %s id is missing", s.Target))
	case f.Data == "":
		return bad("data", "it is missing")
	case f.UniqueID == "" && s.Persistent:
		return bad("uniqueId", "it is missing; only a config that keeps nothing does without")
	case f.ValidDays < 1 || f.ValidDays > MaxValidDays:
		return bad("validDays", fmt.Sprintf("%d: use 1 to %d days", f.ValidDays, MaxValidDays))
	}
	os, err := oneOS(f.OS)
	if err != nil {
		return nil, err
	}
	return &schemas.Request{
		InstanceID: s.InstanceID, BizType: s.BizType, Scope: s.Scope, LinkToken: f.Target,
		ThirdMsgID: f.UniqueID, Payload: f.Data, OSType: os,
		AppMinVersion: f.AppMinVersion, AppMaxVersion: f.AppMaxVersion,
		ValidTimeEnd: now.AddDate(0, 0, f.ValidDays).UnixMilli(),
	}, nil
}

// oneOS turns the check boxes into the request's filter: both are no filter.
func oneOS(boxes []string) (string, error) {
	var android, ios bool
	for _, os := range boxes {
		switch os {
		case OSAndroid:
			android = true
		case OSiOS:
			ios = true
		default:
			return "", &Error{http.StatusBadRequest, registry.Invalid, "os", fmt.Sprintf("%.20q: use Android or iOS", os)}
		}
	}
	switch {
	case android && ios:
		return "", nil
	case android:
		return OSAndroid, nil
	case ios:
		return OSiOS, nil
	}
	return "", &Error{http.StatusBadRequest, registry.Invalid, "os", "choose Android, iOS or both"}
}

// Send puts data through the sync API's door in an operator's name, and keeps
// one operation record of it. What the form got wrong is an [*Error]; what the
// API thinks of the request is in the answer.
func (c *Console) Send(ctx context.Context, caller Caller, from, instanceID, bizType string, f SendForm) (*Sent, error) {
	if !caller.Role.May(registry.Operator) {
		return nil, needs(caller, registry.Operator)
	}
	if c.cfg.Sender == nil {
		return nil, errPart
	}
	m, err := c.newest(ctx)
	if err != nil {
		return nil, err
	}
	s := m.Sync(instanceID, bizType)
	if s == nil {
		return nil, &Error{http.StatusNotFound, registry.NotFound, "bizType", fmt.Sprintf("no config %.120q in instance %.120q", bizType, instanceID)}
	}
	req, err := f.request(s, c.cfg.Clock())
	if err != nil {
		return nil, err
	}
	if req.ThirdMsgID == "" {
		id, err := c.random()
		if err != nil {
			return nil, err
		}
		req.ThirdMsgID = "console-" + id
	}
	f.UniqueID = req.ThirdMsgID
	result, err := c.cfg.Sender.Send(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("send data: %w", err)
	}
	sent := &Sent{
		Code: string(result.Code), Success: result.Code.OK(), Reason: result.Reason, OplogID: result.OplogID,
		UniqueID: req.ThirdMsgID, ValidTimeEnd: req.ValidTimeEnd,
	}
	if !sent.Success {
		return sent, nil // nothing was made, so there is nothing to record
	}
	// The data is on its way whatever becomes of the record, and of the caller.
	if err := c.noteSent(context.WithoutCancel(ctx), caller, from, s, &f, sent); err != nil {
		c.cfg.Log.Error("console: data was sent and is not in the audit", "instance", instanceID, "biz", bizType, "error", err)
		sent.Note = "sent, but not in the operation records: " + err.Error()
	}
	return sent, nil
}

func (c *Console) noteSent(ctx context.Context, caller Caller, from string, s *registry.Sync, f *SendForm, sent *Sent) error {
	detail, err := json.Marshal(sentDetail{*f, s.Scope, sent.ValidTimeEnd, sent.Code, sent.OplogID})
	if err != nil {
		return fmt.Errorf("encode detail: %w", err)
	}
	_, err = c.propose(ctx, registry.Command{Actor: caller.Name, Source: from, Ops: []registry.Op{registry.Note{
		Action: registry.SyncCreate, Object: registry.Object{Kind: registry.KindConfig, InstanceID: s.InstanceID, Name: s.BizType}, Detail: detail,
	}}})
	return err
}

// errPart answers what needs a part that this node does not have.
var errPart = errors.New("this node does not run the part that answers this")

func needs(caller Caller, role registry.Role) error {
	return &Error{Status: http.StatusForbidden, Reason: fmt.Sprintf("this needs the role %s, and %q has %s", role, caller.Name, caller.Role)}
}

func (c *Console) postSend(r *request) (any, error) {
	var f SendForm
	if err := r.decode(&f); err != nil {
		return nil, err
	}
	return c.Send(r.Context(), r.caller, source(r.Request), r.PathValue("instanceId"), r.PathValue("bizType"), f)
}
