package console

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// auditDays is how far back the audit is shown when no range is given (spec 1.5).
const auditDays = 7

func (c *Console) auditRoutes() []route {
	filters := []param{
		{"actor", "who; empty: everybody"}, {"action", "which action; may be given several times"},
		{"from", "a date in the configured zone, RFC 3339 or epoch milliseconds, inclusive; default 7 days ago"},
		{"to", "the same; a date is inclusive to its end; default: no end"},
		{"instanceId", "about which instance"}, {"name", "about which object"},
		{"before", "only records with a smaller seq: the next page"}, {"limit", "up to 1000, which is the default"}, readParam,
	}
	export := get(v1+"/audit/export", "operation records as a file, newest first; the same filters", registry.Viewer, nil, c.exportAudit, append(filters, param{"format", "ndjson (default) or csv"})...)
	export.Media = "application/x-ndjson"
	return []route{
		get(v1+"/actions", "the audit's actions", registry.Viewer, ActionList{}, c.actions),
		get(v1+"/audit", "operation records, newest first", registry.Viewer, Audit{}, c.audit, filters...),
		get(v1+"/audit/{seq}", "one operation record", registry.Viewer, registry.Record{}, c.auditRecord, readParam),
		export,
	}
}

// Action is an action of the audit, for filters.
type Action struct {
	Action  registry.Action `json:"action"`
	English string          `json:"en"`
	Chinese string          `json:"zh"`
}

// ActionList lists all actions, in the order in which filters offer them.
type ActionList struct {
	Actions []Action `json:"actions"`
}

func (c *Console) actions(*request) (any, error) {
	all := make([]Action, len(registry.Actions))
	for i, a := range registry.Actions {
		all[i] = Action{a.Action, a.English, a.Chinese}
	}
	return ActionList{all}, nil
}

// Audit is a page of operation records.
type Audit struct {
	Records []*registry.Record `json:"records"` // newest first
	Next    int64              `json:"next,omitempty"`
	Dropped int64              `json:"dropped,omitempty"` // records that are no longer kept
}

// AuditFilter reads the filters of a query, as the API and the page have them.
func (c *Console) AuditFilter(q url.Values) (registry.AuditFilter, error) {
	f := registry.AuditFilter{
		Actor: q.Get("actor"), Object: registry.Object{InstanceID: q.Get("instanceId"), Name: q.Get("name")},
		From: c.cfg.Clock().AddDate(0, 0, -auditDays).UnixMilli(),
	}
	for _, a := range q["action"] {
		if a != "" {
			f.Actions = append(f.Actions, registry.Action(a))
		}
	}
	if q.Get("from") == "" && q.Get("to") != "" {
		f.From = 0 // a range is given
	}
	for name, to := range map[string]*int64{"from": &f.From, "to": &f.To} {
		if s := q.Get(name); s != "" {
			t, err := parseTime(s, c.cfg.Zone, name == "to")
			if err != nil {
				return f, &Error{http.StatusBadRequest, registry.Invalid, name, err.Error()}
			}
			*to = t
		}
	}
	limit, err1 := number(q.Get("limit"), registry.MaxAuditPage)
	before, err2 := number(q.Get("before"), 0)
	if err1 != nil || err2 != nil || limit < 1 || limit > registry.MaxAuditPage {
		return f, &Error{http.StatusBadRequest, registry.Invalid, "limit", fmt.Sprintf("limit is 1 to %d, before a seq", registry.MaxAuditPage)}
	}
	f.Limit, f.Before = int(limit), before
	return f, nil
}

// AuditPage gives the records that a filter chooses, newest first.
func (c *Console) AuditPage(m *registry.Model, f registry.AuditFilter) Audit {
	page := Audit{Records: m.Audit(f), Dropped: m.AuditDropped()}
	if page.Records == nil {
		page.Records = []*registry.Record{}
	}
	if len(page.Records) == f.Limit {
		page.Next = page.Records[len(page.Records)-1].Seq
	}
	return page
}

func (c *Console) auditQuery(r *request) (page Audit, err error) {
	f, err := c.AuditFilter(r.URL.Query())
	if err != nil {
		return page, err
	}
	m, err := c.model(r)
	if err != nil {
		return page, err
	}
	return c.AuditPage(m, f), nil
}

func (c *Console) audit(r *request) (any, error) { return c.auditQuery(r) }

func (c *Console) auditRecord(r *request) (any, error) {
	seq, err := number(r.PathValue("seq"), 0)
	if err != nil {
		return nil, &Error{http.StatusBadRequest, registry.Invalid, "seq", "a number"}
	}
	m, err := c.model(r)
	if err != nil {
		return nil, err
	}
	if record := m.AuditRecord(seq); record != nil {
		return record, nil
	}
	return nil, &Error{http.StatusNotFound, registry.NotFound, "seq", fmt.Sprintf("no record %d: it was never made, or is no longer kept", seq)}
}

// exportAudit gives records as a file.
func (c *Console) exportAudit(r *request) (any, error) {
	page, err := c.auditQuery(r)
	if err != nil {
		return nil, err
	}
	a := &answer{header: map[string]string{}}
	var ext string
	switch format := r.URL.Query().Get("format"); format {
	case "", "ndjson":
		ext, a.header["Content-Type"] = "ndjson", "application/x-ndjson"
		a.raw, err = auditLines(page.Records)
	case "csv":
		ext, a.header["Content-Type"] = "csv", "text/csv; charset=utf-8"
		a.raw, err = c.auditTable(page.Records)
	default:
		return nil, &Error{http.StatusBadRequest, registry.Invalid, "format", fmt.Sprintf("%.40q: use ndjson or csv", format)}
	}
	a.header["Content-Disposition"] = `attachment; filename="audit.` + ext + `"`
	if page.Next > 0 {
		a.header["Tidemark-Next"] = strconv.FormatInt(page.Next, 10)
	}
	return a, err
}

func auditLines(records []*registry.Record) ([]byte, error) {
	b := bytes.NewBuffer([]byte{})
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	for _, r := range records {
		if err := e.Encode(r); err != nil {
			return nil, fmt.Errorf("write record %d: %w", r.Seq, err)
		}
	}
	return b.Bytes(), nil
}

func (c *Console) auditTable(records []*registry.Record) ([]byte, error) {
	b := bytes.NewBuffer([]byte{})
	w := csv.NewWriter(b)
	if err := w.Write([]string{"seq", "time", "actor", "source", "action", "kind", "instanceId", "name", "before", "after"}); err != nil {
		return nil, err
	}
	for _, r := range records {
		row := []string{
			strconv.FormatInt(r.Seq, 10), time.UnixMilli(r.Time).In(c.cfg.Zone).Format(time.RFC3339), r.Actor, r.Source, string(r.Action),
			r.Object.Kind, r.Object.InstanceID, r.Object.Name, string(r.Before), string(r.After),
		}
		for i := range row {
			row[i] = cell(row[i])
		}
		if err := w.Write(row); err != nil {
			return nil, err
		}
	}
	w.Flush()
	return b.Bytes(), w.Error()
}

// cell keeps a spreadsheet from taking what somebody typed for a formula.
func cell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

// Model is the registry as this node has it; from its leader if consistent.
func (c *Console) Model(ctx context.Context, consistent bool) (*registry.Model, error) {
	if consistent {
		return c.newest(ctx)
	}
	m, _ := c.cfg.Registry.Now()
	return m, nil
}

func number(s string, otherwise int64) (int64, error) {
	if s == "" {
		return otherwise, nil
	}
	return strconv.ParseInt(s, 10, 64)
}

// parseTime reads a moment as epoch ms. A date without a time is a whole day in
// the zone: its first millisecond, or, as an end, its last. So is a second its
// last millisecond as an end: both ends are inclusive (spec D28).
func parseTime(s string, zone *time.Location, end bool) (int64, error) {
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil {
		return ms, nil
	}
	if t, err := time.ParseInLocation(time.DateOnly, s, zone); err == nil {
		if end {
			return t.AddDate(0, 0, 1).UnixMilli() - 1, nil
		}
		return t.UnixMilli(), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, "2006-01-02T15:04:05", "2006-01-02T15:04"} {
		t, err := time.ParseInLocation(layout, s, zone)
		if err != nil {
			continue
		}
		if end && t.Nanosecond() == 0 {
			step := time.Second
			if layout == "2006-01-02T15:04" {
				step = time.Minute
			}
			return t.Add(step).UnixMilli() - 1, nil
		}
		return t.UnixMilli(), nil
	}
	return 0, fmt.Errorf("%.40q: use a date such as 2024-04-10, a time such as 2024-04-10T18:02:52+08:00, or epoch milliseconds", s)
}
