package console

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemarkio/tidemark/topology/registry"
)

type recordsData struct {
	Query   url.Values
	Action  string
	Actions []registry.ActionInfo
	Records []*registry.Record
	Pager   pager
	Dropped int64
	Export  string
}

func (c *Console) recordsPage(v *view) error {
	q := v.r.URL.Query()
	d := &recordsData{Query: q, Action: q.Get("action"), Actions: registry.Actions}
	m, err := c.newest(v.r.Context())
	if err != nil {
		return err
	}
	f, err := c.AuditFilter(q)
	if err != nil {
		d.Pager = pageOf(v.r, 0)
		return v.again(err, "records", "records", d)
	}
	found := c.AuditPage(m, f)
	d.Pager = pageOf(v.r, len(found.Records))
	d.Records, d.Dropped = rowsOf(d.Pager, found.Records), found.Dropped
	export := maps.Clone(q)
	export.Del("page")
	export.Set("format", "csv")
	d.Export = v1 + "/audit/export?" + export.Encode()
	return v.show("records", "records", d)
}

// ActionName is an action for people.
func (v *view) ActionName(a registry.Action) string {
	for _, info := range registry.Actions {
		if info.Action == a {
			return text{info.English, info.Chinese}.in(v.Lang)
		}
	}
	return string(a)
}

// recordField is a line of a record's detail.
type recordField struct {
	Name          string
	Before, After string
	Changed       bool
}

type recordData struct {
	*registry.Record
	Fields []recordField
	Both   bool // it has a before and an after: a modification
}

func (c *Console) recordPage(v *view) error {
	v.Nav, v.Title = "records", v.T("record")
	seq, err := strconv.ParseInt(v.query("seq"), 10, 64)
	m, err2 := c.newest(v.r.Context())
	if err2 != nil {
		return err2
	}
	r := m.AuditRecord(seq)
	if err != nil || r == nil {
		return &Error{http.StatusNotFound, registry.NotFound, "seq", fmt.Sprintf("no record %.20q: it was never made, or is no longer kept", v.query("seq"))}
	}
	return v.show("record", "records", recordData{r, v.fields(r), len(r.Before) > 0 && len(r.After) > 0})
}

// recordOrder is how a record's fields stand; others come after, sorted.
var recordOrder = []string{
	"id", "name", "instanceId", "bizType", "scope", "description", "target", "multiDevice", "persistent", "repush", "consistency", "online",
	"data", "uniqueId", "os", "appMinVersion", "appMaxVersion", "validDays", "validTimeEnd",
}

// nested are fields that are objects, of which each part is shown by itself.
var nested = []string{"sessionValidation", "jwt"}

// flat puts the parts of nested fields in their place.
func flat(fields map[string]json.RawMessage) map[string]json.RawMessage {
	for _, n := range nested {
		var parts map[string]json.RawMessage
		if json.Unmarshal(fields[n], &parts) != nil {
			continue
		}
		delete(fields, n)
		for name, b := range parts {
			fields[n+"."+name] = b
		}
	}
	return fields
}

// stamps change with every change, so they tell nothing.
var stamps = map[string]bool{"revision": true, "created": true, "updated": true}

func (v *view) fields(r *registry.Record) []recordField {
	before, after := flat(object(r.Before)), flat(object(r.After))
	names := slices.Collect(maps.Keys(after))
	for n := range before {
		if _, ok := after[n]; !ok {
			names = append(names, n)
		}
	}
	rank := func(n string) int {
		if i := slices.Index(recordOrder, n); i >= 0 {
			return i
		}
		return len(recordOrder)
	}
	slices.SortFunc(names, func(a, b string) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	var all []recordField
	for _, n := range names {
		f := recordField{Name: v.fieldName(r, n), Before: v.value(n, before[n]), After: v.value(n, after[n])}
		f.Changed = len(before) > 0 && len(after) > 0 && f.Before != f.After && !stamps[n]
		all = append(all, f)
	}
	return all
}

// fieldTexts are messages of fields whose names in JSON are others.
var fieldTexts = map[string]string{
	"instanceId": "instance", "bizType": "bizType", "os": "os", "appMinVersion": "minVersion", "appMaxVersion": "maxVersion",
	"sessionValidation.url": "validation", "sessionValidation.timeoutMillis": "timeout", "sessionValidation.allowPrivate": "validationPrivate",
	"jwt.algorithms": "algorithms", "jwt.secretId": "secretId", "jwt.publicKey": "publicKey", "jwt.jwks": "jwks", "jwt.allowPrivate": "jwksPrivate",
	"jwt.issuer": "issuer", "jwt.audience": "audience", "jwt.userClaim": "userClaim",
	"validTimeEnd": "validUntil", "msg": "state", "login": "lastLogin", "on": "signature", "id": "name",
}

func (v *view) fieldName(r *registry.Record, n string) string {
	if r.Action == registry.SyncCreate && n == "target" {
		return v.T("linkToken")
	}
	if key, ok := fieldTexts[n]; ok {
		return v.T(key)
	}
	return v.Name("", n)
}

// object reads a record's JSON object; anything else is one field.
func object(b json.RawMessage) map[string]json.RawMessage {
	if len(b) == 0 {
		return nil
	}
	var m map[string]json.RawMessage
	if json.Unmarshal(b, &m) != nil {
		return map[string]json.RawMessage{"value": b}
	}
	return m
}

// value words a field's JSON.
func (v *view) value(name string, b json.RawMessage) string {
	var s string
	var yes bool
	switch {
	case len(b) == 0:
		return "–"
	case json.Unmarshal(b, &s) == nil:
		if name == "scope" || name == "target" {
			return v.Name("", s)
		}
		if s == "" {
			return "–"
		}
		return s
	case json.Unmarshal(b, &yes) == nil:
		return v.YesNo(yes)
	}
	if ms, err := strconv.ParseInt(string(b), 10, 64); err == nil && (name == "created" || name == "updated" || name == "validTimeEnd" || name == "login") {
		return v.Time(ms)
	}
	var repush registry.Repush
	if name == "repush" && json.Unmarshal(b, &repush) == nil {
		if repush.Threshold > 0 {
			return fmt.Sprintf("%s %d", v.Name("", repush.Mode), repush.Threshold)
		}
		return v.Name("", repush.Mode)
	}
	return string(b)
}
