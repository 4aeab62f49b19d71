package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/tidemarkio/tidemark/topology/registry"
)

const redeliverPath = v1 + "/instances/demo_APP1/redeliver"

// redeliveries are the operation records of redeliveries, oldest first.
func (d *desk) redeliveries() (all []redeliverDetail) {
	d.t.Helper()
	m, _ := d.r.Now()
	for _, r := range m.Audit(registry.AuditFilter{Limit: registry.MaxAuditPage}) {
		if r.Action != registry.Redeliver {
			continue
		}
		var detail redeliverDetail
		if err := json.Unmarshal(r.After, &detail); err != nil || r.Object.InstanceID != "demo_APP1" || r.Object.Name != "UCHAT" || r.Actor == "" {
			d.t.Errorf("record %+v: %v", r, err)
		}
		all = append(all, detail)
	}
	slices.Reverse(all)
	return all
}

// TestRedeliver: what moved is answered by target and recorded with before and
// after; a dry run does neither.
func TestRedeliver(t *testing.T) {
	d, h := furnished(t)
	h.points = map[string][]RewoundPoint{"u1": {{"u1", "d1", 9, 3}, {"u1", "d2", 7, 3}}, "u3": {{"u3", "d3", 5, 3}}}
	const answer = `"moved":[{"target":"u1","deviceId":"d1","from":9,"to":3},{"target":"u1","deviceId":"d2","from":7,"to":3},{"target":"u3","deviceId":"d3","from":5,"to":3}],"unmoved":["u2"]`
	body := `{"bizType":"UCHAT","targets":["u1","u2","u3"],"after":3`
	if got := d.ok("POST", redeliverPath, body+`,"dryRun":true}`); !strings.Contains(got, answer+`,"dryRun":true`) {
		t.Errorf("a dry run answered %s", got)
	}
	if len(h.moved) > 0 || len(d.redeliveries()) > 0 {
		t.Errorf("a dry run moved %v and made %d records", h.moved, len(d.redeliveries()))
	}
	if got := d.ok("POST", redeliverPath, body+`}`); !strings.Contains(got, answer+`,"dryRun":false`) {
		t.Errorf("answered %s", got)
	}
	records := d.redeliveries()
	if len(records) != 1 || *records[0].After != 3 || !slices.Equal(records[0].Points, h.moved) || len(h.moved) != 3 {
		t.Errorf("moved %v, records %+v", h.moved, records)
	}
	if got := d.ok("POST", redeliverPath, `{"bizType":"UCHAT","targets":["u2"],"since":1000}`); !strings.Contains(got, `"moved":[],"unmoved":["u2"]`) || len(d.redeliveries()) != 1 {
		t.Errorf("nothing to move: %s", got)
	}
}

// TestRedeliverRefuses names what is wrong, and moves nothing.
func TestRedeliverRefuses(t *testing.T) {
	d, h := furnished(t)
	h.points = map[string][]RewoundPoint{"u1": {{"u1", "", 9, 3}}}
	many := make([]string, RedeliverTargetsMax+1)
	for i := range many {
		many[i] = fmt.Sprint("t", i)
	}
	tooMany, err := json.Marshal(many)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		body   string
		status int
		path   string
	}{
		{`{"targets":["u1"],"after":0}`, 400, "bizType"},
		{`{"bizType":"UCHAT","after":0}`, 400, "targets"},
		{`{"bizType":"UCHAT","targets":` + string(tooMany) + `,"after":0}`, 400, "targets"},
		{`{"bizType":"UCHAT","targets":["u1",""],"after":0}`, 400, "targets[1]"},
		{`{"bizType":"UCHAT","targets":["u1","u1"],"after":0}`, 400, "targets[1]"},
		{`{"bizType":"UCHAT","targets":["u1"]}`, 400, "after"},
		{`{"bizType":"UCHAT","targets":["u1"],"after":1,"since":1}`, 400, "after"},
		{`{"bizType":"UCHAT","targets":["u1"],"after":-1}`, 400, "after"},
		{`{"bizType":"UCHAT","targets":["u1"],"since":-1}`, 400, "since"},
		{`{"bizType":"UCHAT","targets":["u1"],"after":1,"deviceId":"d1"}`, 400, "deviceId"},
		{`{"bizType":"PING","targets":["u1"],"after":1}`, 409, "bizType"},
		{`{"bizType":"NONE","targets":["u1"],"after":1}`, 404, "bizType"},
	} {
		w := d.call("POST", redeliverPath, c.body)
		if w.Code != c.status || !strings.Contains(w.Body.String(), `"path":"`+c.path+`"`) {
			t.Errorf("%.100s: %d %s, want %d about %s", c.body, w.Code, w.Body, c.status, c.path)
		}
	}
	h.points["u2"] = slices.Repeat([]RewoundPoint{{"u2", "d", 9, 3}}, RedeliverPointsMax+1)
	if w := d.call("POST", redeliverPath, `{"bizType":"UCHAT","targets":["u2"],"after":1}`); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "fewer targets") {
		t.Errorf("too many points: %d %s", w.Code, w.Body)
	}
	if len(h.moved) > 0 || len(d.redeliveries()) > 0 {
		t.Errorf("moved %v, %d records", h.moved, len(d.redeliveries()))
	}
	d, _ = furnished(t, func(c *Config) { c.Redeliverer = nil })
	if w := d.call("POST", redeliverPath, `{"bizType":"UCHAT","targets":["u1"],"after":1}`); w.Code != http.StatusServiceUnavailable {
		t.Errorf("without an edge: %d", w.Code)
	}
}

// TestRedeliverWithoutRecord: if the operation cannot be recorded, nothing
// moves; and what does not fit into one record stands in the next.
func TestRedeliverWithoutRecord(t *testing.T) {
	d, h := furnished(t)
	name := strings.Repeat("<", 100) // six bytes each, as JSON has it
	h.points = map[string][]RewoundPoint{"u1": slices.Repeat([]RewoundPoint{{name, name, 9, 3}}, 120)}
	const body = `{"bizType":"UCHAT","targets":["u1"],"after":1}`
	d.ok("POST", redeliverPath, body)
	told := 0
	for _, r := range d.redeliveries() {
		told += len(r.Points)
	}
	if told != 120 || len(h.moved) != 120 || len(d.redeliveries()) < 2 {
		t.Errorf("%d points in %d records, %d moved", told, len(d.redeliveries()), len(h.moved))
	}
	h.moved = nil
	d.r.down = errTest
	if w := d.call("POST", redeliverPath, body); w.Code < 400 || len(h.moved) > 0 {
		t.Errorf("without a record: %d, %d moved", w.Code, len(h.moved))
	}
}

// TestRedeliverPage: the page shows what would move, asks, and then does it; who
// may not is not offered it.
func TestRedeliverPage(t *testing.T) {
	d, parts, role := pageDesk(t)
	parts.target = &Target{InstanceID: "default_APP1", Dimension: "user", Name: "alice", Known: true, Configs: []TargetConfig{{BizType: "UCHAT", Head: 3, Acked: 3}}}
	const page = "/query/redeliver?i=default_APP1&b=UCHAT&q=alice"
	if list := d.call("GET", "/query?i=default_APP1&d=user&q=alice", "").Body.String(); !strings.Contains(list, strings.ReplaceAll(page, "&", "&amp;")) {
		t.Error("the data query offers no redelivery")
	}
	plan := d.submit(page, url.Values{"after": {"1"}}).Body.String()
	for _, want := range []string{"&lt;phone&gt;", `<td class="n">3</td><td class="n">1</td>`, `name="really" value="true"`, `name="after" value="1"`} {
		if !strings.Contains(plan, want) {
			t.Errorf("no %s in %s", want, mainOf(plan))
		}
	}
	if len(parts.rewound) > 0 {
		t.Fatal("moved before it was confirmed")
	}
	if done := d.submit(page, url.Values{"after": {"1"}, "really": {"true"}}).Body.String(); !strings.Contains(done, texts["redelivered"].English) || len(parts.rewound) != 1 || parts.rewound[0] != (RewoundPoint{"alice", "<phone>", 3, 1}) {
		t.Errorf("moved %v, said %s", parts.rewound, mainOf(done))
	}
	for form, want := range map[string]string{"after=7": texts["redeliverNone"].English, "after=x": "an oplog id", "after=1&device=d1": "leave it out"} {
		q, err := url.ParseQuery(form)
		if err != nil {
			t.Fatal(err)
		}
		if w := d.submit(page, q); !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s", form, w.Code, mainOf(w.Body.String()))
		}
	}
	*role = registry.Viewer
	if w := d.submit(page, url.Values{"after": {"1"}, "really": {"true"}}); w.Code != http.StatusForbidden || len(parts.rewound) != 1 {
		t.Errorf("a viewer: %d, moved %v", w.Code, parts.rewound)
	}
	if list := d.call("GET", "/query?i=default_APP1&d=user&q=alice", "").Body.String(); strings.Contains(list, "redeliver") {
		t.Error("a viewer is offered a redelivery")
	}
}
