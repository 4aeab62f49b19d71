package schemas

import (
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestJSONRequest(t *testing.T) {
	full := Request{
		InstanceID: "sit_320C94C171133", BizType: "UCHAT", LinkToken: "2088102147396225", ThirdMsgID: "m1", Payload: "p",
		OSType: "iOS", AppMinVersion: "0.0.0.0", AppMaxVersion: "100.100.100.100", ValidTimeEnd: 1_800_000_000_000, Scope: "specified",
	}
	for name, c := range map[string]struct {
		json string
		want Request
	}{
		"every field": {`{"instanceId":"sit_320C94C171133","bizType":"UCHAT","linkToken":"2088102147396225","thirdMsgId":"m1","payload":"p",
			"osType":"iOS","appMinVersion":"0.0.0.0","appMaxVersion":"100.100.100.100","validTimeEnd":1800000000000,"scope":"specified"}`, full},
		"nothing":                         {`{}`, Request{}},
		"white space":                     {" \t\r\n{ \"bizType\" : \"A\" } \n", Request{BizType: "A"}},
		"null is absent":                  {`{"bizType":null,"validTimeEnd":null,"payload":null,"binaryPayload":null,"scope":null}`, Request{}},
		"unknown fields":                  {`{"bizType":"A","later":{"a":[1,2,{"b":null}]},"":0}`, Request{BizType: "A"}},
		"names in another case":           {`{"BizType":"A","BIZTYPE":"B","biztype":"C"}`, Request{}},
		"a name that merely starts alike": {`{"bizTypes":"A","bizTyp":"B"}`, Request{}},
		"repeated: the last counts":       {`{"bizType":"A","bizType":"B"}`, Request{BizType: "B"}},
		"an escaped name":                 {`{"\u0062izType":"A"}`, Request{BizType: "A"}},
		"text of all planes":              {`{"payload":"日本 \ud83d\ude00 😀 \u00e9"}`, Request{Payload: "日本 😀 😀 é"}},
		"NUL and control characters":      {`{"payload":"a\u0000b\u001f\t\n"}`, Request{Payload: "a\x00b\x1f\t\n"}},
		"JSON as text":                    {`{"payload":"{\"a\": [1]}"}`, Request{Payload: `{"a": [1]}`}},
		"white space in text is kept":     {`{"payload":"  a \n b  "}`, Request{Payload: "  a \n b  "}},
		"a slash and an escaped one":      {`{"payload":"/\/"}`, Request{Payload: "//"}},
		"a noncharacter":                  {`{"payload":"\uffff"}`, Request{Payload: "\uffff"}},
		"binary":                          {`{"binaryPayload":"AP+A"}`, Request{Binary: []byte{0, 255, 128}}},
		"binary with padding":             {`{"binaryPayload":"aA=="}`, Request{Binary: []byte("h")}},
		"an escaped slash in base64":      {`{"binaryPayload":"\/\/\/\/"}`, Request{Binary: []byte{255, 255, 255}}},
		"empty binary":                    {`{"binaryPayload":""}`, Request{}},
		"a negative time":                 {`{"validTimeEnd":-1}`, Request{ValidTimeEnd: -1}},
		"the largest number":              {`{"validTimeEnd":9223372036854775807}`, Request{ValidTimeEnd: 1<<63 - 1}},
	} {
		var r Request
		if err := r.DecodeJSON([]byte(c.json)); err != nil || !reflect.DeepEqual(r, c.want) {
			t.Errorf("%s: got %+v, %v", name, r, err)
		}
	}
}

func TestWhatIsNotBase64IsKeptForValidate(t *testing.T) {
	for name, text := range map[string]string{
		"other letters": "aGk!", "no padding": "aA", "half of the padding": "aA=", "too much padding": "aGk==", "padding inside": "aA==aA==",
		"bits beyond the end": "aB==", "the alphabet of URLs": "-_-_", "a line break": "aGk\\nAAAA", "a carriage return": "aGkA\\r\\n", "white space": " aGk", "not ASCII": "é===", "NUL": "\\u0000AAA",
	} {
		var r Request
		if err := r.DecodeJSON([]byte(`{"binaryPayload":"` + text + `"}`)); err != nil || r.Base64 == "" || r.Binary != nil {
			t.Errorf("%s: got %+v, %v", name, r, err)
		}
		r.BizType, r.LinkToken, r.ThirdMsgID = "A", "u", "m"
		if f := r.Validate(); f.Code != ArgsInvalid || !strings.Contains(f.Reason, "base64") {
			t.Errorf("%s: %v", name, f)
		}
	}
}

func TestWrongJSON(t *testing.T) {
	syntax := map[string]string{
		"nothing at all": "", "white space": "  ", "cut": `{"bizType":"A"`, "cut in a string": `{"bizType":"A`, "text behind it": `{} x`, "two values": `{}{}`, "a comma too many": `{"a":1,}`,
		"no quotes": `{bizType:"A"}`, "single quotes": `{'bizType':'A'}`, "a comment": `{/**/}`, "a byte order mark": "\ufeff{}", "not UTF-8": "{\"payload\":\"\xff\"}",
		"a surrogate in UTF-8": "{\"payload\":\"\xed\xa0\x80\"}", "an overlong form": "{\"payload\":\"\xc0\x80\"}", "a bare control character": "{\"payload\":\"a\x01\"}", "a bare line break": "{\"payload\":\"a\nb\"}",
		"an unknown escape": `{"payload":"\x"}`, "a short escape": `{"payload":"\u12"}`, "a wrong escape": `{"payload":"\u12G4"}`, "a leading zero": `{"validTimeEnd":01}`, "a plus sign": `{"validTimeEnd":+1}`,
		"NaN": `{"validTimeEnd":NaN}`, "a wrong literal": `{"payload":nul}`, "brackets crossed": `{"a":[}]`, "hexadecimal": `{"validTimeEnd":0x10}`,
		"too deep":            `{"a":` + strings.Repeat("[", MaxJSONDepth) + strings.Repeat("]", MaxJSONDepth) + `}`,
		"deep enough to hurt": strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000),
	}
	for name, body := range syntax {
		if err := new(Request).DecodeJSON([]byte(body)); !errors.Is(err, ErrJSONSyntax) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, body := range []string{`{"payload":"\ud83d"`, `{"payload":"\ud83d"}}`, `"\ud83d" 1`} {
		if err := new(Request).DecodeJSON([]byte(body)); !errors.Is(err, ErrJSONSyntax) {
			t.Errorf("%s: that it is not JSON counts more than half a surrogate pair: %v", body, err)
		}
	}
	for body, want := range map[string]string{
		`[]`: "object", `"text"`: "object", `7`: "object", `true`: "object", `null`: "", `[{"bizType":"A"}]`: "object",
		`{"instanceId":7}`: "instanceId", `{"bizType":true}`: "bizType", `{"linkToken":["u"]}`: "linkToken", `{"thirdMsgId":{}}`: "thirdMsgId", `{"payload":{"a":1}}`: "payload", `{"binaryPayload":1.5}`: "binaryPayload",
		`{"osType":0}`: "osType", `{"appMinVersion":8.6}`: "appMinVersion", `{"appMaxVersion":9}`: "appMaxVersion", `{"scope":false}`: "scope",
		`{"validTimeEnd":"1800000000000"}`: "validTimeEnd", `{"validTimeEnd":1.5}`: "validTimeEnd", `{"validTimeEnd":1e3}`: "validTimeEnd", `{"validTimeEnd":9223372036854775808}`: "validTimeEnd", `{"validTimeEnd":true}`: "validTimeEnd",
	} {
		err := new(Request).DecodeJSON([]byte(body))
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", body, err)
		case want != "" && (err == nil || errors.Is(err, ErrJSONSyntax) || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want it to name %s", body, err, want)
		}
	}
}

func TestTheDeepestJSONThatIsRead(t *testing.T) {
	deep := func(n int) []byte {
		return []byte(`{"a":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `,"bizType":"A"}`)
	}
	var r Request
	if err := r.DecodeJSON(deep(MaxJSONDepth)); err != nil || r.BizType != "A" {
		t.Errorf("%d deep: %v", MaxJSONDepth, err)
	}
	if err := r.DecodeJSON(deep(MaxJSONDepth + 1)); err == nil {
		t.Errorf("%d deep: no error", MaxJSONDepth+1)
	}
	brackets := `{"payload":"` + strings.Repeat("[{", 100) + `"}` // in a string they are text
	if err := r.DecodeJSON([]byte(brackets)); err != nil {
		t.Error(err)
	}
}

func TestHalfASurrogatePairIsRefused(t *testing.T) {
	for text, ok := range map[string]bool{
		`\ud83d\ude00`: true, `\uD83D\uDE00`: true, `x\ud83d\ude00y`: true, `\\ud83d`: true, `\\\ud83d\ude00`: true,
		`\ud83d`: false, `\ude00`: false, `\ude00\ud83d`: false, `\ud83dx`: false, `\ud83d\u0041`: false, `\ud83d\ud83d\ude00`: false, `\ud83d\n`: false, `\\\ud83d`: false, `\ud83d\\ude00`: false,
	} {
		for _, body := range []string{`{"payload":"` + text + `"}`, `{"later":"` + text + `"}`, `{"` + text + `":1}`} {
			err := new(Request).DecodeJSON([]byte(body))
			if ok != (err == nil) {
				t.Errorf("%s: %v", body, err)
			}
			if !ok && (errors.Is(err, ErrJSONSyntax) || !strings.Contains(err.Error(), "surrogate")) {
				t.Errorf("%s: %v, want it to speak of surrogates", body, err)
			}
		}
	}
}

func TestTheFormOfARequest(t *testing.T) {
	want := Request{InstanceID: "i", BizType: "A"}
	pb, js := want.AppendProto(nil), []byte(`{"instanceId":"i","bizType":"A"}`)
	for name, c := range map[string]struct {
		contentType string
		value       []byte
		ok          bool
	}{
		"protobuf": {ContentProtobuf, pb, true}, "JSON": {ContentJSON, js, true}, "protobuf by its looks": {"", pb, true}, "JSON by its looks": {"", js, true},
		"JSON said to be protobuf": {ContentProtobuf, js, false}, "protobuf said to be JSON": {ContentJSON, pb, false}, "another type": {"text/plain", js, false},
		"a type with parameters": {"application/json; charset=utf-8", js, true}, "a type in capitals": {" Application/JSON ", js, true}, "only parameters": {"; charset=utf-8", js, true}, "JSON behind white space": {"", append([]byte(" "), js...), false},
	} {
		var r Request
		err := r.Decode(c.contentType, c.value)
		if c.ok != (err == nil) || c.ok && !reflect.DeepEqual(r, want) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	var r Request
	if err := r.Decode("", nil); err != nil || !reflect.DeepEqual(r, Request{}) {
		t.Errorf("an empty value is an empty message: %+v, %v", r, err)
	}
	big := Request{Payload: strings.Repeat("x", MaxRequestBytes)}
	if err := r.Decode("", big.AppendProto(nil)); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("a request over the limit: %v", err)
	}
}

// The sum of all limits, escaped at the worst, fits into a request.
func TestTheLargestValidRequestFits(t *testing.T) {
	escaped := func(n int) string { return strings.Repeat(`\ud83d\ude00`, n) }
	body := fmt.Sprintf(`{"instanceId":"%s","bizType":"%s","linkToken":"%s","payload":"%s","thirdMsgId":"%s","osType":"Android","appMinVersion":"%s","appMaxVersion":"%s","validTimeEnd":%d,"scope":"specified"}`,
		escaped(MaxInstanceID), escaped(MaxBizType), escaped(MaxLinkToken), escaped(MaxPayload), escaped(MaxThirdMsgID), strings.Repeat("1", MaxVersion), strings.Repeat("2", MaxVersion), int64(MaxValidTime))
	var r Request
	if err := r.Decode(ContentJSON, []byte(body)); err != nil {
		t.Fatal(err)
	}
	if f := r.Validate(); !f.None() {
		t.Error(f)
	}
	if n := len(r.AppendProto(nil)); n > MaxRequestBytes {
		t.Errorf("as protobuf it takes %d bytes", n)
	}
}

func TestKeyDecidesThePartition(t *testing.T) {
	for want, r := range map[string]Request{
		"u": {InstanceID: "i", BizType: "A", LinkToken: "u"}, "i/A": {InstanceID: "i", BizType: "A", LinkToken: "u", Scope: ScopeGlobal}, "": {InstanceID: "i", BizType: "A", Scope: ScopeSpecified},
	} {
		if got := r.Key(); got != want {
			t.Errorf("%+v: %q, want %q", r, got, want)
		}
	}
	for want, e := range map[string]Entry{"u": {InstanceID: "i", BizType: "A", LinkToken: "u"}, "i/A": {InstanceID: "i", BizType: "A", Scope: ScopeGlobal}} {
		if got := e.Key(); got != want {
			t.Errorf("%+v: %q, want %q", e, got, want)
		}
	}
}

func TestBinaryIsMeasuredInBase64(t *testing.T) {
	for raw, code := range map[int]Code{3072: "", 3073: PayloadLong} {
		r := Request{BizType: "A", LinkToken: "u", ThirdMsgID: "m", Binary: make([]byte, raw)}
		if f := r.Validate(); f.Code != code {
			t.Errorf("%d bytes, %d characters: %v", raw, base64.StdEncoding.EncodedLen(raw), f)
		}
	}
}
