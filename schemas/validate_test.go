package schemas

import (
	"strings"
	"testing"
)

// faults puts one thing wrong into a request each, in the order in which they
// are looked for (spec D4, without what needs settings).
var faults = []struct {
	name string
	code Code
	word string // that the reason must hold
	do   func(*Request)
}{
	{"no bizType", ArgsIsNull, "bizType", func(r *Request) { r.BizType = "" }},
	{"no linkToken", ArgsIsNull, "linkToken", func(r *Request) { r.LinkToken = "" }},
	{"no payload", ArgsIsNull, "payload", func(r *Request) { r.Payload = "" }},
	{"no thirdMsgId", ThirdMsgIDIsNull, "thirdMsgId", func(r *Request) { r.ThirdMsgID = "" }},
	{"instanceId too long", ArgsInvalid, "instanceId", func(r *Request) { r.InstanceID = long(MaxInstanceID) }},
	{"bizType too long", ArgsInvalid, "bizType", func(r *Request) { r.BizType = long(MaxBizType) }},
	{"linkToken too long", ArgsInvalid, "linkToken", func(r *Request) { r.LinkToken = long(MaxLinkToken) }},
	{"payload too long", PayloadLong, "payload", func(r *Request) { r.Payload = long(MaxPayload) }},
	{"thirdMsgId too long", ThirdMsgIDLong, "thirdMsgId", func(r *Request) { r.ThirdMsgID = long(MaxThirdMsgID) }},
	{"osType too long", ArgsInvalid, "osType", func(r *Request) { r.OSType = long(MaxOSType) }},
	{"appMinVersion too long", ArgsInvalid, "appMinVersion", func(r *Request) { r.AppMinVersion = strings.Repeat("1", MaxVersion+1) }},
	{"appMaxVersion too long", ArgsInvalid, "appMaxVersion", func(r *Request) { r.AppMaxVersion = strings.Repeat("1", MaxVersion+1) }},
	{"both payloads", ArgsInvalid, "both", func(r *Request) { r.Binary = []byte{1} }},
	{"wrong scope", ArgsInvalid, "scope", func(r *Request) { r.Scope = "everybody" }},
	{"wrong osType", ArgsInvalid, "osType", func(r *Request) { r.OSType = "Plan9" }},
	{"negative validTimeEnd", ArgsInvalid, "validTimeEnd", func(r *Request) { r.ValidTimeEnd = -1 }},
	{"wrong appMinVersion", ArgsInvalid, "appMinVersion", func(r *Request) { r.AppMinVersion = "1.x" }},
	{"wrong appMaxVersion", ArgsInvalid, "appMaxVersion", func(r *Request) { r.AppMaxVersion = "1." }},
}

func long(limit int) string { return strings.Repeat("語", limit+1) }

func valid() Request {
	return Request{InstanceID: "i", BizType: "A", LinkToken: "u", ThirdMsgID: "m", Payload: "p"}
}

func TestEachFaultHasItsCode(t *testing.T) {
	for _, c := range faults {
		r := valid()
		c.do(&r)
		if f := r.Validate(); f.Code != c.code || !strings.Contains(f.Reason, c.word) || f.Code.OK() {
			t.Errorf("%s: %v", c.name, f)
		}
	}
	r := valid()
	if f := r.Validate(); !f.None() {
		t.Errorf("a valid request: %v", f)
	}
}

// Of two faults the one that comes first in the order is reported (S003-31).
func TestOfSeveralFaultsTheFirstInOrderIsReported(t *testing.T) {
	pairs := 0
	for i, first := range faults {
		for _, second := range faults[i+1:] {
			if sameField(first.name, second.name) {
				continue // one would undo the other
			}
			pairs++
			r := valid()
			second.do(&r)
			first.do(&r)
			if f := r.Validate(); f.Code != first.code || !strings.Contains(f.Reason, first.word) {
				t.Errorf("%s and %s: %v", first.name, second.name, f)
			}
		}
	}
	if pairs < 120 {
		t.Errorf("only %d pairs", pairs)
	}
}

func sameField(a, b string) bool {
	for _, name := range []string{"bizType", "linkToken", "thirdMsgId", "payload", "osType", "appMinVersion", "appMaxVersion"} {
		if strings.Contains(a, name) && strings.Contains(b, name) {
			return true
		}
	}
	return false
}

// Lengths are code points after decoding (spec D6): S003-12, 14, 15, 16.
func TestLimitsCountCodePoints(t *testing.T) {
	for _, c := range []struct {
		field string
		limit int
		code  Code
		set   func(*Request, string)
	}{
		{"instanceId", MaxInstanceID, ArgsInvalid, func(r *Request, s string) { r.InstanceID = s }},
		{"bizType", MaxBizType, ArgsInvalid, func(r *Request, s string) { r.BizType = s }},
		{"linkToken", MaxLinkToken, ArgsInvalid, func(r *Request, s string) { r.LinkToken = s }},
		{"thirdMsgId", MaxThirdMsgID, ThirdMsgIDLong, func(r *Request, s string) { r.ThirdMsgID = s }},
		{"payload", MaxPayload, PayloadLong, func(r *Request, s string) { r.Payload = s }},
	} {
		for _, char := range []string{"a", "é", "語", "😀"} {
			r := valid()
			c.set(&r, strings.Repeat(char, c.limit))
			if f := r.Validate(); !f.None() {
				t.Errorf("%s of %d times %s: %v", c.field, c.limit, char, f)
			}
			c.set(&r, strings.Repeat(char, c.limit+1))
			if f := r.Validate(); f.Code != c.code || !strings.Contains(f.Reason, c.field) {
				t.Errorf("%s of %d times %s: %v", c.field, c.limit+1, char, f)
			}
		}
	}
	// A character built of two code points counts twice, as the words say.
	r := valid()
	r.BizType = strings.Repeat("e\u0301", MaxBizType/2)
	if f := r.Validate(); !f.None() {
		t.Error(f)
	}
	r.BizType += "e"
	if f := r.Validate(); f.Code != ArgsInvalid {
		t.Error(f)
	}
}

func TestBinaryPayloadCountsCharactersOfBase64(t *testing.T) {
	// S003-13, and of what is not base64 the characters as they came.
	for text, code := range map[string]Code{
		strings.Repeat("A", MaxBinary): "", strings.Repeat("A", MaxBinary+4): PayloadLong,
		strings.Repeat("!", MaxBinary): ArgsInvalid, strings.Repeat("!", MaxBinary+1): PayloadLong, strings.Repeat("é", MaxBinary): ArgsInvalid,
	} {
		var r Request
		if err := r.DecodeJSON([]byte(`{"instanceId":"i","bizType":"A","linkToken":"u","thirdMsgId":"m","binaryPayload":"` + text + `"}`)); err != nil {
			t.Fatal(err)
		}
		if f := r.Validate(); f.Code != code {
			t.Errorf("%d characters like %.1s: %v", len(text), text, f)
		}
	}
}

func TestOptionalFields(t *testing.T) {
	// S003-27, S003-32 and the table of spec 1.3.2.
	for name, c := range map[string]struct {
		code Code
		set  func(*Request)
	}{
		"none":                        {"", func(*Request) {}},
		"iOS":                         {"", func(r *Request) { r.OSType = "iOS" }},
		"IOS":                         {"", func(r *Request) { r.OSType = "IOS" }},
		"ANDROID":                     {"", func(r *Request) { r.OSType = "ANDROID" }},
		"android":                     {"", func(r *Request) { r.OSType = "android" }},
		"iOS with white space":        {ArgsInvalid, func(r *Request) { r.OSType = "iOS " }},
		"a letter that folds to s":    {ArgsInvalid, func(r *Request) { r.OSType = "iOſ" }},
		"versions of the sample":      {"", func(r *Request) { r.AppMinVersion, r.AppMaxVersion = "0.0.0.0", "100.100.100.100" }},
		"equal versions":              {"", func(r *Request) { r.AppMinVersion, r.AppMaxVersion = "1.0", "1" }},
		"only a lower bound":          {"", func(r *Request) { r.AppMinVersion = "8.6.0.9999" }},
		"bounds crossed":              {ArgsInvalid, func(r *Request) { r.AppMinVersion, r.AppMaxVersion = "9.0.0.9999", "8.6.0.9999" }},
		"bounds crossed as numbers":   {ArgsInvalid, func(r *Request) { r.AppMinVersion, r.AppMaxVersion = "10", "9" }},
		"a version with a letter":     {ArgsInvalid, func(r *Request) { r.AppMaxVersion = "v1" }},
		"a version of other digits":   {ArgsInvalid, func(r *Request) { r.AppMaxVersion = "１" }},
		"a version of 20 characters":  {"", func(r *Request) { r.AppMaxVersion = strings.Repeat("9", MaxVersion) }},
		"validTimeEnd in the past":    {"", func(r *Request) { r.ValidTimeEnd = 1 }},
		"validTimeEnd of 13 digits":   {"", func(r *Request) { r.ValidTimeEnd = MaxValidTime }},
		"validTimeEnd of 14 digits":   {ArgsInvalid, func(r *Request) { r.ValidTimeEnd = MaxValidTime + 1 }},
		"scope specified":             {"", func(r *Request) { r.Scope = ScopeSpecified }},
		"scope global":                {"", func(r *Request) { r.Scope = ScopeGlobal }},
		"scope global, no link token": {"", func(r *Request) { r.Scope, r.LinkToken = ScopeGlobal, "" }},
		"Scope in capitals":           {ArgsInvalid, func(r *Request) { r.Scope = "GLOBAL" }},
	} {
		r := valid()
		c.set(&r)
		if f := r.Validate(); f.Code != c.code {
			t.Errorf("%s: %v", name, f)
		}
	}
}

func TestCodes(t *testing.T) {
	for _, info := range Codes {
		if info.Success != info.Code.OK() || info.Meaning == "" {
			t.Errorf("%+v", info)
		}
	}
	if len(Codes) != 12 {
		t.Errorf("%d codes", len(Codes))
	}
	if err := error(Fault{PayloadLong, "payload is over 4096 characters"}); err.Error() != "PAYLOAD_LONG: payload is over 4096 characters" {
		t.Error(err)
	}
}
