package edge

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/tidemarkio/tidemark/connectors/edge/session"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/state/view"
)

func TestParsePoints(t *testing.T) {
	for in, want := range map[string]map[string]view.SyncPoint{
		"":                           {},
		"A:3":                        {"A": {To: 3}},
		"A:3,B:0":                    {"A": {To: 3}, "B": {To: 0}},
		"A:3@1700000000000,B:0@1":    {"A": {To: 3, Rewind: 1_700_000_000_000}, "B": {Rewind: 1}},
		"a@b:3@5":                    {"a@b": {To: 3, Rewind: 5}},
		"A:3,A:4":                    {"A": {To: 4}},
		"with:colon:7":               {"with:colon": {To: 7}},
		"a%2Cb:1":                    {"a,b": {To: 1}},
		"100%:1":                     {"100%": {To: 1}},
		"%41:1":                      {"%41": {To: 1}}, // nothing that escapeBiz would have written
		"A:9223372036854775807":      {"A": {To: 1<<63 - 1}},
		"中文:5":                       {"中文": {To: 5}},
		url.QueryEscape("中文") + ":5": {"中文": {To: 5}},
	} {
		if got, err := parsePoints(in); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"A", ":1", "A:", "A:-1", "A:1x", "A:9223372036854775808", "A:1,,B:2", ",", "A:1@", "A:1@x", "A:1@-1", "A@1"} {
		if got, err := parsePoints(in); err == nil {
			t.Errorf("%q was read as %v", in, got)
		}
	}
	var many []string
	for i := range pointsMax + 1 {
		many = append(many, fmt.Sprint("B", i, ":1"))
	}
	if _, err := parsePoints(strings.Join(many, ",")); err == nil {
		t.Error("65 businesses were read")
	}
}

func FuzzParseStream(f *testing.F) {
	f.Add("instanceId=i&deviceId=d&biz=A,B&syncPoints=A:3", "01234567;A:3")
	f.Add("instanceId=i&deviceId=d&biz=%41%2C&syncPoints=%2541:3&os=iOS&appVersion=1.2", "")
	f.Add("%zz=1", ";")
	f.Fuzz(func(t *testing.T, query, cursor string) {
		h, err := parseStream(query, cursor, func(string) int { return tokenMax })
		if err != nil {
			if bad := asBadField(err); bad == nil || bad.field == "" || bad.why == "" {
				t.Fatalf("%q, %q: an error that names nothing: %v", query, cursor, err)
			}
			return
		}
		id := h.identity
		if id.InstanceID == "" || id.DeviceID == "" || len(h.biz) == 0 || len(h.biz) > schemas.MaxInterests {
			t.Fatalf("%q was let in as %+v", query, h)
		}
		for _, s := range []string{id.InstanceID, id.DeviceID, id.UserID, id.SessionID} {
			if utf8.RuneCountInString(s) > 100 && (s != id.SessionID || utf8.RuneCountInString(s) > tokenMax) || !utf8.ValidString(s) {
				t.Fatalf("%q was let in", s)
			}
		}
		seen := map[string]bool{}
		for _, b := range h.biz {
			if b.BizType == "" || seen[b.BizType] || b.Point < 0 || b.Point > 0 && !b.Known {
				t.Fatalf("%q: %+v", query, h.biz)
			}
			seen[b.BizType] = true
		}
	})
}

// A cursor says where each business is, whatever the names.
func FuzzCursor(f *testing.F) {
	f.Add("A", "B", int64(3), "junk")
	f.Add("a,b", "a:b;%", int64(1), "01234567;A:3")
	f.Fuzz(func(t *testing.T, one, two string, point int64, junk string) {
		if points, _, err := parseCursor(junk, "01234567"); err == nil && len(points) > pointsMax {
			t.Fatalf("%q holds %d points", junk, len(points))
		}
		if one == "" || two == "" || one == two || point < 0 || !utf8.ValidString(one) || !utf8.ValidString(two) {
			return
		}
		b := []byte("01234567;")
		b = append(b, escapeBiz(one)+":"...)
		b = fmt.Append(b, point, ",", escapeBiz(two), ":0")
		if bytes.ContainsAny(b, "\n\r\x00") {
			t.Fatalf("%q cannot stand in an event", b)
		}
		points, ours, err := parseCursor(string(b), "01234567")
		if err != nil || !ours || len(points) != 2 || points[one].To != point || points[two].To != 0 {
			t.Fatalf("%q was read as %v, %v, %v", b, points, ours, err)
		}
	})
}

func FuzzParseAck(f *testing.F) {
	f.Add([]byte(`{"instanceId":"i","deviceId":"d","userId":"u","bizType":"A","to":3}`))
	f.Add([]byte(`{"to":1e2}`))
	f.Add([]byte(`[[[[[[`))
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := parseAck(body)
		if err != nil {
			if bad := asBadField(err); bad == nil || bad.field == "" {
				t.Fatalf("%q: an error that names nothing: %v", body, err)
			}
			return
		}
		if a.InstanceID == "" || a.DeviceID == "" || a.BizType == "" || a.To == nil || *a.To < 0 || utf8.RuneCountInString(a.BizType) > schemas.MaxBizType {
			t.Fatalf("%q was taken as %+v", body, a)
		}
	})
}

// What any JSON reader makes of an event is what was in the entry.
func FuzzJSONOp(f *testing.F) {
	f.Add(int64(4), "m4", "text", []byte(nil))
	f.Add(int64(7), "\"\\\x00\x1f\u2028<>&", "\xff", []byte("hi"))
	f.Fuzz(func(t *testing.T, id int64, third, payload string, bin []byte) {
		if !utf8.ValidString(third) || !utf8.ValidString(payload) {
			return // no such entry can be decoded
		}
		b := appendJSONOp(nil, &schemas.Entry{OplogID: id, ThirdMsgID: third, Payload: payload, Binary: bin})
		if bytes.ContainsAny(b, "\n\r") {
			t.Fatalf("%q cannot stand in an event", b)
		}
		var got struct {
			ID         int64  `json:"id"`
			ThirdMsgID string `json:"thirdMsgId"`
			PL         string `json:"pl"`
			IsB        bool   `json:"isB"`
		}
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		want := payload
		if len(bin) > 0 {
			want = base64.StdEncoding.EncodeToString(bin)
		}
		if got.ID != id || got.ThirdMsgID != third || got.PL != want || got.IsB != (len(bin) > 0) {
			t.Fatalf("%q reads as %+v", b, got)
		}
	})
}

// clientMessage makes a WebSocket message as clients send it.
func clientMessage(op ws.OpCode, fin bool, payload []byte) []byte {
	h := ws.Header{Fin: fin, OpCode: op, Masked: true, Mask: [4]byte{1, 2, 3, 4}, Length: int64(len(payload))}
	var b bytes.Buffer
	_ = ws.WriteHeader(&b, h)
	masked := bytes.Clone(payload)
	ws.Cipher(masked, h.Mask, 0)
	b.Write(masked)
	return b.Bytes()
}

func TestWSReader(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 40_000)
	var in []byte
	in = append(in, clientMessage(ws.OpBinary, true, []byte("one"))...)
	in = append(in, clientMessage(ws.OpBinary, false, []byte("t"))...)
	in = append(in, clientMessage(ws.OpPing, true, []byte("ping"))...)
	in = append(in, clientMessage(ws.OpContinuation, false, []byte("w"))...)
	in = append(in, clientMessage(ws.OpContinuation, true, []byte("o"))...)
	in = append(in, clientMessage(ws.OpPong, true, nil)...)
	in = append(in, clientMessage(ws.OpBinary, true, long)...)
	in = append(in, clientMessage(ws.OpBinary, true, nil)...)
	for _, step := range []int{1, 7, 4096, len(in)} {
		var got []string
		r := new(wsReader)
		for rest := bytes.Clone(in); len(rest) > 0; {
			n := min(step, len(rest))
			if err := r.feed(rest[:n], func(b []byte) error {
				got = append(got, string(b))
				return nil
			}, func(b []byte) { got = append(got, "pong "+string(b)) }); err != nil {
				t.Fatalf("in steps of %d: %v", step, err)
			}
			rest = rest[n:]
		}
		if want := []string{"one", "pong ping", "two", string(long), ""}; !reflect.DeepEqual(got, want) || len(r.held) > 0 {
			t.Errorf("in steps of %d: %d messages, %d bytes held", step, len(got), len(r.held))
		}
	}
	for name, bad := range map[string][]byte{
		"text":              clientMessage(ws.OpText, true, []byte("x")),
		"unmasked":          {0x82, 1, 'x'},
		"reserved bits":     {0xf2, 0x80, 1, 2, 3, 4},
		"a long ping":       clientMessage(ws.OpPing, true, long[:200]),
		"a lone end":        clientMessage(ws.OpContinuation, true, nil),
		"two beginnings":    append(clientMessage(ws.OpBinary, false, nil), clientMessage(ws.OpBinary, true, nil)...),
		"too large":         clientMessage(ws.OpBinary, true, make([]byte, schemas.MaxClientFrame+1)),
		"too large by bits": append(clientMessage(ws.OpBinary, false, long), clientMessage(ws.OpContinuation, true, long)...),
		"an endless length": {0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	} {
		if err := new(wsReader).feed(bad, func([]byte) error { return nil }, func([]byte) {}); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if err := new(wsReader).feed(clientMessage(ws.OpClose, true, nil), nil, nil); !errors.Is(err, errWSClose) {
		t.Errorf("close: %v", err)
	}
}

func FuzzWSReader(f *testing.F) {
	f.Add(clientMessage(ws.OpBinary, true, []byte("one")), 3)
	f.Add([]byte{0x82, 0xfe, 0, 0}, 1)
	f.Fuzz(func(t *testing.T, in []byte, step int) {
		if step <= 0 {
			return
		}
		r, n := new(wsReader), 0
		for rest := in; len(rest) > 0; rest = rest[min(step, len(rest)):] {
			err := r.feed(bytes.Clone(rest[:min(step, len(rest))]), func(b []byte) error { n += len(b); return nil }, func([]byte) {})
			if err != nil || len(r.held) > schemas.MaxClientFrame+14 || len(r.message) > schemas.MaxClientFrame {
				if err == nil {
					t.Fatalf("%d bytes held, %d of a message", len(r.held), len(r.message))
				}
				return
			}
		}
		if n > len(in) {
			t.Fatalf("%d bytes out of %d", n, len(in))
		}
	})
}

func TestServerMessages(t *testing.T) {
	for _, n := range []int{0, 125, 126, 65_535, 65_536} {
		payload := bytes.Repeat([]byte("y"), n)
		b := appendWSBinary([]byte("before"), func(b []byte) []byte { return append(b, payload...) })
		r := bytes.NewReader(b[len("before"):])
		h, err := ws.ReadHeader(r)
		if err != nil || !h.Fin || h.OpCode != ws.OpBinary || h.Masked || h.Length != int64(n) || r.Len() != n {
			t.Errorf("%d bytes: %+v, %v, %d left", n, h, err, r.Len())
		}
	}
	b := appendWSClose(nil, schemas.CloseReplaced, strings.Repeat("z", 200))
	h, err := ws.ReadHeader(bytes.NewReader(b))
	if err != nil || h.OpCode != ws.OpClose || h.Length != 125 {
		t.Errorf("close: %+v, %v", h, err)
	}
}

// An entry is encoded once for each wire form, whoever receives it.
func TestFormsAreShared(t *testing.T) {
	e := &session.Entry{Entry: schemas.Entry{OplogID: 1, Payload: "x"}}
	a, b := form(e, formJSON, appendJSONOp), form(e, formJSON, appendJSONOp)
	if &a[0] != &b[0] {
		t.Error("encoded twice")
	}
	if p := form(e, formProto, schemas.AppendOp); bytes.Equal(p, a) {
		t.Error("the forms are mixed up")
	}
}
