package console

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// auditDays is how far back the audit is shown when no range is given (spec 1.5).
const auditDays = 7

func (c *Console) registryStatus(r *request) (any, error) {
	return c.cfg.Registry.QuorumStatus(r.Context()), nil
}

// Action is an action of the audit, for filters.
type Action struct {
	Action  registry.Action `json:"action"`
	English string          `json:"en"`
	Chinese string          `json:"zh"`
}

func (c *Console) actions(*request) (any, error) {
	all := make([]Action, len(registry.Actions))
	for i, a := range registry.Actions {
		all[i] = Action{a.Action, a.English, a.Chinese}
	}
	return map[string]any{"actions": all}, nil
}

var auditParams = []param{
	{"actor", "who; empty: everybody"}, {"action", "which action; may be given several times"},
	{"from", "RFC 3339 or epoch milliseconds, inclusive; default 7 days ago"}, {"to", "the same; default: no end"},
	{"instanceId", "about which instance"}, {"name", "about which object"},
	{"before", "only records with a smaller seq: the next page"}, {"limit", "up to 1000, which is the default"}, readParam,
}

// Audit is a page of operation records.
type Audit struct {
	Records []*registry.Record `json:"records"` // newest first
	Next    int64              `json:"next,omitempty"`
	Dropped int64              `json:"dropped,omitempty"` // records that are no longer kept
}

func (c *Console) audit(r *request) (any, error) {
	q := r.URL.Query()
	f := registry.AuditFilter{
		Actor: q.Get("actor"), Object: registry.Object{InstanceID: q.Get("instanceId"), Name: q.Get("name")},
		From: c.cfg.Clock().AddDate(0, 0, -auditDays).UnixMilli(),
	}
	for _, a := range q["action"] {
		f.Actions = append(f.Actions, registry.Action(a))
	}
	for name, to := range map[string]*int64{"from": &f.From, "to": &f.To} {
		if s := q.Get(name); s != "" {
			t, err := parseTime(s)
			if err != nil {
				return nil, &Error{http.StatusBadRequest, registry.Invalid, name, err.Error()}
			}
			*to = t
		}
	}
	limit, err1 := number(q.Get("limit"), registry.MaxAuditPage)
	before, err2 := number(q.Get("before"), 0)
	if err1 != nil || err2 != nil || limit < 1 || limit > registry.MaxAuditPage {
		return nil, &Error{http.StatusBadRequest, registry.Invalid, "limit", fmt.Sprintf("limit is 1 to %d, before a seq", registry.MaxAuditPage)}
	}
	f.Limit, f.Before = int(limit), before
	m, err := c.model(r)
	if err != nil {
		return nil, err
	}
	page := Audit{Records: m.Audit(f), Dropped: m.AuditDropped()}
	if page.Records == nil {
		page.Records = []*registry.Record{}
	}
	if len(page.Records) == f.Limit {
		page.Next = page.Records[len(page.Records)-1].Seq
	}
	return page, nil
}

func number(s string, otherwise int64) (int64, error) {
	if s == "" {
		return otherwise, nil
	}
	return strconv.ParseInt(s, 10, 64)
}

func parseTime(s string) (int64, error) {
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil {
		return ms, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return 0, fmt.Errorf("%.40q: use a time such as 2024-04-10T18:02:52+08:00, or epoch milliseconds", s)
	}
	return t.UnixMilli(), nil
}
