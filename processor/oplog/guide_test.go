package oplog

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// The rows of the guide (source 003) that are rules about one request, in the
// order of the document. What needs a client or a clock is tested elsewhere.

// guide is the least that the rules need: settings, and what was accepted.
type guide struct {
	t         *testing.T
	settings  *registry.Settings
	originals map[[16]byte]int64
	lasts     map[[16]byte]int64
	entries   []schemas.Entry
}

func newGuide(t *testing.T) *guide {
	put := func(instance string, s schemas.SyncConfig) schemas.Change {
		return schemas.Change{Kind: schemas.PutSync, InstanceID: instance, Sync: s}
	}
	settings := (&registry.Settings{}).With(1, []schemas.Change{
		{Kind: schemas.PutInstance, InstanceID: "ws_APP1"}, {Kind: schemas.PutInstance, InstanceID: "ws_APP2"},
		put("ws_APP1", schemas.SyncConfig{BizType: "UCHAT", Scope: "specified", Target: "user", Persistent: true, Online: true}),
		put("ws_APP1", schemas.SyncConfig{BizType: "DEVICE-LOCK", Scope: "specified", Target: "device", Online: true}),
		put("ws_APP1", schemas.SyncConfig{BizType: "GLOBAL-SDK-CONFIG", Scope: "global", Target: "user", Persistent: true, Online: true}),
		put("ws_APP1", schemas.SyncConfig{BizType: "OFF", Scope: "specified", Target: "user", Persistent: true}),
		put("ws_APP1", schemas.SyncConfig{BizType: strings.Repeat("B", schemas.MaxBizType), Scope: "specified", Target: "user", Persistent: true, Online: true}),
		put("ws_APP2", schemas.SyncConfig{BizType: "UCHAT", Scope: "specified", Target: "user", Persistent: true, Online: true}),
	})
	return &guide{t, settings, map[[16]byte]int64{}, map[[16]byte]int64{}, nil}
}

// post sends a request as JSON and gives its code and id. The code of an
// accepted one is SUCCESS: whether somebody is online is asked later.
func (g *guide) post(body string) (schemas.Code, int64) {
	var r schemas.Request
	if err := r.DecodeJSON([]byte(body)); err != nil {
		return schemas.ArgsInvalid, 0
	}
	sync, fault := g.settings.Admit(&r)
	if !fault.None() {
		return fault.Code, 0
	}
	k := KeysOf(nil, &r)
	d := Decide(Facts{Original: g.originals[k.Dedupe], Last: g.lasts[k.Counter]})
	if d.Duplicate {
		return schemas.DuplicatedBizID, d.ID
	}
	g.originals[k.Dedupe], g.lasts[k.Counter] = d.ID, d.ID
	prev := int64(-1)
	if n := len(g.entries); n > 0 {
		prev = g.entries[n-1].RequestOffset
	}
	g.entries = append(g.entries, Entry(&r, sync, Place{ID: d.ID, Request: prev + 1, Prev: prev, Revision: 1, StreamTime: 1000}, 500))
	return schemas.Success, d.ID
}

// want posts a request and checks its code, and that a refused one left
// nothing behind.
func (g *guide) want(code schemas.Code, body string) {
	g.t.Helper()
	before := len(g.entries) + len(g.originals) + len(g.lasts)
	got, _ := g.post(body)
	if got != code {
		g.t.Errorf("%.200s: %s, want %s", body, got, code)
	}
	if stored := len(g.entries)+len(g.originals)+len(g.lasts) > before; stored != (got == schemas.Success) {
		g.t.Errorf("%.200s: %s, and stored: %t", body, got, stored)
	}
}

// single is a valid request with some fields set otherwise; "-" leaves one out.
func single(fields ...string) string {
	values := map[string]string{"instanceId": `"ws_APP1"`, "bizType": `"UCHAT"`, "linkToken": `"2088102147396225"`, "thirdMsgId": `"m1"`, "payload": `"p"`}
	names := []string{"instanceId", "bizType", "linkToken", "thirdMsgId", "payload"}
	for i := 0; i < len(fields); i += 2 {
		if _, ok := values[fields[i]]; !ok {
			names = append(names, fields[i])
		}
		values[fields[i]] = fields[i+1]
	}
	var parts []string
	for _, name := range names {
		if values[name] != "-" {
			parts = append(parts, fmt.Sprintf("%q:%s", name, values[name]))
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// global is the same for everybody.
func global(fields ...string) string {
	return single(append([]string{"scope", `"global"`, "bizType", `"GLOBAL-SDK-CONFIG"`, "linkToken", "-"}, fields...)...)
}

// absent are the ways of not giving a field.
var absent = []string{"-", "null", `""`}

func quoted(s string) string { return `"` + s + `"` }

func TestS003_5_ThirdMsgIDMissingNullOrEmpty(t *testing.T) {
	for _, v := range absent {
		newGuide(t).want(schemas.ThirdMsgIDIsNull, single("thirdMsgId", v))
		newGuide(t).want(schemas.ThirdMsgIDIsNull, global("thirdMsgId", v))
	}
}

func TestS003_6_BizTypeMissingOrEmpty(t *testing.T) {
	for _, v := range absent {
		newGuide(t).want(schemas.ArgsIsNull, single("bizType", v))
		newGuide(t).want(schemas.ArgsIsNull, global("bizType", v))
	}
}

func TestS003_7_LinkTokenMissingOrEmpty(t *testing.T) {
	for _, v := range absent {
		newGuide(t).want(schemas.ArgsIsNull, single("linkToken", v))
		newGuide(t).want(schemas.Success, global("linkToken", v))
	}
}

func TestS003_8_NeitherPayload(t *testing.T) {
	for _, v := range absent {
		for _, b := range absent {
			newGuide(t).want(schemas.ArgsIsNull, single("payload", v, "binaryPayload", b))
			newGuide(t).want(schemas.ArgsIsNull, global("payload", v, "binaryPayload", b))
		}
	}
}

func TestS003_9_NoSuchConfig(t *testing.T) {
	newGuide(t).want(schemas.BizNotOnline, single("bizType", `"NOWHERE"`))
	newGuide(t).want(schemas.BizNotOnline, single("bizType", `"uchat"`))
	newGuide(t).want(schemas.BizNotOnline, single("instanceId", `"ws_APP2"`, "bizType", `"DEVICE-LOCK"`)) // the other instance has it
	newGuide(t).want(schemas.BizNotOnline, global("bizType", `"NOWHERE"`))
}

func TestS003_10_ConfigOffline(t *testing.T) {
	newGuide(t).want(schemas.BizNotOnline, single("bizType", `"OFF"`))
	newGuide(t).want(schemas.BizNotOnline, global("bizType", `"OFF"`)) // before its scope is looked at
}

func TestS003_11_ScopeMismatch(t *testing.T) {
	newGuide(t).want(schemas.NotSupportGlobal, single("bizType", `"GLOBAL-SDK-CONFIG"`))
	newGuide(t).want(schemas.NotSupportGlobal, global("bizType", `"UCHAT"`)) // both ways (D12)
}

func TestS003_12_PayloadOf4096Characters(t *testing.T) {
	for _, c := range []string{"a", "語", "😀", `\u8a9e`, `\ud83d\ude00`} {
		newGuide(t).want(schemas.Success, single("payload", quoted(strings.Repeat(c, 4096))))
		newGuide(t).want(schemas.PayloadLong, single("payload", quoted(strings.Repeat(c, 4097))))
	}
}

func TestS003_13_BinaryPayloadOf4096Characters(t *testing.T) {
	newGuide(t).want(schemas.Success, single("payload", "-", "binaryPayload", quoted(strings.Repeat("A", 4096))))
	newGuide(t).want(schemas.PayloadLong, single("payload", "-", "binaryPayload", quoted(strings.Repeat("A", 4100))))
	newGuide(t).want(schemas.PayloadLong, single("payload", "-", "binaryPayload", quoted(strings.Repeat("A", 4097))))
}

func TestS003_14_ThirdMsgIDOf100Characters(t *testing.T) {
	newGuide(t).want(schemas.Success, single("thirdMsgId", quoted(strings.Repeat("語", 100))))
	newGuide(t).want(schemas.ThirdMsgIDLong, single("thirdMsgId", quoted(strings.Repeat("語", 101))))
}

func TestS003_15_OtherFieldsTooLong(t *testing.T) {
	for field, limit := range map[string]int{"bizType": 30, "linkToken": 100, "osType": 10, "appMinVersion": 20, "appMaxVersion": 20} {
		newGuide(t).want(schemas.ArgsInvalid, single(field, quoted(strings.Repeat("1", limit+1))))
	}
}

func TestS003_16_FieldsAtTheirLimit(t *testing.T) {
	newGuide(t).want(schemas.Success, single("bizType", quoted(strings.Repeat("B", 30)), "linkToken", quoted(strings.Repeat("語", 100))))
}

func TestS003_17_ARepeatIsDroppedAndAnsweredWithTheOriginal(t *testing.T) {
	g := newGuide(t)
	g.want(schemas.Success, single("thirdMsgId", `"m0"`))
	g.want(schemas.Success, single("payload", `"first"`))
	code, id := g.post(single("payload", `"second"`))
	if code != schemas.DuplicatedBizID || !code.OK() || id != 2 || len(g.entries) != 2 || g.entries[1].Payload != "first" {
		t.Errorf("%s with id %d, %d entries", code, id, len(g.entries))
	}
}

func TestS003_18_TheKeyHasTargetAndBusiness(t *testing.T) {
	g := newGuide(t)
	g.want(schemas.Success, single())
	g.want(schemas.Success, single("linkToken", `"another"`))
	g.want(schemas.Success, single("bizType", `"DEVICE-LOCK"`))
	for i, e := range g.entries {
		if e.OplogID != 1 {
			t.Errorf("entry %d has id %d", i, e.OplogID)
		}
	}
}

func TestS003_19_TheKeyHasTheInstance(t *testing.T) {
	g := newGuide(t)
	g.want(schemas.Success, single())
	g.want(schemas.Success, single("instanceId", `"ws_APP2"`))
}

func TestS003_20_AFailedCallUsesUpNoKey(t *testing.T) {
	g := newGuide(t)
	g.want(schemas.BizNotOnline, single("bizType", `"OFF"`))
	g.want(schemas.ArgsIsNull, single("payload", "-"))
	g.want(schemas.PayloadLong, single("payload", quoted(strings.Repeat("x", 4097))))
	g.want(schemas.ArgsInvalid, single("osType", `"Plan9"`))
	g.want(schemas.Success, single())
	if len(g.entries) != 1 || g.entries[0].OplogID != 1 {
		t.Errorf("%+v", g.entries)
	}
}

func TestS003_21_OneOfFiftyMakesAnEntry(t *testing.T) {
	g := newGuide(t)
	duplicates := 0
	for range 50 {
		if code, id := g.post(single()); code == schemas.DuplicatedBizID && id == 1 {
			duplicates++
		}
	}
	if duplicates != 49 || len(g.entries) != 1 {
		t.Errorf("%d duplicates, %d entries", duplicates, len(g.entries))
	}
}

func TestS003_23_And_24_PayloadsAreKeptToTheByte(t *testing.T) {
	for text, want := range map[string]string{
		`"中文 \"json\": {\"a\": [1, 2]}  \t\r\n "`: "中文 \"json\": {\"a\": [1, 2]}  \t\r\n ",
		`"\u0001\u001f\u007f"`:                    "\x01\x1f\x7f",
		`"no JSON at all: { ] \\"`:                `no JSON at all: { ] \`,
		`"\u4e2d\ud83d\ude00"`:                    "中😀",
		`"e\u0301 \ufeff"`:                        "e\u0301 \ufeff", // nothing is normalized
	} {
		g := newGuide(t)
		g.want(schemas.Success, single("payload", text))
		if got := g.entries[0].Payload; got != want {
			t.Errorf("%s became %q", text, got)
		}
	}
}

func TestS003_25_BinaryIsKeptAsBytesAndIsNotText(t *testing.T) {
	raw := []byte{0, 1, 0xff, 0xfe, '{', '"'}
	g := newGuide(t)
	g.want(schemas.Success, single("payload", "-", "binaryPayload", quoted(base64.StdEncoding.EncodeToString(raw))))
	if e := g.entries[0]; string(e.Binary) != string(raw) || e.Payload != "" {
		t.Errorf("%+v", e)
	}
}

func TestS003_26_BadBase64OrBothPayloads(t *testing.T) {
	newGuide(t).want(schemas.ArgsInvalid, single("payload", "-", "binaryPayload", `"not base64"`))
	newGuide(t).want(schemas.ArgsInvalid, single("binaryPayload", `"aGk="`))
	newGuide(t).want(schemas.ArgsInvalid, single("binaryPayload", `"not base64"`))
}

func TestS003_27_OptionalFieldsAbsentNullOrEmpty(t *testing.T) {
	for _, v := range absent {
		for _, field := range []string{"osType", "appMinVersion", "appMaxVersion", "scope", "binaryPayload"} {
			g := newGuide(t)
			g.want(schemas.Success, single(field, v))
			if e := g.entries[0]; e.Filter() != (schemas.Filter{}) || e.Scope != "" || e.ValidTimeEnd != 1500 {
				t.Errorf("%s %s: %+v", field, v, e)
			}
		}
	}
	newGuide(t).want(schemas.Success, single("validTimeEnd", "null"))
}

func TestS003_28_InstanceMissingOrUnknown(t *testing.T) {
	for _, v := range absent {
		newGuide(t).want(schemas.ArgsIsNull, single("instanceId", v))
	}
	newGuide(t).want(schemas.BizNotOnline, single("instanceId", `"ws_APP3"`))
	newGuide(t).want(schemas.BizNotOnline, single("instanceId", `"WS_APP1"`))
}

func TestS003_30_WrongTypes(t *testing.T) {
	for _, body := range []string{
		"", "x", "[]", "{", single("payload", "7"), single("bizType", "{}"), single("linkToken", "2088102147396225"), single("thirdMsgId", "true"), single("validTimeEnd", `"soon"`), single("scope", "1"),
	} {
		newGuide(t).want(schemas.ArgsInvalid, body)
	}
}

// TestS003_31_TheOrderOfChecks has a request with every fault at once, and takes
// them away one by one in the order of spec D4.
func TestS003_31_TheOrderOfChecks(t *testing.T) {
	fields := map[string]string{
		"instanceId": "-", "bizType": "-", "linkToken": "-", "payload": "-", "thirdMsgId": "-", "osType": quoted("a system of a long name"), "appMinVersion": `"2"`, "appMaxVersion": `"1"`, "validTimeEnd": "-1",
	}
	body := func() string {
		var list []string
		for _, name := range []string{"instanceId", "bizType", "linkToken", "payload", "binaryPayload", "thirdMsgId", "osType", "appMinVersion", "appMaxVersion", "validTimeEnd", "scope"} {
			if v, ok := fields[name]; ok {
				list = append(list, name, v)
			}
		}
		return single(list...)
	}
	g := newGuide(t)
	long := func(n int) string { return quoted(strings.Repeat("x", n+1)) }
	for _, step := range []struct {
		code  schemas.Code
		field string // what is set right, or set wrong in its next way, afterwards
		value string
	}{
		{schemas.ArgsIsNull, "instanceId", `"unknown"`},
		{schemas.BizNotOnline, "instanceId", `"ws_APP1"`},
		{schemas.ArgsIsNull, "bizType", long(30)},
		{schemas.ArgsIsNull, "linkToken", long(100)},
		{schemas.ArgsIsNull, "payload", long(4096)},
		{schemas.ThirdMsgIDIsNull, "thirdMsgId", long(100)},
		{schemas.ArgsInvalid, "bizType", `"OFF"`},
		{schemas.ArgsInvalid, "linkToken", `"u"`},
		{schemas.PayloadLong, "payload", `"p"`},
		{schemas.ThirdMsgIDLong, "thirdMsgId", `"m1"`},
		{schemas.ArgsInvalid, "binaryPayload", `"aGk="`},
		{schemas.ArgsInvalid, "osType", `"Plan9"`},
		{schemas.ArgsInvalid, "binaryPayload", "-"},
		{schemas.ArgsInvalid, "osType", `"iOS"`},
		{schemas.ArgsInvalid, "validTimeEnd", "5"},
		{schemas.ArgsInvalid, "appMaxVersion", `"3"`},
		{schemas.BizNotOnline, "bizType", `"GLOBAL-SDK-CONFIG"`},
		{schemas.NotSupportGlobal, "bizType", `"UCHAT"`},
		{schemas.Success, "payload", `"again"`},
		{schemas.DuplicatedBizID, "", ""},
	} {
		g.want(step.code, body())
		fields[step.field] = step.value
	}
}

func TestS003_32_TheSampleRequest(t *testing.T) {
	g := newGuide(t)
	g.want(schemas.Success, `{"instanceId":"ws_APP1","bizType":"UCHAT","linkToken":"2088102147396225","payload":"testtest","osType":"IOS",
		"appMinVersion":"0.0.0.0","appMaxVersion":"100.100.100.100","validTimeEnd":1802592000000,"thirdMsgId":"1760000000000"}`)
	if e := g.entries[0]; !e.Filter().Admits("iOS", "10.1.60") || e.Filter().Admits("Android", "10.1.60") {
		t.Errorf("%+v", e.Filter())
	}
}

func TestS003_33_And_34_IDsAreCountedPerTargetAndBusiness(t *testing.T) {
	g := newGuide(t)
	for i := range 5 {
		for _, target := range []string{"u", "v"} {
			for _, biz := range []string{"UCHAT", "DEVICE-LOCK"} {
				if code, id := g.post(single("linkToken", quoted(target), "bizType", quoted(biz), "thirdMsgId", quoted(fmt.Sprint(i)))); code != schemas.Success || id != int64(i+1) {
					t.Errorf("%s of %s: %s, id %d", target, biz, code, id)
				}
			}
		}
		if code, id := g.post(global("thirdMsgId", quoted(fmt.Sprint(i)))); code != schemas.Success || id != int64(i+1) {
			t.Errorf("global: %s, id %d", code, id)
		}
	}
}

func TestD8_NonPersistentDataUsesUpItsKey(t *testing.T) {
	g := newGuide(t)
	g.want(schemas.Success, single("bizType", `"DEVICE-LOCK"`))
	g.want(schemas.DuplicatedBizID, single("bizType", `"DEVICE-LOCK"`))
	if !g.entries[0].NonPersistent {
		t.Error("the entry does not say that it is for sessions online now only")
	}
}

func TestD11_AGlobalKeyHasNoLinkToken(t *testing.T) {
	g := newGuide(t)
	g.want(schemas.Success, global())
	g.want(schemas.DuplicatedBizID, global("linkToken", `"u"`))
	g.want(schemas.Success, global("linkToken", `"u"`, "thirdMsgId", `"m2"`))
	if e := g.entries[1]; e.LinkToken != "" || !e.Global() || e.OplogID != 2 {
		t.Errorf("%+v", e)
	}
}

func TestUnparsableBodiesAreToldFromWrongOnes(t *testing.T) {
	// An HTTP door answers 400 to the former (D5).
	var r schemas.Request
	if err := r.DecodeJSON([]byte(`{"bizType":`)); !errors.Is(err, schemas.ErrJSONSyntax) {
		t.Error(err)
	}
	if err := r.DecodeJSON([]byte(`{"bizType":7}`)); err == nil || errors.Is(err, schemas.ErrJSONSyntax) {
		t.Error(err)
	}
}
