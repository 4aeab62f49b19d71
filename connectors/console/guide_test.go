package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

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
