package node

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/connectors/ingress"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// The push API as spec section 1.3 and its rows describe it, through a whole
// node: HTTP, Kafka, sync task, and back.

const pushConfig = `
instances:
  - id: demo_APP1
    sync:
      - {bizType: UCHAT, scope: specified, target: user, multiDevice: true}
      - {bizType: OTHER, scope: specified, target: user, multiDevice: true}
      - {bizType: FLEETING, scope: specified, target: user, persistent: false}
      - {bizType: PAUSED, scope: specified, target: user, online: false}
      - {bizType: ALL, scope: global, target: user}
      - {bizType: GLOBAL-SDK-CONFIG, scope: global, target: user}
      - {bizType: BUSINESS-OF-THIRTY-CHARACTERS-, scope: specified, target: user}
  - id: demo_APP2
    sync:
      - {bizType: UCHAT, scope: specified, target: user}
`

type pusher struct {
	*running
	next int
}

func startPusher(t *testing.T) *pusher {
	t.Helper()
	n := startNode(t)
	if err := n.Apply(t.Context(), []byte(pushConfig), nil); err != nil {
		t.Fatal(err)
	}
	return &pusher{running: n}
}

// answered is what a call was answered.
type answered struct {
	Msg     string `json:"msg"`
	Success bool   `json:"success"`
	status  int
	id      string
	reason  string
}

// post sends a body as it is.
func (p *pusher) post(path, body string, header ...string) answered {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.URL()+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	a := answered{status: res.StatusCode, id: res.Header.Get(ingress.HeaderOplogID), reason: res.Header.Get(ingress.HeaderReason)}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil || a.Msg == "" { // S003-2
		p.t.Fatalf("%s %.200s: status %d, answer %q is not of the form that the source fixes: %v", path, body, res.StatusCode, text, err)
	}
	return a
}

// fields are a request; a nil value leaves the field out.
type fields map[string]any

// with makes a request that is right but for what is said, to user u1.
func (p *pusher) with(f fields) string {
	p.next++
	all := fields{"bizType": "UCHAT", "linkToken": "u1", "thirdMsgId": fmt.Sprint("m", p.next), "payload": "p"}
	for k, v := range f {
		if v == nil {
			delete(all, k)
		} else {
			all[k] = v
		}
	}
	b, err := json.Marshal(all)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b)
}

func (p *pusher) single(f fields) answered {
	p.t.Helper()
	return p.post("/webapi/sync/single?instanceId=demo_APP1", p.with(f))
}

func (p *pusher) global(f fields) answered {
	p.t.Helper()
	all := fields{"bizType": "ALL", "linkToken": nil}
	for k, v := range f {
		all[k] = v
	}
	return p.post("/webapi/sync/global?instanceId=demo_APP1", p.with(all))
}

// entries reads the oplog whole, markers left out.
func (p *pusher) entries() []schemas.Entry {
	p.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.ConsumeTopics(p.topo.Oplog.Name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}, p.client...)...)
	if err != nil {
		p.t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, p.topo.Oplog.Name)
	if err != nil {
		p.t.Fatal(err)
	}
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	var all []schemas.Entry
	for left > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			p.t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			left--
			var e schemas.Entry
			if err := e.Decode(r.Value); err != nil {
				p.t.Fatal(err)
			}
			if e.OplogID != 0 {
				all = append(all, e)
			}
		})
	}
	return all
}

func (p *pusher) stored(bizType, token string) (all []schemas.Entry) {
	for _, e := range p.entries() {
		if e.BizType == bizType && e.LinkToken == token {
			all = append(all, e)
		}
	}
	return all
}

func long(n int) string { return strings.Repeat("字", n) }

// TestPushFaults: rows S003-5 … S003-16, 26, 28, 30, 73, 74, D5, D6, D7, D12.
// What is refused is answered with the code and leaves nothing.
func TestPushFaults(t *testing.T) {
	p := startPusher(t)
	before := len(p.entries())
	type row struct {
		row, what string
		fields    fields
		want      schemas.Code
	}
	both := []row{
		{"S003-5", "no thirdMsgId", fields{"thirdMsgId": nil}, schemas.ThirdMsgIDIsNull},
		{"S003-5", "empty thirdMsgId", fields{"thirdMsgId": ""}, schemas.ThirdMsgIDIsNull},
		{"S003-6", "no bizType", fields{"bizType": nil}, schemas.ArgsIsNull},
		{"S003-6", "empty bizType", fields{"bizType": ""}, schemas.ArgsIsNull},
		{"S003-8", "no payload", fields{"payload": nil}, schemas.ArgsIsNull},
		{"S003-9", "unknown business", fields{"bizType": "NOBODY"}, schemas.BizNotOnline},
		{"S003-12", "payload of 4097", fields{"payload": long(4097)}, schemas.PayloadLong},
		{"S003-13", "binary of 4100 base64 characters", fields{"payload": nil, "binaryPayload": strings.Repeat("AAAA", 1025)}, schemas.PayloadLong},
		{"S003-14", "thirdMsgId of 101", fields{"thirdMsgId": long(101)}, schemas.ThirdMsgIDLong},
		{"S003-15", "bizType of 31", fields{"bizType": long(31)}, schemas.ArgsInvalid},
		{"S003-15", "osType of 11", fields{"osType": long(11)}, schemas.ArgsInvalid},
		{"S003-15", "version of 21", fields{"appMinVersion": strings.Repeat("1", 21)}, schemas.ArgsInvalid},
		{"S003-26", "not base64", fields{"payload": nil, "binaryPayload": "%%%"}, schemas.ArgsInvalid},
		{"S003-26", "payload and binaryPayload", fields{"binaryPayload": "aGk="}, schemas.ArgsInvalid},
		{"D5", "min over max", fields{"appMinVersion": "2.0", "appMaxVersion": "1.0"}, schemas.ArgsInvalid},
		{"D23", "a version with letters", fields{"appMinVersion": "1.x"}, schemas.ArgsInvalid},
		{"S003-30", "payload of a wrong type", fields{"payload": 7}, schemas.ArgsInvalid},
		{"S003-30", "validTimeEnd of a wrong type", fields{"validTimeEnd": "soon"}, schemas.ArgsInvalid},
	}
	for _, r := range both {
		for name, a := range map[string]answered{"single": p.single(r.fields), "global": p.global(r.fields)} {
			if a.status != http.StatusOK || a.Msg != string(r.want) || a.Success {
				t.Errorf("%s %s, %s: %+v, want %s", r.row, name, r.what, a, r.want)
			}
		}
	}
	for _, r := range []row{
		{"S003-7", "no linkToken", fields{"linkToken": nil}, schemas.ArgsIsNull},
		{"S003-7", "empty linkToken", fields{"linkToken": ""}, schemas.ArgsIsNull},
		{"S003-15", "linkToken of 101", fields{"linkToken": long(101)}, schemas.ArgsInvalid},
		{"S003-10", "offline", fields{"bizType": "PAUSED"}, schemas.BizNotOnline},
		{"S003-11", "a global business", fields{"bizType": "ALL"}, schemas.NotSupportGlobal},
		// S003-31, D4: one fixed order.
		{"S003-31", "bizType before linkToken", fields{"bizType": nil, "linkToken": nil, "payload": nil, "thirdMsgId": nil}, schemas.ArgsIsNull},
		{"S003-31", "thirdMsgId before lengths", fields{"thirdMsgId": nil, "payload": long(4097)}, schemas.ThirdMsgIDIsNull},
		{"S003-31", "lengths before the business", fields{"bizType": "NOBODY", "payload": long(4097)}, schemas.PayloadLong},
	} {
		if a := p.single(r.fields); a.status != http.StatusOK || a.Msg != string(r.want) || a.Success {
			t.Errorf("%s %s: %+v, want %s", r.row, r.what, a, r.want)
		}
	}
	if a := p.global(fields{"bizType": "UCHAT"}); a.Msg != string(schemas.NotSupportGlobal) {
		t.Errorf("S003-74: %+v", a)
	}
	for query, want := range map[string]schemas.Code{"": schemas.ArgsIsNull, "?instanceId=": schemas.ArgsIsNull, "?instanceId=nobody": schemas.BizNotOnline} {
		if a := p.post("/webapi/sync/single"+query, p.with(nil)); a.Msg != string(want) || a.Success {
			t.Errorf("S003-28 %q: %+v, want %s", query, a, want)
		}
	}
	if after := len(p.entries()); after != before {
		t.Errorf("what was refused has left %d entries", after-before)
	}
	// S003-20: a fault that is mended is no duplicate.
	if a := p.single(fields{"thirdMsgId": "mended", "payload": nil}); a.Success {
		t.Errorf("%+v", a)
	}
	if a := p.single(fields{"thirdMsgId": "mended"}); a.Msg != string(schemas.NotOnline) || a.id != "1" {
		t.Errorf("S003-20: %+v", a)
	}
}

// TestPushBadBodies: what is no request is an error at once, whatever its size,
// and the door goes on.
func TestPushBadBodies(t *testing.T) {
	p := startPusher(t)
	for what, c := range map[string]struct {
		body   string
		status int
	}{
		"nothing":          {"", 400},
		"no JSON":          {"hello", 400},
		"half an object":   {`{"bizType":"UCHAT"`, 400},
		"two objects":      {`{} {}`, 400},
		"an array":         {`[1]`, 200},
		"null":             {`null`, 200},
		"10 MB":            {`{"payload":"` + strings.Repeat("x", 10<<20) + `"}`, 413},
		"deep":             {strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000), 400},
		"not UTF-8":        {"{\"bizType\":\"UCHAT\",\"linkToken\":\"u1\",\"thirdMsgId\":\"x\",\"payload\":\"\xff\"}", 400},
		"a lone surrogate": {`{"bizType":"UCHAT","linkToken":"u1","thirdMsgId":"x","payload":"\ud800"}`, 200},
	} {
		a := p.post("/webapi/sync/single?instanceId=demo_APP1", c.body)
		if a.Success || a.reason == "" {
			t.Errorf("%s: %+v", what, a)
		}
		if a.status != c.status {
			t.Errorf("%s: status %d (%s), want %d", what, a.status, a.reason, c.status)
		}
	}
	for _, method := range []string{http.MethodGet, http.MethodPut} {
		req, _ := http.NewRequestWithContext(t.Context(), method, p.URL()+"/webapi/sync/single?instanceId=demo_APP1", nil)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", method, res.StatusCode)
		}
	}
	if n := len(p.entries()); n != 0 {
		t.Errorf("%d entries", n)
	}
	if a := p.single(nil); !a.Success {
		t.Errorf("and then a good one: %+v", a)
	}
}

// TestPushAccepted: rows S003-3, 12 … 14, 16 … 19, 23 … 25, 27, 32, 51, 66, 71, 72, 76.
func TestPushAccepted(t *testing.T) {
	p := startPusher(t)
	want := func(row string, a answered, code schemas.Code, id string) {
		t.Helper()
		if a.status != http.StatusOK || a.Msg != string(code) || !a.Success || a.id != id {
			t.Errorf("%s: %+v, want %s with id %s", row, a, code, id)
		}
	}
	text := "你好 \\u4f60 {\"a\":1}\t\r\n \x01 end"
	for i, f := range []fields{
		{"payload": text},
		{"payload": "no JSON at all"},
		{"payload": long(4096)},
		{"payload": nil, "binaryPayload": strings.Repeat("AAAA", 1024)},
		{"thirdMsgId": long(100)},
		{"osType": nil, "appMinVersion": "", "appMaxVersion": nil, "validTimeEnd": nil},
		{"validTimeEnd": 1_000_000_000_000}, // past: accepted, never delivered
		{"osType": "IOS", "appMinVersion": "8.6.0.9999", "appMaxVersion": "9.0.0.9999"},
	} {
		want("S003-3", p.single(f), schemas.NotOnline, strconv.Itoa(i+1))
	}
	all := p.stored("UCHAT", "u1")
	if len(all) != 8 || all[0].Payload != text || all[3].Payload != "" || base64.StdEncoding.EncodeToString(all[3].Binary) != strings.Repeat("AAAA", 1024) {
		t.Errorf("S003-23, 25: %d entries, %+v", len(all), all)
	}
	want("S003-16", p.single(fields{"bizType": "BUSINESS-OF-THIRTY-CHARACTERS-", "linkToken": long(100)}), schemas.NotOnline, "1")

	want("S003-17, first", p.single(fields{"thirdMsgId": "same", "payload": "first"}), schemas.NotOnline, "9")
	want("S003-17", p.single(fields{"thirdMsgId": "same", "payload": "second"}), schemas.DuplicatedBizID, "9")
	want("S003-18", p.single(fields{"thirdMsgId": "same", "linkToken": "u2"}), schemas.NotOnline, "1")
	want("S003-18", p.single(fields{"thirdMsgId": "same", "bizType": "OTHER"}), schemas.NotOnline, "1")
	want("S003-19", p.post("/webapi/sync/single?instanceId=demo_APP2", p.with(fields{"thirdMsgId": "same"})), schemas.NotOnline, "1")
	want("S003-4", p.single(fields{"bizType": "FLEETING"}), schemas.NotOnline, "1")

	sample := fmt.Sprintf(`{"bizType":"UCHAT","linkToken":"2088102147396225","payload":"testtest","thirdMsgId":"test_1","osType":"","appMinVersion":"0.0.0.0","appMaxVersion":"100.100.100.100","validTimeEnd":%d}`,
		time.Now().AddDate(0, 0, 30).UnixMilli())
	want("S003-32", p.post("/webapi/sync/single?instanceId=demo_APP1", sample, "Content-Type", "application/json"), schemas.NotOnline, "1")

	want("S003-66", p.global(fields{"thirdMsgId": "g1"}), schemas.Success, "1")
	want("S003-71", p.global(fields{"thirdMsgId": "g1", "payload": "other"}), schemas.DuplicatedBizID, "1")
	want("S003-72", p.global(fields{"linkToken": "passed over"}), schemas.Success, "2")
	want("S003-76", p.global(fields{"bizType": "GLOBAL-SDK-CONFIG", "osType": "IOS"}), schemas.Success, "1")
}

// TestPushOneKeyAtOnce: S003-21.
func TestPushOneKeyAtOnce(t *testing.T) {
	p := startPusher(t)
	body := p.with(nil)
	var mu sync.Mutex
	codes := map[string]int{}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			a := p.post("/webapi/sync/single?instanceId=demo_APP1", body)
			mu.Lock()
			defer mu.Unlock()
			codes[a.Msg+"/"+a.id]++
		})
	}
	wg.Wait()
	if codes["NOT_ONLINE/1"] != 1 || codes["DUPLICATED_BIZ_ID/1"] != 49 || len(p.stored("UCHAT", "u1")) != 1 {
		t.Errorf("%v", codes)
	}
}

// TestPushIsSigned: the signature switch at a running node (S003-162), and
// what it refuses leaves nothing.
func TestPushIsSigned(t *testing.T) {
	p := startPusher(t)
	const secret = "ak-demo-0123456789"
	m := p.registry.Model()
	propose := func(op registry.Op) {
		t.Helper()
		if _, err := p.registry.Propose(t.Context(), registry.Command{ID: t.Name() + op.Kind(), Time: time.Now().UnixMilli(), Ops: []registry.Op{op}}); err != nil {
			t.Fatal(err)
		}
	}
	key := m.NewKey(registry.APIKey, secret, "")
	propose(registry.AddKey{InstanceID: "demo_APP1", For: registry.APIKey, Key: key})
	const path = "/webapi/sync/single?instanceId=demo_APP1"
	if a := p.post(path, p.with(nil)); a.status != http.StatusUnauthorized || a.Msg != string(schemas.NotAuthorized) || a.Success {
		t.Errorf("without the key: %+v", a)
	}
	if a := p.post(path, p.with(nil), "Authorization", "Bearer "+secret); a.Msg != string(schemas.NotOnline) {
		t.Errorf("with it: %+v", a)
	}
	propose(registry.SetSignature{On: true})
	if a := p.post(path, p.with(nil), "Authorization", "Bearer "+secret); a.status != http.StatusUnauthorized {
		t.Errorf("switched on, unsigned: %+v", a)
	}
	body, stamp := p.with(nil), strconv.FormatInt(time.Now().UnixMilli(), 10)
	signed := []string{ingress.HeaderKey, key.ID, ingress.HeaderTimestamp, stamp, ingress.HeaderSignature,
		"v1=" + hex.EncodeToString(ingress.Sign(secret, ingress.Canonical("POST", path, stamp, key.ID, []byte(body))))}
	if a := p.post(path, body+" ", signed...); a.status != http.StatusUnauthorized {
		t.Errorf("tampered: %+v", a)
	}
	if a := p.post(path, body, signed...); a.Msg != string(schemas.NotOnline) {
		t.Errorf("signed: %+v", a)
	}
	if a := p.post(path, body, signed...); a.status != http.StatusUnauthorized {
		t.Errorf("replayed: %+v", a)
	}
	if n := len(p.stored("UCHAT", "u1")); n != 2 {
		t.Errorf("%d entries, want the two that were allowed", n)
	}
	// The keys' last use is told to the registry.
	p.tellKeyUsesNow(t.Context())
	for _, k := range p.registry.Model().Instance("demo_APP1").APIKeys {
		if k.ID == key.ID && k.Used == 0 {
			t.Error("the key was used, and nobody noted it")
		}
	}
}

// TestPushReasonsAreHeaders: what a caller sent comes back in a reason without
// making headers of its own.
func TestPushReasonsAreHeaders(t *testing.T) {
	p := startPusher(t)
	a := p.post("/webapi/sync/single?instanceId="+url.QueryEscape("x\r\nSet-Cookie: a=b"), p.with(fields{"bizType": "A\r\nSet-Cookie: a=b"}))
	if a.Success || strings.ContainsAny(a.reason, "\r\n") {
		t.Errorf("%+v", a)
	}
}
