package console

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// pageParts stand for the rest of a node.
type pageParts struct {
	mu      sync.Mutex
	sent    []*schemas.Request
	more    chan struct{} // closed when something is sent
	target  *Target
	rewound []RewoundPoint
}

func (p *pageParts) Send(_ context.Context, r *schemas.Request) (schemas.Result, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	code := schemas.Success
	for _, before := range p.sent {
		if before.ThirdMsgID == r.ThirdMsgID {
			code = schemas.DuplicatedBizID
		}
	}
	p.sent = append(p.sent, r)
	close(p.more)
	p.more = make(chan struct{})
	return schemas.Result{Code: code, OplogID: int64(len(p.sent))}, nil
}

func (p *pageParts) Target(_ context.Context, instanceID, dimension, name string, _ int) (*Target, error) {
	if p.target != nil && p.target.Name == name {
		return p.target, nil
	}
	return &Target{InstanceID: instanceID, Dimension: dimension, Name: name}, nil
}

func (p *pageParts) PlanRewinds(_ context.Context, _, target string, f *RedeliverForm) ([]RewoundPoint, error) {
	if *f.After > 2 {
		return nil, nil
	}
	return []RewoundPoint{{target, "<phone>", 3, *f.After}}, nil
}

func (p *pageParts) Rewind(_ context.Context, _, _ string, points []RewoundPoint) error {
	p.rewound = append(p.rewound, points...)
	return nil
}

func (p *pageParts) Live(context.Context) (*Snapshot, error) {
	return &Snapshot{
		Ready: true, Node: "n1", Others: []OtherNode{{"n2", "http://10.0.0.2:8081"}, {"n3", ""}}, Rates: map[string]float64{"calls": 120, "decided": 118.5, "delivered": 97, "acknowledged": 96},
		Latency: map[string]Latency{"call": {0.002, 0.009, 0.021, 1200}, "delivery": {0.004, 0.015, 0.04, 1100}, "ack": {0.005, 0.02, 0.05, 1090}}, Connections: 42,
		Partitions: []PartitionLive{{Partition: 0, State: "running", Lag: 3}, {Partition: 1, State: "parked", Lag: 9, Reason: "<b>positions are missing</b>"}},
		Parked:     1, Quorum: QuorumLive{State: "leader", Leader: "n1", Ready: true, Members: 3, Reachable: 3, Revision: 7},
	}, nil
}

func (p *pageParts) Follow(ctx context.Context, q TailQuery, emit func(*TailEntry) error) error {
	for i := range min(q.Last, 3) {
		if err := emit(&TailEntry{InstanceID: "default_APP1", BizType: "UCHAT", LinkToken: "<alice>", OplogID: int64(i + 1), ThirdMsgID: "m1", Payload: "<script>alert(1)</script>"}); err != nil {
			return err
		}
	}
	for n := 0; ; {
		p.mu.Lock()
		news, more := p.sent[n:], p.more
		p.mu.Unlock()
		for _, r := range news {
			n++
			if err := emit(&TailEntry{InstanceID: r.InstanceID, BizType: r.BizType, LinkToken: r.LinkToken, OplogID: int64(n), ThirdMsgID: r.ThirdMsgID, Payload: r.Payload}); err != nil {
				return err
			}
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pageDesk is a desk with an instance, a config, parts, and a role for who calls.
func pageDesk(t *testing.T) (*desk, *pageParts, *registry.Role) {
	t.Helper()
	parts, role := &pageParts{more: make(chan struct{})}, new(registry.Role)
	*role = registry.Admin
	d := newDesk(t, func(c *Config) {
		c.Stats, c.Sender, c.Redeliverer, c.Tail, c.Live = parts, parts, parts, parts, parts
		c.Authorize = func(*http.Request) (Caller, error) { return Caller{Name: "ann", Role: *role}, nil }
	})
	d.ok("POST", "/api/v1/instances", `{"id":"default_APP1"}`)
	d.ok("POST", "/api/v1/instances/default_APP1/sync", `{"bizType":"UCHAT","scope":"specified","target":"user"}`)
	return d, parts, role
}

// submit posts a form.
func (d *desk) submit(path string, form url.Values, change ...func(*http.Request)) *httptest.ResponseRecorder {
	d.t.Helper()
	change = append([]func(*http.Request){func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") }}, change...)
	return d.call("POST", path, form.Encode(), change...)
}

// done is submit for what must succeed.
func (d *desk) done(path string, form url.Values) string {
	d.t.Helper()
	w := d.submit(path, form)
	if w.Code != http.StatusSeeOther {
		d.t.Fatalf("POST %s: %d %s", path, w.Code, mainOf(w.Body.String()))
	}
	return w.Header().Get("Location")
}

// mainOf is a page without what stands around it.
func mainOf(page string) string {
	if _, rest, ok := strings.Cut(page, "<main"); ok {
		return rest
	}
	return page
}

func inChinese(r *http.Request) { r.Header.Set("Accept-Language", "zh-CN,zh;q=0.9,en;q=0.5") }

const config1 = "?i=default_APP1&b=UCHAT"

// everyPage are the addresses of all pages, for an admin.
var everyPage = []string{
	"/", "/help", "/login", "/password", "/configs", "/configs?i=default_APP1&q=uch", "/config" + config1, "/config/new", "/config/edit" + config1,
	"/config/send" + config1, "/config/online" + config1, "/config/offline" + config1, "/config/delete" + config1,
	"/query", "/query?i=default_APP1&d=user&q=alice", "/query/redeliver?i=default_APP1&b=UCHAT&q=alice", "/service", "/service/signature?on=true", "/records", "/record?seq=2",
	"/oplog", "/oplog?once=1", "/instances", "/instance?i=default_APP1", "/instance/new", "/instance/edit?i=default_APP1", "/instance/delete?i=default_APP1",
	"/key/new?i=default_APP1", "/key/revoke?i=default_APP1&kind=api&id=x", "/users", "/user/new", "/user/edit?name=bob", "/user/delete?name=bob", "/user/unlock?kind=user&name=eve",
}

func addBob(d *desk) {
	d.ok("POST", "/api/v1/users", `{"name":"bob","role":"viewer","password":"correct horse 9"}`)
}

// Every page renders in both languages, under its policy, and is listed above.
func TestEveryPage(t *testing.T) {
	d, _, _ := pageDesk(t)
	addBob(d)
	seen := make(map[string]bool)
	for _, path := range everyPage {
		bare, _, _ := strings.Cut(path, "?")
		seen[bare] = true
		for _, lang := range languages {
			w := d.call("GET", path, "", func(r *http.Request) { r.Header.Set("Accept-Language", lang) })
			page := w.Body.String()
			if w.Code != http.StatusOK || !strings.Contains(page, `<html lang="`+lang+`"`) || !strings.HasSuffix(strings.TrimSpace(page), "</html>") {
				t.Errorf("%s %s: %d %s", lang, path, w.Code, mainOf(page))
			}
			if w.Header().Get("Content-Security-Policy") != policy || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%s: headers %v", path, w.Header())
			}
			if regexp.MustCompile(`<style|<script>| style=| on[a-z]+="|https?://`).MatchString(strings.Replace(page, `<a href="http://10.0.0.2:8081">`, "", 1)) { // another node's door is a link, nothing that is loaded
				t.Errorf("%s holds what its policy forbids: %s", path, page)
			}
		}
	}
	for _, p := range d.c.pages() {
		if bare := strings.TrimSuffix(p.path, "{$}"); p.get != nil && !seen[bare] {
			t.Errorf("page %s is not tested", bare)
		}
	}
}

// The overview has words for all that it shows.
func TestOverviewPage(t *testing.T) {
	d, _, _ := pageDesk(t)
	page := d.call("GET", "/", "").Body.String()
	for _, want := range []string{">Calls<", ">Decided<", ">Delivered<", ">Acknowledged<", ">Acknowledgement<", `data-rate="decided">118.5<`, ">21.0<", ">3/3<", ">parked<", `<b>n1</b>`, `<a href="http://10.0.0.2:8081">n2</a> n3</p>`} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s in %s", want, mainOf(page))
		}
	}
}

// Every message that a template names exists, in both languages.
func TestTexts(t *testing.T) {
	for key, m := range texts {
		if m.English == "" || m.Chinese == "" {
			t.Errorf("message %s is not in both languages", key)
		}
	}
	entries, err := web.ReadDir("web")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`(?:\.T|\.Entry) "([^"]+)"`)
	for _, e := range entries {
		b, err := web.ReadFile("web/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllStringSubmatch(string(b), -1) {
			if _, ok := texts[m[1]]; !ok {
				t.Errorf("%s names message %q, which does not exist", e.Name(), m[1])
			}
		}
	}
	for _, fields := range []map[string]string{fieldTexts, problemFields} {
		for field, key := range fields {
			if _, ok := texts[key]; !ok {
				t.Errorf("field %s has message %q, which does not exist", field, key)
			}
		}
	}
}

// The labels of spec 1.5, verbatim.
func TestChineseLabels(t *testing.T) {
	d, _, _ := pageDesk(t)
	for path, labels := range map[string][]string{
		"/configs":               {"配置管理", "数据查询", "服务管理", "操作记录", "新建同步配置", "下线"},
		"/config/new":            {"同步标识", "推送范围", "推送说明", "推送对象", "多设备同步", "数据持久化", "重推方式", "重推阈值", "用户一致性", "确定"},
		"/config" + config1:      {"修改"},
		"/config/edit" + config1: {"保存"},
		"/config/send" + config1: {"新建同步", "用户 ID", "数据内容", "数据唯一 ID", "系统", "版本区间", "有效期"},
		"/records":               {"新建配置", "修改配置", "删除配置", "新建同步", "上线配置", "下线配置", "开启签名", "关闭签名", "搜索"},
	} {
		page := d.call("GET", path, "", inChinese).Body.String()
		for _, l := range labels {
			if !strings.Contains(page, l) {
				t.Errorf("%s lacks %s", path, l)
			}
		}
	}
}

func createForm(change map[string]string) url.Values {
	f := url.Values{"instance": {"default_APP1"}, "bizType": {"NEW"}, "scope": {"specified"}, "target": {"user"}, "multiDevice": {"false"}, "persistent": {"true"}, "repush": {"queue"}, "consistency": {"false"}}
	for k, v := range change {
		f.Set(k, v)
	}
	return f
}

// S003-132 to S003-139, S003-171, S003-175: the form's rules hold at the server.
func TestCreateConfig(t *testing.T) {
	d, _, _ := pageDesk(t)
	at := d.done("/config/new", createForm(nil))
	if page := d.call("GET", at, "").Body.String(); !strings.Contains(page, ">Online<") {
		t.Errorf("a new config is not shown online: %s", mainOf(page))
	}
	if got := d.audit(1); got[0] != registry.ConfigCreate {
		t.Errorf("audit %v", got)
	}
	for name, bad := range map[string]map[string]string{
		"again":        {"bizType": "UCHAT"},
		"empty":        {"bizType": ""},
		"long":         {"bizType": strings.Repeat("x", 31)},
		"no threshold": {"bizType": "T1", "repush": "threshold"},
		"threshold 0":  {"bizType": "T2", "repush": "threshold", "threshold": "0"},
		"no scope":     {"bizType": "T3", "scope": ""},
	} {
		w := d.submit("/config/new", createForm(bad))
		if w.Code/100 != 4 || !strings.Contains(w.Body.String(), `role="alert"`) || !strings.Contains(w.Body.String(), "<form") {
			t.Errorf("%s: %d %s", name, w.Code, mainOf(w.Body.String()))
		}
	}
	for name, c := range map[string]struct {
		form map[string]string
		want registry.Sync
	}{
		"lower-case": {map[string]string{"threshold": "9"}, registry.Sync{Scope: "specified", Target: "user", Persistent: true, Repush: &registry.Repush{Mode: "queue"}}},
		"device":     {map[string]string{"target": "device", "multiDevice": "true", "consistency": "true"}, registry.Sync{Scope: "specified", Target: "device", Persistent: true, Repush: &registry.Repush{Mode: "queue"}}},
		"fleeting":   {map[string]string{"persistent": "false", "repush": "threshold", "threshold": "5"}, registry.Sync{Scope: "specified", Target: "user"}},
		"newest":     {map[string]string{"repush": "threshold", "threshold": "5"}, registry.Sync{Scope: "specified", Target: "user", Persistent: true, Repush: &registry.Repush{Mode: "threshold", Threshold: 5}}},
		"world":      {map[string]string{"scope": "global", "persistent": "false"}, registry.Sync{Scope: "global", Target: "user", MultiDevice: true, Persistent: true, Repush: &registry.Repush{Mode: "queue"}}},
	} {
		c.form["bizType"] = name
		d.done("/config/new", createForm(c.form))
		c.want.InstanceID, c.want.BizType, c.want.Online = "default_APP1", name, true
		if got := d.r.m.Sync("default_APP1", name); got == nil || !got.Same(&c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// S003-141 to S003-144: modify, offline, online, delete.
func TestConfigActions(t *testing.T) {
	d, _, _ := pageDesk(t)
	get := func() *registry.Sync { return d.r.m.Sync("default_APP1", "UCHAT") }
	revision := fmt.Sprint(get().Revision)
	edit := url.Values{"expect": {revision}, "persistent": {"true"}, "repush": {"threshold"}, "threshold": {"7"}, "consistency": {"true"}, "description": {"chat"}, "scope": {"global"}, "target": {"device"}, "multiDevice": {"true"}}
	d.done("/config/edit"+config1, edit)
	if s := get(); s.Description != "chat" || s.Repush.Threshold != 7 || !s.Consistency || s.Scope != "specified" || s.Target != "user" || s.MultiDevice {
		t.Errorf("modified to %+v", s)
	}
	if got := d.audit(1); got[0] != registry.ConfigModify {
		t.Errorf("audit %v", got)
	}
	edit.Set("description", "late")
	if w := d.submit("/config/edit"+config1, edit); w.Code != http.StatusConflict || get().Description != "chat" {
		t.Errorf("a form of an older revision: %d", w.Code)
	}
	if w := d.submit("/config/delete"+config1, nil); w.Code != http.StatusConflict || get() == nil {
		t.Errorf("deleting an online config: %d", w.Code)
	}
	// Asking changes nothing.
	d.call("GET", "/config/offline"+config1, "")
	if !get().Online {
		t.Error("the question alone took the config offline")
	}
	d.done("/config/offline"+config1, nil)
	if get().Online {
		t.Error("it is online still")
	}
	if w := d.submit("/config/send"+config1, url.Values{"target": {"alice"}, "data": {"x"}, "uniqueId": {"1"}, "os": {"iOS"}, "validDays": {"30"}}); w.Code != http.StatusConflict {
		t.Errorf("sending to an offline config: %d", w.Code)
	}
	d.done("/config/online"+config1, nil)
	d.done("/config/offline"+config1, nil)
	if at := d.done("/config/delete"+config1, nil); get() != nil || at != "/configs?done=deleted" {
		t.Errorf("deleted: %v, then %s", get(), at)
	}
	want := []registry.Action{registry.ConfigDelete, registry.ConfigOffline, registry.ConfigOnline, registry.ConfigOffline}
	if got := d.audit(4); !slices.Equal(got, want) {
		t.Errorf("audit %v, want %v", got, want)
	}
}

// S003-145 to S003-154: the form for sending data.
func TestSendPage(t *testing.T) {
	d, parts, _ := pageDesk(t)
	page := d.call("GET", "/config/send"+config1, "").Body.String()
	if !strings.Contains(page, "User ID") || strings.Count(page, " checked") != 2 || !strings.Contains(page, `name="validDays" type="number" min="1" max="3650" value="30"`) {
		t.Errorf("the form is not as it should be: %s", mainOf(page))
	}
	form := url.Values{"target": {"alice"}, "data": {" hello "}, "uniqueId": {"m1"}, "os": {"Android", "iOS"}, "appMinVersion": {"1.0"}, "appMaxVersion": {"2.0"}, "validDays": {"3"}}
	if w := d.submit("/config/send"+config1, form); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "Accepted") {
		t.Fatalf("send: %d %s", w.Code, mainOf(w.Body.String()))
	}
	want := schemas.Request{
		InstanceID: "default_APP1", BizType: "UCHAT", Scope: "specified", LinkToken: "alice", ThirdMsgID: "m1", Payload: " hello ",
		AppMinVersion: "1.0", AppMaxVersion: "2.0", ValidTimeEnd: d.now.AddDate(0, 0, 3).UnixMilli(),
	}
	if got := *parts.sent[0]; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("sent %+v, want %+v", got, want)
	}
	if got := d.audit(1); got[0] != registry.SyncCreate {
		t.Errorf("audit %v", got)
	}
	for field, bad := range map[string]string{"target": "", "data": "", "uniqueId": "", "os": "", "validDays": "0"} {
		f := url.Values{}
		for k, v := range form {
			f[k] = v
		}
		f.Set(field, bad)
		if bad == "" {
			f.Del(field)
		}
		if w := d.submit("/config/send"+config1, f); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), `role="alert"`) {
			t.Errorf("%s=%q: %d", field, bad, w.Code)
		}
	}
	form["os"] = []string{"iOS"}
	form.Set("uniqueId", "m2")
	d.submit("/config/send"+config1, form)
	if got := parts.sent[len(parts.sent)-1]; got.OSType != "iOS" {
		t.Errorf("sent %+v", got)
	}
	for _, c := range []struct{ body, want, not string }{
		{`{"bizType":"DEV","scope":"specified","target":"device"}`, "Device ID", "User ID"},
		{`{"bizType":"DEV","scope":"global","target":"user"}`, "Everybody gets it", `name="target"`},
		{`{"bizType":"DEV","scope":"specified","target":"user","persistent":false}`, "May be left empty", "Unique ID *"},
	} {
		d.ok("POST", "/api/v1/instances/default_APP1/sync", c.body)
		page := d.call("GET", "/config/send?i=default_APP1&b=DEV", "").Body.String()
		if !strings.Contains(page, c.want) || strings.Contains(page, c.not) {
			t.Errorf("%s: want %q and no %q in %s", c.body, c.want, c.not, mainOf(page))
		}
		d.done("/config/offline?i=default_APP1&b=DEV", nil)
		d.done("/config/delete?i=default_APP1&b=DEV", nil)
	}
}

// S003-155 to S003-160: the data query.
func TestQueryPage(t *testing.T) {
	d, parts, _ := pageDesk(t)
	parts.target = &Target{InstanceID: "default_APP1", Dimension: "user", Name: "<alice>", Known: true, Connected: true, Pushes: 3, Arrivals: 2,
		Configs:  []TargetConfig{{BizType: "UCHAT", Head: 3, Acked: 2, Pushes: 3, Arrivals: 2}},
		PushList: []TargetPush{{BizType: "UCHAT", OplogID: 3, ThirdMsgID: "m<3>"}, {BizType: "UCHAT", OplogID: 2, ThirdMsgID: "m2", Arrived: true}}}
	page := d.call("GET", "/query?d=user&q=%3Calice%3E", "").Body.String()
	for _, want := range []string{"&lt;alice&gt;", ">Connected<", "data-pushes>3<", "data-arrivals>2<", "m&lt;3&gt;", ">Arrived<", ">Waiting<"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s in %s", want, mainOf(page))
		}
	}
	parts.target.Connected = false
	if page := d.call("GET", "/query?d=user&q=%3Calice%3E", "").Body.String(); !strings.Contains(page, ">Not connected<") {
		t.Error("the status did not follow")
	}
	if w := d.call("GET", "/query?d=device&q=nobody", ""); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), texts["unknown"].English) {
		t.Errorf("an unknown name: %d", w.Code)
	}
}

// S003-161: the signature switch.
func TestServicePage(t *testing.T) {
	d, _, _ := pageDesk(t)
	d.done("/service/signature?on=true", nil)
	if !d.r.m.Signature() || !strings.Contains(d.call("GET", "/service", "").Body.String(), "Turn off") {
		t.Error("signatures are not on")
	}
	d.done("/service/signature?on=false", nil)
	if got := d.audit(2); d.r.m.Signature() || !slices.Equal(got, []registry.Action{registry.SignatureOff, registry.SignatureOn}) {
		t.Errorf("audit %v", got)
	}
	if w := d.submit("/service/signature", nil); w.Code != http.StatusBadRequest {
		t.Errorf("neither on nor off: %d", w.Code)
	}
}

// S003-163 to S003-170: operation records.
func TestRecordsPage(t *testing.T) {
	d, _, _ := pageDesk(t)
	d.done("/config/edit"+config1, url.Values{"persistent": {"true"}, "repush": {"threshold"}, "threshold": {"7"}, "consistency": {"false"}, "description": {"<i>chat</i>"}})
	seq := d.r.m.Audit(registry.AuditFilter{Limit: 1})[0].Seq
	page := d.call("GET", fmt.Sprintf("/record?seq=%d", seq), "").Body.String()
	rows := regexp.MustCompile(`(?s)<tr class="changed"><th scope="row">([^ <]+)[^<]*<small`).FindAllStringSubmatch(page, -1)
	var changed []string
	for _, r := range rows {
		changed = append(changed, r[1])
	}
	if !slices.Equal(changed, []string{"Description", "Re-push"}) || !strings.Contains(page, "Threshold 7") || !strings.Contains(page, "&lt;i&gt;chat") || strings.Contains(page, "<i>chat") {
		t.Errorf("changed fields %v: %s", changed, mainOf(page))
	}
	if !strings.Contains(page, "2024-04-10 18:02:52") {
		t.Error("no time to the second")
	}
	count := func(query string) string {
		page := d.call("GET", "/records?"+query, "").Body.String()
		if m := regexp.MustCompile(`data-rows="(\d+)"`).FindStringSubmatch(page); m != nil {
			return m[1]
		}
		return "0"
	}
	for query, want := range map[string]string{"actor=ann&action=config.modify": "1", "actor=nobody": "0", "action=config.create": "1", "from=2024-04-10&to=2024-04-10&action=config.create": "1", "to=2024-04-09": "0"} {
		if got := count(query); got != want {
			t.Errorf("%s: %s records, want %s", query, got, want)
		}
	}
	for i := range 1100 {
		if _, err := d.r.apply(registry.Command{Time: d.now.UnixMilli(), Actor: "ann", Ops: []registry.Op{registry.SetOnline{InstanceID: "default_APP1", BizType: "UCHAT", Online: i%2 == 1}}}); err != nil {
			t.Fatal(err)
		}
	}
	newest := fmt.Sprintf("/record?seq=%d\"", d.r.m.Audit(registry.AuditFilter{Limit: 1})[0].Seq)
	if page := d.call("GET", "/records", "").Body.String(); count("") != "1000" || !strings.Contains(page, newest) || strings.Count(page, "<tr>") != pageRows+1 {
		t.Errorf("of 1100 records and more %s are listed", count(""))
	}
	if page := d.call("GET", "/records?page=10", "").Body.String(); strings.Contains(page, `rel="next"`) || !strings.Contains(page, `rel="prev"`) {
		t.Error("the list does not end at 1000 records")
	}
	d.now = d.now.AddDate(0, 0, 8)
	if got := count(""); got != "0" {
		t.Errorf("%s records older than 7 days are shown without a range", got)
	}
	if w := d.call("GET", "/records?from=yesterday", ""); w.Code != http.StatusBadRequest {
		t.Errorf("a bad date: %d", w.Code)
	}
}

// What somebody typed is shown as it is, and never becomes part of a page.
func TestHostileNames(t *testing.T) {
	d, _, _ := pageDesk(t)
	const name, text = `"><b>x&y</b>`, `</td><script>alert(1)</script>`
	at := d.done("/config/new", createForm(map[string]string{"bizType": name, "description": text}))
	escaped := url.Values{"i": {"default_APP1"}, "b": {name}}.Encode()
	for _, path := range []string{at, "/configs", "/config/edit?" + escaped, "/config/send?" + escaped, "/config/offline?" + escaped, "/records", "/configs?q=" + url.QueryEscape(text), "/query?q=" + url.QueryEscape(text), "/oplog?once=1&t=" + url.QueryEscape(text), "/nowhere" + url.PathEscape(text), "/"} {
		page := d.call("GET", path, "").Body.String()
		if strings.Contains(page, "<b>x") || strings.Contains(page, "<script>") || strings.Contains(page, "<b>positions") {
			t.Errorf("%s: %s", path, mainOf(page))
		}
	}
	d.done("/config/offline?"+escaped, nil)
	if s := d.r.m.Sync("default_APP1", name); s == nil || s.Online {
		t.Errorf("it cannot be taken offline by its address: %+v", s)
	}
}

// A viewer sees no button that writes and cannot write; an operator cannot
// reach what is an admin's.
func TestPageRights(t *testing.T) {
	d, parts, role := pageDesk(t)
	addBob(d)
	for _, c := range []struct {
		role registry.Role
		hide []string
	}{
		{registry.Viewer, []string{"/new", "/edit", "/send", "/online", "/offline", "/delete", "/signature", "/revoke", "/users", "/oplog"}},
		{registry.Operator, []string{"/signature", "/revoke", "/users", "/key/new"}},
	} {
		*role = c.role
		for _, path := range []string{"/", "/configs", "/config" + config1, "/service", "/records", "/instances", "/instance?i=default_APP1", "/query"} {
			page := d.call("GET", path, "").Body.String()
			for _, h := range c.hide {
				if regexp.MustCompile(`href="[^"?]*` + h + `["?]`).MatchString(page) {
					t.Errorf("%s is shown %s on %s", c.role, h, path)
				}
			}
			if strings.Contains(page, `method="post"`) {
				t.Errorf("%s is shown a form that writes on %s", c.role, path)
			}
		}
		before := d.r.m.Revision()
		for _, p := range d.c.pages() {
			if c.role.May(p.role) {
				continue
			}
			path := p.path + config1 + "&name=bob&on=true"
			if p.get != nil {
				if w := d.call("GET", path, ""); w.Code != http.StatusForbidden {
					t.Errorf("%s: GET %s: %d", c.role, p.path, w.Code)
				}
			}
			if p.post != nil {
				if w := d.submit(path, createForm(nil)); w.Code != http.StatusForbidden {
					t.Errorf("%s: POST %s: %d", c.role, p.path, w.Code)
				}
			}
		}
		if d.r.m.Revision() != before || len(parts.sent) != 0 {
			t.Errorf("%s changed something", c.role)
		}
	}
}

// With a session every form that writes has its token, and none does without.
func TestPageLogin(t *testing.T) {
	d := newDesk(t, func(c *Config) { c.Authorize = WithToken("a token") })
	if _, err := d.c.EnsureAdmin(t.Context(), "correct horse 9"); err != nil {
		t.Fatal(err)
	}
	w := d.call("GET", "/configs?q=x", "")
	if at := w.Header().Get("Location"); w.Code != http.StatusSeeOther || at != "/login?back=%2Fconfigs%3Fq%3Dx" {
		t.Fatalf("without a session: %d %s", w.Code, at)
	}
	if w := d.submit("/instance/new", url.Values{"id": {"a_B"}}); w.Code != http.StatusUnauthorized {
		t.Errorf("a write without a session: %d", w.Code)
	}
	if w := d.submit("/login", url.Values{"name": {"admin"}, "password": {"wrong"}}); w.Code != http.StatusUnauthorized || strings.Contains(w.Body.String(), "wrong\"") {
		t.Errorf("a wrong password: %d", w.Code)
	}
	w = d.submit("/login", url.Values{"name": {"admin"}, "password": {"correct horse 9"}, "back": {"https://example.org/"}})
	if at := w.Header().Get("Location"); w.Code != http.StatusSeeOther || at != "/" {
		t.Fatalf("login: %d, to %q", w.Code, at)
	}
	cookie := w.Result().Cookies()[0]
	in := func(r *http.Request) { r.AddCookie(cookie) }
	page := d.call("GET", "/instance/new", "", in).Body.String()
	token := regexp.MustCompile(`name="csrf" value="([0-9a-f]+)"`).FindAllStringSubmatch(page, -1)
	if len(token) != strings.Count(page, `method="post"`) || len(token) != 2 {
		t.Fatalf("%d tokens in %s", len(token), page)
	}
	for _, csrf := range []string{"", "00"} {
		if w := d.submit("/instance/new", url.Values{"id": {"a_B"}, "csrf": {csrf}}, in); w.Code != http.StatusForbidden || d.r.m.Instance("a_B") != nil {
			t.Errorf("token %q: %d", csrf, w.Code)
		}
	}
	if w := d.submit("/instance/new", url.Values{"id": {"a_B"}, "csrf": {token[0][1]}}, in); w.Code != http.StatusSeeOther || d.r.m.Instance("a_B") == nil {
		t.Errorf("with the token: %d", w.Code)
	}
	if w := d.submit("/logout", url.Values{"csrf": {token[0][1]}}, in); w.Code != http.StatusSeeOther {
		t.Errorf("logout: %d", w.Code)
	}
	if w := d.call("GET", "/", "", in); w.Code != http.StatusSeeOther {
		t.Errorf("after logout: %d", w.Code)
	}
}

func TestMissingPages(t *testing.T) {
	d, _, _ := pageDesk(t)
	for _, path := range []string{"/nowhere", "/config?i=default_APP1&b=OTHER", "/config/edit?i=x&b=y", "/instance?i=x", "/record?seq=999", "/record?seq=x", "/user/edit?name=x", "/assets/x.css", "/assets/layout.html", "/api/v1/nothing"} {
		if w := d.call("GET", path, ""); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func TestPreference(t *testing.T) {
	d, _, _ := pageDesk(t)
	for back, want := range map[string]string{"/configs?q=x": "/configs?q=x", "//evil.example": "/", "https://evil.example": "/", `/\evil.example`: "/", "": "/"} {
		w := d.call("GET", "/preference?lang=zh-CN&theme=dark&back="+url.QueryEscape(back), "")
		if got := w.Header().Get("Location"); got != want || len(w.Result().Cookies()) != 2 {
			t.Errorf("back to %q: %q", back, got)
		}
		page := d.call("GET", "/", "", func(r *http.Request) {
			for _, c := range w.Result().Cookies() {
				r.AddCookie(c)
			}
		}).Body.String()
		if !strings.Contains(page, `<html lang="zh-CN" data-theme="dark">`) {
			t.Error("the choice is not kept")
		}
	}
}

// Keys, instances and users are made and changed from pages too.
func TestAdminPages(t *testing.T) {
	d, _, _ := pageDesk(t)
	d.done("/instance/new", url.Values{"id": {"default_APP2"}, "description": {"second"}})
	d.done("/instance/edit?i=default_APP2", url.Values{"description": {"other"}, "url": {"https://tenant.example/validate"}, "timeoutMillis": {"500"}})
	if i := d.r.m.Instance("default_APP2"); i.Description != "other" || i.SessionValidation == nil || i.SessionValidation.TimeoutMillis != 500 {
		t.Errorf("instance %+v", i)
	}
	d.done("/instance/edit?i=default_APP2", url.Values{"description": {"other"}})
	if i := d.r.m.Instance("default_APP2"); i.SessionValidation != nil {
		t.Errorf("instance %+v", i)
	}
	w := d.submit("/key/new?i=default_APP2", url.Values{"for": {"api"}, "label": {"backend"}, "hours": {"0"}})
	m := regexp.MustCompile(`data-secret>(ak_[^<]+)<`).FindStringSubmatch(w.Body.String())
	if m == nil || d.r.m.CheckKey("default_APP2", registry.APIKey, m[1], d.now.UnixMilli()) == nil {
		t.Fatalf("no key that opens: %d %s", w.Code, mainOf(w.Body.String()))
	}
	if page := d.call("GET", "/instance?i=default_APP2", "").Body.String(); strings.Contains(page, m[1]) || !strings.Contains(page, "backend") {
		t.Error("the key is shown again, or not listed")
	}
	id := d.r.m.Instance("default_APP2").APIKeys[0].ID
	d.done("/key/revoke?i=default_APP2&kind=api&id="+id, nil)
	d.done("/instance/delete?i=default_APP2", nil)
	if d.r.m.Instance("default_APP2") != nil {
		t.Error("the instance is still there")
	}
	d.done("/user/new", url.Values{"name": {"eve"}, "role": {"operator"}, "password": {"correct horse 9"}})
	d.done("/user/edit?name=eve", url.Values{"role": {"viewer"}, "disabled": {"true"}})
	if u := d.r.m.User("eve"); u.Role != registry.Viewer || !u.Disabled {
		t.Errorf("user %+v", u)
	}
	if w := d.submit("/user/new", url.Values{"name": {"mal"}, "role": {"viewer"}, "password": {"short"}}); w.Code != http.StatusBadRequest || strings.Contains(w.Body.String(), `value="short"`) {
		t.Errorf("a short password: %d", w.Code)
	}
	d.done("/user/delete?name=eve", nil)
	if d.r.m.User("eve") != nil {
		t.Error("the user is still there")
	}
}
