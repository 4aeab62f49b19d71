package console

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// The tests of this file follow section 1.5 of the product specification, in
// its order, as far as the API serves it.

const uchat = `{"bizType":"UCHAT","scope":"specified","target":"user","multiDevice":true,"persistent":true,"repush":{"mode":"threshold","threshold":100},"consistency":false,"description":"chat"}`

func withInstance(t *testing.T) *desk {
	d := newDesk(t)
	d.ok("POST", "/api/v1/instances", `{"id":"demo_APP1"}`)
	return d
}

const syncs = "/api/v1/instances/demo_APP1/sync"

// S003-132: the create form, confirmed: it exists and is online.
func TestCreateConfigIsOnline(t *testing.T) {
	d := withInstance(t)
	d.ok("POST", syncs, uchat)
	var s registry.Sync
	if err := json.Unmarshal([]byte(d.ok("GET", syncs+"/UCHAT", "")), &s); err != nil || !s.Online || s.Repush.Threshold != 100 || s.Description != "chat" {
		t.Errorf("created as %+v, %v", s, err)
	}
	if s := d.r.m.Settings().Sync("demo_APP1", "UCHAT"); s == nil || !s.Online {
		t.Error("tasks would not know it")
	}
}

// S003-133, S003-134, S003-135: identifiers.
func TestIdentifiers(t *testing.T) {
	d := withInstance(t)
	form := func(biz string) string {
		b, _ := json.Marshal(map[string]any{"bizType": biz, "scope": "specified", "target": "user"})
		return string(b)
	}
	d.ok("POST", syncs, form("UCHAT"))
	d.refused("POST", syncs, form("UCHAT"), http.StatusConflict, `"UCHAT" exists`)
	d.refused("POST", syncs, form(""), http.StatusBadRequest, "bizType: it is missing")
	d.ok("POST", syncs, form(strings.Repeat("界", 30)))
	d.refused("POST", syncs, form(strings.Repeat("界", 31)), http.StatusBadRequest, "bizType: 1 to 30 characters, not 31")
	d.ok("POST", syncs, form("lower-case"))
}

// S003-136 to S003-139, S003-93, S003-175: which fields go together.
func TestFieldsThatGoTogether(t *testing.T) {
	d := withInstance(t)
	for _, tt := range []struct{ form, refused string }{
		{`"scope":"specified","target":"device","multiDevice":true`, "multiDevice: only for target user"},
		{`"scope":"specified","target":"device","consistency":true`, "consistency: only for target user"},
		{`"scope":"specified","target":"user","persistent":false,"repush":{"mode":"queue"}`, "repush: only when persistent"},
		{`"scope":"specified","target":"user","repush":{"mode":"queue","threshold":5}`, "repush.threshold: only for mode threshold"},
		{`"scope":"specified","target":"user","repush":{"mode":"threshold"}`, "repush.threshold: 0: mode threshold needs a number"},
		{`"scope":"specified","target":"user","repush":{"mode":"threshold","threshold":-1}`, "repush.threshold: -1"},
		{`"scope":"global","target":"user","persistent":false`, "persistent: a global config is always persistent"},
		{`"scope":"somewhere","target":"user"`, `scope: "somewhere": use specified or global`},
		{`"scope":"specified"`, `target: "": use user or device`},
	} {
		d.refused("POST", syncs, `{"bizType":"B",`+tt.form+`}`, http.StatusBadRequest, tt.refused)
	}
	d.ok("POST", syncs, `{"bizType":"G","scope":"global","target":"user"}`)
	if s := d.r.m.Sync("demo_APP1", "G"); !s.MultiDevice || !s.Persistent {
		t.Errorf("a global config is %+v", s)
	}
}

// S003-140: all fields are shown.
func TestDetail(t *testing.T) {
	d := withInstance(t)
	d.ok("POST", syncs, uchat)
	body := d.ok("GET", syncs+"/UCHAT", "")
	for _, field := range []string{"bizType", "scope", "target", "multiDevice", "persistent", "repush", "threshold", "consistency", "online", "description", "created", "updated"} {
		if !strings.Contains(body, `"`+field+`":`) {
			t.Errorf("%s is not shown: %s", field, body)
		}
	}
	d.refused("GET", syncs+"/OTHER", "", http.StatusNotFound, `no config "OTHER"`)
	d.refused("GET", "/api/v1/instances/other/sync/UCHAT", "", http.StatusNotFound, `no instance "other"`)
}

// S003-141, D29: modified and saved; one record; what cannot change.
func TestModify(t *testing.T) {
	d := withInstance(t)
	d.ok("POST", syncs, uchat)
	before := d.r.m.AuditLen()
	d.ok("PUT", syncs+"/UCHAT", `{"repush":{"mode":"queue"}}`)
	if s := d.r.m.Sync("demo_APP1", "UCHAT"); s.Repush.Mode != "queue" || s.Description != "chat" || !s.MultiDevice {
		t.Errorf("what was left out did not stay: %+v", s)
	}
	if d.r.m.AuditLen() != before+1 || d.audit(1)[0] != registry.ConfigModify {
		t.Errorf("the audit has %v", d.audit(3))
	}
	for _, form := range []string{`{"scope":"global"}`, `{"target":"device","multiDevice":false}`, `{"multiDevice":false}`} {
		d.refused("PUT", syncs+"/UCHAT", form, http.StatusBadRequest, "cannot change")
	}
	d.refused("PUT", syncs+"/UCHAT", `{"bizType":"OTHER"}`, http.StatusBadRequest, "an identifier cannot change")
	d.ok("PUT", syncs+"/UCHAT", `{"repush":{"mode":"queue"}}`) // nothing new: no record
	if d.r.m.AuditLen() != before+1 {
		t.Error("a change of nothing is in the audit")
	}
}

// S003-142, S003-143: offline and online again.
func TestOfflineAndOnline(t *testing.T) {
	d := withInstance(t)
	d.ok("POST", syncs, uchat)
	d.ok("POST", syncs+"/UCHAT/offline", "")
	if d.r.m.Settings().Sync("demo_APP1", "UCHAT").Online {
		t.Error("it is still online")
	}
	d.ok("POST", syncs+"/UCHAT/online", "")
	if want := []registry.Action{registry.ConfigOnline, registry.ConfigOffline, registry.ConfigCreate}; !slices.Equal(d.audit(3), want) {
		t.Errorf("the audit has %v", d.audit(3))
	}
}

// S003-144, D20: deleted when offline, and the record keeps what it was.
func TestDelete(t *testing.T) {
	d := withInstance(t)
	d.ok("POST", syncs, uchat)
	d.refused("DELETE", syncs+"/UCHAT", "", http.StatusConflict, "take it offline")
	d.refused("DELETE", "/api/v1/instances/demo_APP1", "", http.StatusConflict, "still has configs")
	d.ok("POST", syncs+"/UCHAT/offline", "")
	d.ok("DELETE", syncs+"/UCHAT", "")
	d.refused("DELETE", syncs+"/UCHAT", "", http.StatusNotFound, "no config")
	r := d.r.m.Audit(registry.AuditFilter{Limit: 1})[0]
	if r.Action != registry.ConfigDelete || !strings.Contains(string(r.Before), `"description":"chat"`) {
		t.Errorf("the record is %+v", r)
	}
	d.ok("DELETE", "/api/v1/instances/demo_APP1", "")
}

// S003-163 to S003-167, S003-171: operation records and their filters.
func TestOperationRecords(t *testing.T) {
	d := withInstance(t)
	d.ok("POST", syncs, uchat)
	page := func(query string) (p Audit) {
		t.Helper()
		if err := json.Unmarshal([]byte(d.ok("GET", "/api/v1/audit"+query, "")), &p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := page("?action=config.create")
	if len(p.Records) != 1 || p.Records[0].Actor != "local" || p.Records[0].Source != "127.0.0.1" || p.Records[0].Time != d.now.UnixMilli() {
		t.Fatalf("a config that was made online: %+v", p.Records)
	}
	if p := page("?action=config.online"); len(p.Records) != 0 {
		t.Error("it was never taken online, and there is a record of it")
	}
	d.now = d.now.AddDate(0, 0, 8)
	if p := page(""); len(p.Records) != 0 {
		t.Errorf("without a range there are %d records of more than 7 days ago", len(p.Records))
	}
	for i := range 1005 {
		if _, err := d.r.apply(registry.Command{Actor: fmt.Sprint("op", i%2), Time: d.now.UnixMilli() + int64(i), Ops: []registry.Op{registry.SetSignature{On: i%2 == 0}}}); err != nil {
			t.Fatal(err)
		}
	}
	p = page("")
	if len(p.Records) != 1000 || p.Records[0].Time != d.now.UnixMilli()+1004 || p.Records[999].Time != d.now.UnixMilli()+5 {
		t.Errorf("of 1005 there are %d", len(p.Records))
	}
	if rest := page(fmt.Sprint("?before=", p.Next)); len(rest.Records) != 5 || rest.Next != 0 {
		t.Errorf("the next page has %d", len(rest.Records))
	}
	if p := page("?actor=op1&action=signature.off&action=signature.on&limit=3"); len(p.Records) != 3 || p.Records[0].Action != registry.SignatureOff || p.Records[2].Actor != "op1" {
		t.Errorf("filters together give %+v", p.Records)
	}
	both := fmt.Sprintf("?from=%d&to=%d", d.now.UnixMilli()+10, d.now.UnixMilli()+12)
	if p := page(both); len(p.Records) != 3 {
		t.Errorf("both ends inclusive: %d records", len(p.Records))
	}
	if p := page("?from=2024-04-10T18:02:52Z&to=2024-04-10T18:02:52Z"); len(p.Records) != 3 {
		t.Errorf("that very second: %d records", len(p.Records))
	}
	for _, query := range []string{"?from=yesterday", "?limit=0", "?limit=1001", "?before=x"} {
		d.refused("GET", "/api/v1/audit"+query, "", http.StatusBadRequest, "")
	}
}

// S003-168: old and new values of what changed.
func TestModifyRecordHasBothValues(t *testing.T) {
	d := withInstance(t)
	d.ok("POST", syncs, uchat)
	d.ok("PUT", syncs+"/UCHAT", `{"repush":{"mode":"threshold","threshold":7}}`)
	r := d.r.m.Audit(registry.AuditFilter{Limit: 1})[0]
	if !strings.Contains(string(r.Before), `"threshold":100`) || !strings.Contains(string(r.After), `"threshold":7`) {
		t.Errorf("before %s, after %s", r.Before, r.After)
	}
}

// S003-172: records cannot be edited or deleted.
func TestRecordsAreForReading(t *testing.T) {
	d := withInstance(t)
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
		if w := d.call(method, "/api/v1/audit", "{}"); w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s of the audit: %d", method, w.Code)
		}
	}
}

const sendPath = syncs + "/UCHAT/send"

// S003-145, S003-147, S003-151, S003-152: the send form does what the single
// API does; both systems, no versions and 30 days are its defaults.
func TestSendForm(t *testing.T) {
	d, h := furnished(t)
	var sent Sent
	if err := json.Unmarshal([]byte(d.ok("POST", sendPath, `{"target":"u1","data":"hello","uniqueId":"m1","os":["Android","iOS"]}`)), &sent); err != nil {
		t.Fatal(err)
	}
	month := d.now.AddDate(0, 0, 30).UnixMilli()
	want := schemas.Request{InstanceID: "demo_APP1", BizType: "UCHAT", Scope: "specified", LinkToken: "u1", ThirdMsgID: "m1", Payload: "hello", ValidTimeEnd: month}
	if len(h.sent) != 1 || !reflect.DeepEqual(h.sent[0], want) || sent.Code != "SUCCESS" || !sent.Success || sent.OplogID != 1 || sent.ValidTimeEnd != month {
		t.Errorf("sent %+v, answered %+v", h.sent, sent)
	}
	d.ok("POST", sendPath, `{"target":"u1","data":"x","uniqueId":"m2","os":["iOS"],"appMinVersion":"1.0","appMaxVersion":"2.0","validDays":3}`)
	if r := h.sent[1]; r.AppMinVersion != "1.0" || r.AppMaxVersion != "2.0" || r.ValidTimeEnd != d.now.AddDate(0, 0, 3).UnixMilli() {
		t.Errorf("sent %+v", r)
	}
}

// S003-146, S003-154: a global config takes no target, a device config a device.
func TestSendGlobalAndDevice(t *testing.T) {
	d, h := furnished(t)
	d.refused("POST", syncs+"/NOTICE/send", `{"target":"u1","data":"x","uniqueId":"m","os":["iOS"]}`, http.StatusBadRequest, "everybody gets it")
	d.ok("POST", syncs+"/NOTICE/send", `{"data":"x","uniqueId":"m","os":["iOS"]}`)
	if r := h.sent[0]; !r.Global() || r.LinkToken != "" {
		t.Errorf("sent %+v", r)
	}
	d.refused("POST", syncs+"/PING/send", `{"data":"x","os":["iOS"]}`, http.StatusBadRequest, "device id is missing")
}

// S003-148: one system, both, none.
func TestSendSystems(t *testing.T) {
	d, h := furnished(t)
	for _, os := range []string{OSAndroid, OSiOS} {
		d.ok("POST", sendPath, `{"target":"u1","data":"x","uniqueId":"`+os+`","os":["`+os+`"]}`)
		if r := h.sent[len(h.sent)-1]; r.OSType != os {
			t.Errorf("for %s: %+v", os, r)
		}
	}
	for _, os := range []string{`[]`, `null`, `["Symbian"]`} {
		d.refused("POST", sendPath, `{"target":"u1","data":"x","uniqueId":"m","os":`+os+`}`, http.StatusBadRequest, "os: ")
	}
}

// S003-149: a repeat is what the API makes of it.
func TestSendAgain(t *testing.T) {
	d, h := furnished(t)
	h.code = schemas.DuplicatedBizID
	if body := d.ok("POST", sendPath, `{"target":"u1","data":"x","uniqueId":"m","os":["iOS"]}`); !strings.Contains(body, "DUPLICATED_BIZ_ID") {
		t.Errorf("answered %s", body)
	}
}

// S003-150: without a unique id only what keeps nothing is sent, with one made
// for it.
func TestSendWithoutUniqueID(t *testing.T) {
	d, h := furnished(t)
	d.refused("POST", sendPath, `{"target":"u1","data":"x","os":["iOS"]}`, http.StatusBadRequest, "uniqueId: it is missing")
	for range 2 {
		d.ok("POST", syncs+"/PING/send", `{"target":"d1","data":"x","os":["iOS"]}`)
	}
	if a, b := h.sent[0].ThirdMsgID, h.sent[1].ThirdMsgID; a == "" || a == b {
		t.Errorf("made %q and %q", a, b)
	}
}

// S003-142, S003-153: offline refuses, and nothing goes out.
func TestSendOffline(t *testing.T) {
	d, h := furnished(t)
	d.ok("POST", syncs+"/UCHAT/offline", "")
	d.refused("POST", sendPath, `{"target":"u1","data":"x","uniqueId":"m","os":["iOS"]}`, http.StatusConflict, "offline")
	d.refused("POST", sendPath, `{"data":"x"}`, http.StatusConflict, "offline")
	if len(h.sent) > 0 || slices.Contains(d.audit(10), registry.SyncCreate) {
		t.Error("something was sent or recorded")
	}
	for body, words := range map[string]string{
		`{"target":"u1","uniqueId":"m","os":["iOS"]}`:                "data: it is missing",
		`{"target":"d1","data":"x","os":["iOS"],"validDays":-1}`:     "validDays",
		`{"target":"d1","data":"x","os":["iOS"],"validDays":100000}`: "validDays",
		`{"target":"d1","data":"x","os":["iOS"],"colour":1}`:         "colour",
		`{"data":"x","uniqueId":"m","os":["iOS"]}`:                   "id is missing",
	} {
		d.refused("POST", syncs+"/PING/send", body, http.StatusBadRequest, words)
	}
}

// S003-163, S003-169: what was sent is one record, with all of the form.
func TestSendRecord(t *testing.T) {
	d, h := furnished(t)
	d.ok("POST", sendPath, `{"target":"u1","data":"hello","uniqueId":"m1","os":["iOS"],"appMinVersion":"1.0","validDays":3}`)
	records := d.r.m.Audit(registry.AuditFilter{Actions: []registry.Action{registry.SyncCreate}})
	if len(records) != 1 || records[0].Object != (registry.Object{Kind: registry.KindConfig, InstanceID: "demo_APP1", Name: "UCHAT"}) {
		t.Fatalf("the records are %+v", records)
	}
	for _, part := range []string{`"target":"u1"`, `"data":"hello"`, `"uniqueId":"m1"`, `"appMinVersion":"1.0"`, `"validDays":3`, `"os":["iOS"]`} {
		if !strings.Contains(string(records[0].After), part) {
			t.Errorf("the record has no %s: %s", part, records[0].After)
		}
	}
	h.code = schemas.ArgsInvalid
	d.ok("POST", sendPath, `{"target":"u1","data":"hello","uniqueId":"m2","os":["iOS"]}`)
	h.err = errTest
	d.refused("POST", sendPath, `{"target":"u1","data":"hello","uniqueId":"m3","os":["iOS"]}`, http.StatusServiceUnavailable, "send data")
	if n := len(d.r.m.Audit(registry.AuditFilter{Actions: []registry.Action{registry.SyncCreate}})); n != 1 {
		t.Errorf("what was refused is recorded: %d", n)
	}
}

// S003-155, S003-156, S003-158, S003-160: the data query.
func TestDataQuery(t *testing.T) {
	d, h := furnished(t)
	h.target = &Target{InstanceID: "demo_APP1", Dimension: "user", Name: "业/务", Known: true, Connected: true, Pushes: 3, Arrivals: 2,
		Configs: []TargetConfig{{BizType: "UCHAT", Pushes: 3, Arrivals: 2}}, PushList: []TargetPush{{OplogID: 3}, {OplogID: 2}, {OplogID: 1}}}
	targets := "/api/v1/instances/demo_APP1/targets/"
	ask := func(path string) (is Target) {
		t.Helper()
		if err := json.Unmarshal([]byte(d.ok("GET", targets+path, "")), &is); err != nil {
			t.Fatal(err)
		}
		return is
	}
	if is := ask("user/%E4%B8%9A%2F%E5%8A%A1?limit=2"); !is.Connected || is.Pushes != 3 || is.Arrivals != 2 || len(is.PushList) != 2 || is.Configs[0].Arrivals != 2 {
		t.Errorf("found %+v", is)
	}
	if is := ask("device/%E4%B8%9A%2F%E5%8A%A1"); is.Known || is.Dimension != "device" || is.Pushes != 0 {
		t.Errorf("a device of that name is %+v", is)
	}
	if is := ask("user/nobody"); is.Known || is.PushList == nil {
		t.Errorf("nobody is %+v", is)
	}
	d.refused("GET", targets+"tribe/x", "", http.StatusBadRequest, "user or device")
	d.refused("GET", targets+"user/"+strings.Repeat("x", 101), "", http.StatusBadRequest, "name")
	for _, limit := range []string{"x", "-1", "1001"} {
		d.refused("GET", targets+"user/x?limit="+limit, "", http.StatusBadRequest, "limit")
	}
	d.refused("GET", "/api/v1/instances/other/targets/user/x", "", http.StatusNotFound, "no instance")
}

// S003-161: the switch, for the whole service, and its records.
func TestSignatureSwitch(t *testing.T) {
	d := newDesk(t)
	if body := d.ok("GET", "/api/v1/service/signature", ""); !strings.Contains(body, `"on":false`) {
		t.Errorf("at first it is %s", body)
	}
	for _, on := range []string{"true", "true", "false"} {
		d.ok("PUT", "/api/v1/service/signature", `{"on":`+on+`}`)
		if body := d.ok("GET", "/api/v1/service/signature", ""); !strings.Contains(body, `"on":`+on) {
			t.Errorf("switched to %s it is %s", on, body)
		}
	}
	if want := []registry.Action{registry.SignatureOff, registry.SignatureOn, registry.RegistryCreate}; !slices.Equal(d.audit(9), want) {
		t.Errorf("the audit has %v", d.audit(9))
	}
	d.refused("PUT", "/api/v1/service/signature", `{}`, http.StatusBadRequest, "true or false")
}

// S003-163: each action of the API is one record.
func TestEachActionIsOneRecord(t *testing.T) {
	d, _ := furnished(t, func(c *Config) { c.Authorize = WithToken("admin token") })
	if _, err := d.r.apply(registry.Command{Ops: []registry.Op{registry.CreateUser{User: registry.User{Name: "root", Role: registry.Admin}}}}); err != nil {
		t.Fatal(err)
	}
	var key NewKey
	step := func(action registry.Action, method, path, body string) string {
		t.Helper()
		before := d.r.m.AuditLen()
		answer := d.ok2(method, path, body)
		if d.r.m.AuditLen() != before+1 || d.audit(1)[0] != action {
			t.Errorf("%s %s: %d records, the newest %v; want one of %s", method, path, d.r.m.AuditLen()-before, d.audit(1), action)
		}
		return answer
	}
	step(registry.ConfigCreate, "POST", syncs, `{"bizType":"NEW","scope":"specified","target":"user"}`)
	step(registry.ConfigModify, "PUT", syncs+"/NEW", `{"description":"x"}`)
	step(registry.SyncCreate, "POST", syncs+"/NEW/send", `{"target":"u","data":"x","uniqueId":"m","os":["iOS"]}`)
	step(registry.ConfigOffline, "POST", syncs+"/NEW/offline", "")
	step(registry.ConfigOnline, "POST", syncs+"/NEW/online", "")
	d.ok2("POST", syncs+"/NEW/offline", "")
	step(registry.ConfigDelete, "DELETE", syncs+"/NEW", "")
	step(registry.SignatureOn, "PUT", "/api/v1/service/signature", `{"on":true}`)
	step(registry.SignatureOff, "PUT", "/api/v1/service/signature", `{"on":false}`)
	step(registry.KeyCreate, "POST", "/api/v1/instances/demo_APP1/keys", `{"for":"api"}`)
	answer := step(registry.KeyRotate, "POST", "/api/v1/instances/demo_APP1/keys", `{"for":"api","retireSeconds":60}`)
	if err := json.Unmarshal([]byte(answer), &key); err != nil {
		t.Fatal(err)
	}
	step(registry.KeyRevoke, "DELETE", "/api/v1/instances/demo_APP1/keys/api/"+key.ID, "")
	step(registry.UserCreate, "POST", "/api/v1/users", `{"name":"bob","role":"operator","password":"`+botsPassword+`"}`)
	step(registry.LoginOK, "POST", "/api/v1/login", `{"name":"bob","password":"`+botsPassword+`"}`)
	step(registry.UserModify, "PUT", "/api/v1/users/bob", `{"disabled":true}`)
	if w := d.token("POST", "/api/v1/login", `{"name":"bob","password":"`+botsPassword+`"}`); w.Code != http.StatusUnauthorized || d.audit(1)[0] != registry.LoginFailed {
		t.Errorf("a disabled user: %d, %v", w.Code, d.audit(1))
	}
	step(registry.UserDelete, "DELETE", "/api/v1/users/bob", "")
}

// S003-164, D28: dates are whole days of the configured zone, at both ends.
func TestAuditDates(t *testing.T) {
	zone := time.FixedZone("CST", 8*3600)
	d := newDesk(t, func(c *Config) { c.Zone = zone })
	first := time.Date(2024, 4, 9, 0, 0, 0, 0, zone)
	for i, at := range []time.Time{first.Add(-time.Millisecond), first, first.Add(24*time.Hour - time.Millisecond), first.Add(24 * time.Hour)} {
		if _, err := d.r.apply(registry.Command{Actor: fmt.Sprint(i), Time: at.UnixMilli(), Ops: []registry.Op{registry.SetSignature{On: i%2 == 0}}}); err != nil {
			t.Fatal(err)
		}
	}
	for query, want := range map[string]string{
		"?from=2024-04-09&to=2024-04-09":                     "21",
		"?from=2024-04-09":                                   "321",
		"?to=2024-04-08":                                     "0",
		"?from=2024-04-09T00:00:00&to=2024-04-09T23:59:58":   "1",
		"?from=2024-04-09T00:00:00&to=2024-04-09T23:59:59":   "21",
		"?from=2024-04-09&to=2024-04-09T23:59":               "21",
		"?from=2024-04-08T16:00:00Z&to=2024-04-08T16:00:00Z": "1",
	} {
		var p Audit
		if err := json.Unmarshal([]byte(d.ok("GET", "/api/v1/audit"+query, "")), &p); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, r := range p.Records {
			if r.Action != registry.RegistryCreate {
				got += r.Actor
			}
		}
		if got != want {
			t.Errorf("%s: records %q, want %q", query, got, want)
		}
	}
}

// S003-163, S003-168, S003-172: a record by its number, and records as a file.
func TestAuditExport(t *testing.T) {
	d := withInstance(t)
	d.ok("POST", syncs, uchat)
	d.ok("PUT", syncs+"/UCHAT", `{"description":"=HYPERLINK(\"evil\")"}`)
	if _, err := d.r.apply(registry.Command{Actor: "=cmd", Time: d.now.UnixMilli(), Ops: []registry.Op{registry.SetSignature{On: true}}}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(d.ok("GET", "/api/v1/audit/export", "")), "\n")
	if len(lines) != d.r.m.AuditLen() {
		t.Errorf("%d lines of %d records", len(lines), d.r.m.AuditLen())
	}
	var newest registry.Record
	if err := json.Unmarshal([]byte(lines[0]), &newest); err != nil || newest.Action != registry.SignatureOn {
		t.Errorf("the first line is %s, %v", lines[0], err)
	}
	w := d.call("GET", "/api/v1/audit/export?format=csv&action=signature.on&action=config.modify", "")
	rows, err := csv.NewReader(w.Body).ReadAll()
	if err != nil || len(rows) != 3 || rows[1][2] != "'=cmd" || rows[1][1] != "2024-04-10T18:02:52Z" || !strings.Contains(rows[2][8], `"chat"`) {
		t.Errorf("the table is %q, %v", rows, err)
	}
	if got := w.Header().Get("Content-Disposition"); got != `attachment; filename="audit.csv"` {
		t.Errorf("disposition %s", got)
	}
	if w := d.call("GET", "/api/v1/audit/export?limit=1", ""); w.Header().Get("Tidemark-Next") != fmt.Sprint(newest.Seq) {
		t.Errorf("the next page begins before %q", w.Header().Get("Tidemark-Next"))
	}
	d.refused("GET", "/api/v1/audit/export?format=xls", "", http.StatusBadRequest, "ndjson or csv")
	if one := d.ok("GET", fmt.Sprint("/api/v1/audit/", newest.Seq-1), ""); !strings.Contains(one, `"description":"chat"`) || !strings.Contains(one, "HYPERLINK") {
		t.Errorf("the record is %s", one)
	}
	d.refused("GET", "/api/v1/audit/999", "", http.StatusNotFound, "no record")
	d.refused("GET", "/api/v1/audit/x", "", http.StatusBadRequest, "seq")
	for _, method := range []string{"PUT", "DELETE", "PATCH"} {
		if w := d.call(method, "/api/v1/audit/1", "{}"); w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s of a record: %d", method, w.Code)
		}
	}
}
