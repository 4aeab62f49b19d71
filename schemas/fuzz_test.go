package schemas

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// Seeds of the JSON fuzz targets: one of each kind of trouble.
var jsonSeeds = []string{
	`{}`, `null`, `[]`, `{"instanceId":"i","bizType":"A","linkToken":"u","thirdMsgId":"m","payload":"p","binaryPayload":"aGk=","osType":"iOS","appMinVersion":"1","appMaxVersion":"2","validTimeEnd":1800000000000,"scope":"global"}`,
	`{"bizType":"A","bizType":null}`, `{"BizType":"A"}`, `{"bizType":7}`, `{"validTimeEnd":1e3}`, `{"validTimeEnd":-0}`, `{"validTimeEnd":1.0}`, `{"validTimeEnd":99999999999999999999}`,
	`{"payload":"\ud83d\ude00\u0000\/"}`, `{"payload":"\ud83d"}`, `{"a":[[[[{"b":[1,2]}]]]]}`, `{"payload":"` + "\xff" + `"}`, ` {"bizType" : "A"} `, `{}{}`, `{"a":1,}`, `{"\u0062izType":"A"}`,
}

// FuzzRequestJSON compares DecodeJSON with encoding/json, field by field.
func FuzzRequestJSON(f *testing.F) {
	for _, s := range jsonSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var got Request
		err := got.DecodeJSON(b)
		want, ok := reference(b)
		if syntax := !utf8.Valid(b) || !json.Valid(b); syntax && !errors.Is(err, ErrJSONSyntax) {
			t.Fatalf("not JSON, and the error is %v", err)
		} else if !syntax && errors.Is(err, ErrJSONSyntax) && depth(b) <= MaxJSONDepth {
			t.Fatalf("JSON, and the error is %v", err)
		}
		if err != nil {
			if ok && depth(b) <= MaxJSONDepth && !halfSurrogate(b) {
				t.Fatalf("encoding/json reads %+v, and the error is %v", want, err)
			}
			return
		}
		if !ok {
			t.Fatalf("encoding/json refuses it, got %+v", got)
		}
		got.Binary, got.Base64 = nil, "" // see TestWhatIsNotBase64IsKeptForValidate
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
	})
}

// reference reads a request with encoding/json, which would match names of any
// case by itself.
func reference(b []byte) (r Request, ok bool) {
	if string(bytes.TrimSpace(b)) == "null" {
		return r, true
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return r, false
	}
	var binary string
	fields := map[string]any{
		"instanceId": &r.InstanceID, "bizType": &r.BizType, "linkToken": &r.LinkToken, "thirdMsgId": &r.ThirdMsgID, "payload": &r.Payload, "binaryPayload": &binary,
		"osType": &r.OSType, "appMinVersion": &r.AppMinVersion, "appMaxVersion": &r.AppMaxVersion, "validTimeEnd": &r.ValidTimeEnd, "scope": &r.Scope,
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return r, false
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return r, false
		}
		if to := fields[name.(string)]; to != nil && json.Unmarshal(value, to) != nil {
			return r, false
		}
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return r, false
	}
	_, err := d.Token()
	return r, err == io.EOF
}

// depth is how deep brackets nest outside of strings.
func depth(b []byte) (deepest int) {
	d := json.NewDecoder(bytes.NewReader(b))
	for n := 0; ; {
		token, err := d.Token()
		if err != nil {
			return deepest
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			n++
			deepest = max(deepest, n)
		case json.Delim('}'), json.Delim(']'):
			n--
		}
	}
}

// halfSurrogate reports whether encoding/json puts a replacement character
// where the text has none.
func halfSurrogate(b []byte) bool {
	count := func(s string) int { return strings.Count(s, "\ufffd") + strings.Count(strings.ToLower(s), `\ufffd`) }
	var all strings.Builder
	d := json.NewDecoder(bytes.NewReader(b))
	for {
		token, err := d.Token()
		if err != nil {
			return count(all.String()) > count(string(b))
		}
		if s, ok := token.(string); ok {
			all.WriteString(s)
		}
	}
}

// FuzzRequest reads whatever a producer writes, checks it, and if it can be
// read, writes it and reads it again.
func FuzzRequest(f *testing.F) {
	whole := Request{"i", "A", "u", "m", "p", []byte{0}, "iOS", "1", "2", 3, "global", ""}
	f.Add("", whole.AppendProto(nil))
	f.Add(ContentProtobuf, []byte{0x0a, 0x05, 'x'})
	f.Add("application/json;x", []byte(`{"bizType":"A"}`))
	for _, s := range jsonSeeds {
		f.Add(ContentJSON, []byte(s))
	}
	f.Fuzz(func(t *testing.T, contentType string, b []byte) {
		var one, two Request
		if one.Decode(contentType, b) != nil {
			return
		}
		fault := one.Validate()
		if fault.None() != (fault.Reason == "") {
			t.Fatalf("fault %+v", fault)
		}
		if one.Base64 != "" {
			if fault.None() {
				t.Fatalf("%q passes as base64", one.Base64)
			}
			return
		}
		wire := one.AppendProto(nil)
		if err := two.DecodeProto(wire); err != nil {
			t.Fatalf("our own bytes %x: %v", wire, err)
		}
		if !bytes.Equal(two.AppendProto(nil), wire) || two.Validate() != fault || two.Key() != one.Key() {
			t.Fatalf("%+v became %+v", one, two)
		}
	})
}

// codec is a record that can be read, and written again.
type codec interface {
	Decode([]byte) error
	Append([]byte) []byte
}

// roundTrip holds a decoder to its encoder: what was read is written, and read
// again as the same.
func roundTrip(t *testing.T, one, two codec, b []byte) {
	t.Helper()
	if one.Decode(b) != nil {
		return
	}
	wire := one.Append(nil)
	if err := two.Decode(wire); err != nil {
		t.Fatalf("our own bytes %x: %v", wire, err)
	}
	if again := two.Append(nil); !bytes.Equal(again, wire) {
		t.Fatalf("%x became %x", wire, again)
	}
}

// The public records and signed control records, as codecs.
type (
	entryCodec   struct{ Entry }
	resultCodec  struct{ Result }
	controlCodec struct{ Control }
)

func (c *entryCodec) Append(b []byte) []byte {
	return AppendChain(c.AppendCanonical(b), c.Chain)
}
func (c *resultCodec) Decode(b []byte) error   { return c.DecodeProto(b) }
func (c *resultCodec) Append(b []byte) []byte  { return c.AppendProto(b) }
func (c *controlCodec) Decode(b []byte) error  { return c.Control.Decode(b, ClusterKey{1}) }
func (c *controlCodec) Append(b []byte) []byte { return c.Control.Append(b, ClusterKey{1}) }

func FuzzEntry(f *testing.F) {
	whole := entryCodec{Entry{"i", "A", "u", "m", "p", []byte{0}, "iOS", "1", "2", 3, "global", 4, 5, -1, 6, 7, true, [ChainLen]byte{1}}}
	f.Add(whole.Append(nil))
	f.Add(AppendChain(nil, [ChainLen]byte{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		roundTrip(t, new(entryCodec), new(entryCodec), b)
		if canonical, err := Canonical(b); err == nil && !bytes.Equal(AppendChain(bytes.Clone(canonical), [ChainLen]byte(b[len(b)-ChainLen:])), b) {
			t.Fatalf("canonical bytes of %x are %x", b, canonical)
		}
	})
}

func FuzzResult(f *testing.F) {
	whole := resultCodec{Result{Success, "why", "i", "A", "u", "m", 1, -2, 3, []byte("r"), []byte("v")}}
	f.Add(whole.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) { roundTrip(t, new(resultCodec), new(resultCodec), b) })
}

// FuzzControl signs what the fuzzer makes of a body, or it would not get past
// the signature; and reads it unsigned.
func FuzzControl(f *testing.F) {
	whole := Control{1, 2, 3, 4, []Change{{PutSync, "i", SyncConfig{"A", "specified", "user", true, true, "threshold", 5, true, true, "d"}}, {Kind: DeleteInstance, InstanceID: "j"}}}
	f.Add(byte(1), whole.appendBody(nil))
	f.Add(byte(2), []byte{})
	f.Add(byte(1), []byte{0x2a, 0x01, 0xff})
	f.Fuzz(func(t *testing.T, version byte, body []byte) {
		key := ClusterKey{1}
		record := append(append([]byte{version}, controlMAC(key, version, body)...), body...)
		roundTrip(t, new(controlCodec), new(controlCodec), record)
		var c Control
		if err := c.Decode(record, key); (version != internalVersion) != errors.Is(err, ErrVersion) {
			t.Fatalf("version %d: %v", version, err)
		}
		if err := c.Decode(body, key); !errors.Is(err, ErrMAC) {
			t.Fatalf("%x without a signature: %v", body, err)
		}
	})
}

func FuzzChange(f *testing.F) {
	f.Add((&Change{PutSync, "i", SyncConfig{"A", "global", "device", true, true, "queue", 5, true, true, "d"}}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) { roundTrip(t, new(Change), new(Change), b) })
}

func FuzzCheckpoint(f *testing.F) {
	f.Add((&Checkpoint{InstanceID: "i", BizType: "A", LinkToken: "u", OplogID: 1, Position: 2}).Append(nil))
	f.Add((&Checkpoint{Base: &Base{1, 2, 3, [ChainLen]byte{4}, 5, 6, 7, "t", "k", []Change{{Kind: PutInstance, InstanceID: "i"}}}}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		roundTrip(t, new(Checkpoint), new(Checkpoint), b)
		if instance, biz, link, err := ParseCounterKey(b); err == nil {
			i, z, l, err := ParseCounterKey(CounterKey(nil, instance, biz, link))
			if err != nil || i != instance || z != biz || l != link {
				t.Fatalf("key of %q, %q, %q reads as %q, %q, %q, %v", instance, biz, link, i, z, l, err)
			}
		}
	})
}

func FuzzAck(f *testing.F) {
	f.Add((&Ack{"i", "A", "u", "d", 1, 2, 3, 4, true}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) { roundTrip(t, new(Ack), new(Ack), b) })
}

func FuzzPresence(f *testing.F) {
	f.Add((&Presence{"e", 1, "s", "i", "u", "user", "d", "iOS", "1.0", []string{"A", "B"}, true, true, 2, 3, "u", "sse"}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) { roundTrip(t, new(Presence), new(Presence), b) })
}

// FuzzVersions: the order of versions is an order.
func FuzzVersions(f *testing.F) {
	f.Add("8.6.0.9999", "9.0", "0010")
	f.Add("1..2", "", "1.")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		if !ValidVersion(a) || !ValidVersion(b) || !ValidVersion(c) {
			return
		}
		if CompareVersions(a, a) != 0 || CompareVersions(a, b) != -CompareVersions(b, a) {
			t.Fatalf("%q and %q", a, b)
		}
		if CompareVersions(a, b) <= 0 && CompareVersions(b, c) <= 0 && CompareVersions(a, c) > 0 {
			t.Fatalf("%q <= %q <= %q, and not %q <= %q", a, b, c, a, c)
		}
		if a != "" && (Filter{AppMinVersion: a, AppMaxVersion: a}).Admits("", b) != (b != "" && CompareVersions(a, b) == 0) {
			t.Fatalf("filter of %q for %q", a, b)
		}
	})
}
