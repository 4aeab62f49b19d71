package edge

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tidemarkio/tidemark/schemas"
)

// The example of the interface's description, to the letter.
func TestStreamEvent(t *testing.T) {
	h := newHouse(t, nil)
	h.task.push(text("A", "u1", "1"), text("A", "u1", "2"), text("A", "u1", "3"), text("A", "u1", "text"))
	h.task.push(schemas.Entry{BizType: "A", LinkToken: "u1", Payload: "x", OSType: "iOS"}, schemas.Entry{BizType: "A", LinkToken: "u1", Payload: "x", AppMinVersion: "1.0"})
	h.task.push(schemas.Entry{BizType: "A", LinkToken: "u1", ThirdMsgID: "m7", Binary: []byte("hi")})
	s := h.dial("deviceId=d1 userId=u1 biz=A syncPoints=A:3")
	s.want(`{"bizType":"A","from":3,"to":7,"op":[{"id":4,"thirdMsgId":"m4","pl":"text"},{"id":7,"thirdMsgId":"m7","pl":"aGk=","isB":true}]}`)
}

// S003-23: whatever the payload, it arrives as it was.
func TestPayloadArrivesUnchanged(t *testing.T) {
	h := newHouse(t, nil)
	s := h.dial("deviceId=d1 userId=u1 biz=A")
	for _, payload := range []string{
		"中文，emoji 🙂", `{"json":"\"escaped\"\\ \u0041"}`, "tabs\tand\nlines\r\nand\x01control", "<script>&'\u2028\u2029\x7f", strings.Repeat("长", 4096),
	} {
		h.task.push(text("A", "u1", payload))
		var got struct {
			Op []struct {
				PL  string `json:"pl"`
				IsB bool   `json:"isB"`
			} `json:"op"`
		}
		if err := json.Unmarshal([]byte(s.next().data), &got); err != nil || len(got.Op) != 1 || got.Op[0].PL != payload || got.Op[0].IsB {
			t.Errorf("%.40q arrived as %.80v, %v", payload, got, err)
		}
	}
}

func one(id int64, payload string) string {
	return fmt.Sprintf(`{"id":%d,"thirdMsgId":"m%d","pl":%q}`, id, id, payload)
}

func span(biz string, from, to int64, ops ...string) string {
	return fmt.Sprintf(`{"bizType":%q,"from":%d,"to":%d,"op":[%s]}`, biz, from, to, strings.Join(ops, ","))
}

// S003-39 to S003-41, over the whole of it: what was not acknowledged comes
// again, what was does not, on the same edge and after a restart.
func TestAcknowledgedIsNotSentAgain(t *testing.T) {
	h := newHouse(t, nil)
	h.task.push(text("A", "u1", "a"), text("A", "u1", "b"), text("B", "u1", "c"))
	s := h.dial("deviceId=d1 userId=u1 biz=A,B")
	s.want(span("A", 0, 2, one(1, "a"), one(2, "b")))
	s.want(span("B", 0, 1, one(1, "c")))
	h.ack("d1", "u1", "A", 1)
	s.close()

	s = h.dial("deviceId=d1 userId=u1 biz=A,B")
	s.want(span("A", 1, 2, one(2, "b")))
	s.want(span("B", 0, 1, one(1, "c")))
	h.ack("d1", "u1", "A", 2)
	h.ack("d1", "u1", "B", 1)
	s.close()

	h.restart()
	h.task.push(text("A", "u1", "d"))
	s = h.dial("deviceId=d1 userId=u1 biz=A,B")
	s.want(span("A", 2, 3, one(3, "d")))
}

// The view that a crash leaves may be older: it catches up from the topics.
func TestRestartFromNothing(t *testing.T) {
	h := newHouse(t, nil)
	h.task.push(text("A", "u1", "a"), text("A", "u1", "b"))
	s := h.dial("deviceId=d1 userId=u1 biz=A")
	s.want(span("A", 0, 2, one(1, "a"), one(2, "b")))
	h.ack("d1", "u1", "A", 1)
	h.close()
	h.cfg.Metrics = nil
	h.fs = newMemFS() // the disk is lost
	h.start()
	s = h.dial("deviceId=d1 userId=u1 biz=A")
	s.want(span("A", 1, 2, one(2, "b")))
}

func TestResumeByCursor(t *testing.T) {
	h := newHouse(t, nil)
	h.task.push(text("A", "u1", "a"), text("A", "u1", "b"), text("B", "u1", "c"))
	s := h.dial("deviceId=d1 userId=u1 biz=A,B")
	first := s.want(span("A", 0, 2, one(1, "a"), one(2, "b")))
	second := s.want(span("B", 0, 1, one(1, "c")))
	s.close()
	h.task.push(text("A", "u1", "d"))

	// A client that got both events has only the third to get; one that was
	// cut between them gets B as well.
	s = h.dial("deviceId=d1 userId=u1 biz=A,B", "Last-Event-ID", second)
	third := s.want(span("A", 2, 3, one(3, "d")))
	s.close()
	s = h.dial("deviceId=d1 userId=u1 biz=A,B", "Last-Event-ID", first)
	s.want(span("A", 2, 3, one(3, "d")))
	s.want(span("B", 0, 1, one(1, "c")))
	s.close()
	// The cursor counts before syncPoints, and those before the record.
	s = h.dial("deviceId=d1 userId=u1 biz=A,B syncPoints=A:0,B:0", "Last-Event-ID", third)
	h.task.push(text("A", "u1", "e"))
	s.want(span("A", 3, 4, one(4, "e")))
	s.close()
	// Another user's cursor is passed over.
	s = h.dial("deviceId=d1 userId=u2 biz=A", "Last-Event-ID", third)
	h.task.push(text("A", "u2", "z"))
	s.want(span("A", 0, 1, one(1, "z")))
}

func TestSyncPoints(t *testing.T) {
	h := newHouse(t, nil)
	for range 3 {
		h.task.push(text("A", "u1", "x"), text("ONE", "u1", "y"), text("DEV", "d1", "z"))
	}
	s := h.dial("deviceId=d1 userId=u1 biz=A,ONE,DEV syncPoints=A:2,ONE:2")
	s.want(span("A", 2, 3, one(3, "x")))
	s.want(span("ONE", 2, 3, one(3, "y")))
	s.want(span("DEV", 0, 3, one(1, "z"), one(2, "z"), one(3, "z")))
	for _, biz := range []string{"A", "ONE", "DEV"} {
		h.ack("d1", "u1", biz, 3)
	}
	s.close()
	// Installed again: what the client holds counts, but for single-device
	// businesses; and above the head nothing counts but the record.
	s = h.dial("deviceId=d1 userId=u1 biz=A,ONE,DEV syncPoints=A:1,ONE:0,DEV:99")
	s.want(span("A", 1, 3, one(2, "x"), one(3, "x")))
	h.task.push(text("ONE", "u1", "y"), text("DEV", "d1", "z"))
	got := map[string]bool{s.next().data: true, s.next().data: true}
	if !got[span("ONE", 3, 4, one(4, "y"))] || !got[span("DEV", 3, 4, one(4, "z"))] {
		t.Errorf("got %v", got)
	}
}

func TestUnknownBusinessIsSilentUntilItExists(t *testing.T) {
	h := newHouse(t, nil)
	s := h.dial("deviceId=d1 userId=u1 biz=NEW,A")
	h.task.push(text("A", "u1", "a"))
	s.want(span("A", 0, 1, one(1, "a")))
	h.configure(schemas.SyncConfig{BizType: "NEW", MultiDevice: true})
	h.task.push(text("NEW", "u1", "n"))
	s.want(span("NEW", 0, 1, one(1, "n")))
}

func TestOfflinePauses(t *testing.T) {
	h := newHouse(t, nil)
	s := h.dial("deviceId=d1 userId=u1 biz=A,B")
	h.configure(schemas.SyncConfig{BizType: "A", MultiDevice: true, Description: "offline"})
	h.task.push(text("A", "u1", "held"), text("B", "u1", "b"))
	s.want(span("B", 0, 1, one(1, "b")))
	h.configure(schemas.SyncConfig{BizType: "A", MultiDevice: true})
	s.want(span("A", 0, 1, one(1, "held")))
}

func TestReplaced(t *testing.T) {
	h := newHouse(t, nil)
	old := h.dial("deviceId=d1 userId=u1 biz=A")
	s := h.dial("deviceId=d1 userId=u1 biz=A")
	if e := old.ended(); e.data != `{"code":4300,"reason":"the same device connected again","retry":false}` || e.retry != "" {
		t.Errorf("event %+v", e)
	}
	h.task.push(text("A", "u1", "a"))
	s.want(span("A", 0, 1, one(1, "a")))
	// The same device in another instance, or another device, replaces nothing.
	other := h.dial("deviceId=d2 userId=u1 biz=A")
	other.want(span("A", 0, 1, one(1, "a")))
	h.task.push(text("A", "u1", "b"))
	s.want(span("A", 1, 2, one(2, "b")))
	other.want(span("A", 1, 2, one(2, "b")))
}

// A client that never acknowledges gets a window and then a pause, not a cut.
func TestWindowThenPause(t *testing.T) {
	h := newHouse(t, nil)
	var all []schemas.Entry
	for range 10_020 {
		all = append(all, schemas.Entry{BizType: "A", LinkToken: "u1", ThirdMsgID: "m", Payload: "x"})
	}
	h.task.push(all...)
	s := h.dial("deviceId=d1 userId=u1 biz=A,B")
	last := drainIDs(t, s, 0, 10_000)
	if last != 10_000 {
		t.Fatalf("paused at %d", last)
	}
	eventually(t, "blocked", func() error {
		st, err := h.server.Target(instance, schemas.TargetUser, "u1")
		if err != nil || len(st.Sessions) != 1 || !st.Sessions[0].Blocked || st.Sessions[0].Unacked.Entries != 10_000 {
			return fmt.Errorf("%+v, %w", st, err)
		}
		return nil
	})
	h.task.push(text("A", "u1", "last"))
	select {
	case e := <-s.events:
		t.Fatalf("in the pause: %+v", e)
	default:
	}
	h.ack("d1", "u1", "A", 9_999)
	if last = drainIDs(t, s, 10_000, 10_021); last != 10_021 {
		t.Fatalf("went on to %d", last)
	}
}

// drainIDs reads events up to an id, and checks that none is missing.
func drainIDs(t *testing.T, s *stream, from, to int64) int64 {
	t.Helper()
	for from < to {
		var got struct {
			From, To int64
			Op       []struct{ ID int64 }
		}
		if err := json.Unmarshal([]byte(s.next().data), &got); err != nil {
			t.Fatal(err)
		}
		if got.From != from || len(got.Op) == 0 || got.Op[0].ID != from+1 || got.To != from+int64(len(got.Op)) {
			t.Fatalf("after %d: (%d, %d] with %d entries", from, got.From, got.To, len(got.Op))
		}
		from = got.To
	}
	return from
}

func TestStreamRefusals(t *testing.T) {
	h := newHouse(t, nil)
	long := strings.Repeat("x", 101)
	for _, c := range []struct {
		query, key, lastID string
		status             int
		field              string
	}{
		{"deviceId=d biz=A", "wrong", "", 401, ""},
		{"deviceId=d biz=A", "", "", 401, ""},
		{"instanceId=other deviceId=d biz=A", clientKey, "", 401, ""},
		{"instanceId= deviceId=d biz=A", clientKey, "", 400, "instanceId"},
		{"biz=A", clientKey, "", 400, "deviceId"},
		{"deviceId= biz=A", clientKey, "", 400, "deviceId"},
		{"deviceId=d", clientKey, "", 400, "biz"},
		{"deviceId=d biz=", clientKey, "", 400, "biz"},
		{"deviceId=d biz=A,,B", clientKey, "", 400, "biz"},
		{"deviceId=d biz=" + strings.Repeat("x", 31), clientKey, "", 400, "biz"},
		{"deviceId=d biz=" + manyBusinesses(65), clientKey, "", 400, "biz"},
		{"deviceId=" + long + " biz=A", clientKey, "", 400, "deviceId"},
		{"deviceId=d userId=" + long + " biz=A", clientKey, "", 400, "userId"},
		{"deviceId=d sessionId=" + long + " biz=A", clientKey, "", 400, "sessionId"},
		{"deviceId=d os=abcdefghijk biz=A", clientKey, "", 400, "os"},
		{"deviceId=d appVersion=1.x biz=A", clientKey, "", 400, "appVersion"},
		{"deviceId=d appVersion=1.2.3.4.5.6.7.8.9.10.1 biz=A", clientKey, "", 400, "appVersion"},
		{"deviceId=d biz=A syncPoints=A", clientKey, "", 400, "syncPoints"},
		{"deviceId=d biz=A syncPoints=A:x", clientKey, "", 400, "syncPoints"},
		{"deviceId=d biz=A syncPoints=A:-1", clientKey, "", 400, "syncPoints"},
		{"deviceId=d biz=A", clientKey, "nonsense", 400, "Last-Event-ID"},
		{"deviceId=d biz=A", clientKey, "0123abcd;A:x", 400, "Last-Event-ID"},
	} {
		path := "/sync/stream?" + h.query(c.query)
		res, cancel := h.get(path, "Authorization", "Bearer "+c.key, "Last-Event-ID", c.lastID)
		var body answer
		err := json.NewDecoder(res.Body).Decode(&body)
		res.Body.Close()
		cancel()
		if res.StatusCode != c.status || err != nil || body.Success || body.Reason == "" || body.Field != c.field || !strings.Contains(body.Reason, c.field) {
			t.Errorf("%s (key %q, cursor %q): %d %+v %v, want %d %s", c.query, c.key, c.lastID, res.StatusCode, body, err, c.status, c.field)
		}
	}
	if n := h.server.Counts(); n.Connections != 0 || n.Handshakes != 0 {
		t.Errorf("left behind: %+v", n)
	}
	for _, c := range []struct{ method, path string }{{"POST", "/sync/stream"}, {"HEAD", "/sync/stream"}, {"GET", "/sync/ack"}, {"GET", "/sync/other"}} {
		req, err := http.NewRequest(c.method, h.http.URL+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := h.http.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusMethodNotAllowed && res.StatusCode != http.StatusNotFound {
			t.Errorf("%s %s: %d", c.method, c.path, res.StatusCode)
		}
	}
}

func manyBusinesses(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprint("B", i))
	}
	return strings.Join(all, ",")
}

func TestAckRefusals(t *testing.T) {
	h := newHouse(t, nil)
	h.task.push(text("A", "u1", "a"), text("A", "u1", "b"), text("DEV", "d1", "c"), text("A", "u2", "z"), text("ALL", "", "g"))
	s := h.dial("deviceId=d1 userId=u1 biz=A,DEV")
	s.want(span("A", 0, 2, one(1, "a"), one(2, "b")))
	s.want(span("DEV", 0, 1, one(1, "c")))
	other := h.dial("deviceId=d2 userId=u2 biz=A")
	other.want(span("A", 0, 1, one(1, "z")))
	other.close()
	eventually(t, "d2 has gone", func() error {
		if n := h.server.Counts().Connections; n != 1 {
			return fmt.Errorf("%d connections", n)
		}
		return nil
	})
	// A stream that was opened from a point below has not been sent more.
	for _, c := range []struct {
		what, body, key string
		status          int
		reason          string
	}{
		{"wrong key", `{"instanceId":"demo_APP1","deviceId":"d1","userId":"u1","bizType":"A","to":1}`, "no", 401, "client key"},
		{"another instance", `{"instanceId":"other","deviceId":"d1","userId":"u1","bizType":"A","to":1}`, clientKey, 401, "client key"},
		{"not JSON", `{"instanceId"`, clientKey, 400, "body"},
		{"an array", `[1]`, clientKey, 400, "body"},
		{"null", `null`, clientKey, 400, "instanceId"},
		{"no device", `{"instanceId":"demo_APP1","userId":"u1","bizType":"A","to":1}`, clientKey, 400, "deviceId"},
		{"no business", `{"instanceId":"demo_APP1","deviceId":"d1","userId":"u1","to":1}`, clientKey, 400, "bizType"},
		{"no id", `{"instanceId":"demo_APP1","deviceId":"d1","userId":"u1","bizType":"A"}`, clientKey, 400, "to"},
		{"a string for an id", `{"instanceId":"demo_APP1","deviceId":"d1","userId":"u1","bizType":"A","to":"1"}`, clientKey, 400, "to"},
		{"half an id", `{"instanceId":"demo_APP1","deviceId":"d1","userId":"u1","bizType":"A","to":1.5}`, clientKey, 400, "to"},
		{"a negative id", `{"instanceId":"demo_APP1","deviceId":"d1","userId":"u1","bizType":"A","to":-1}`, clientKey, 400, "to"},
		{"too large", `{"instanceId":"demo_APP1","deviceId":"d1","userId":"u1","bizType":"A","to":99999999999999999999}`, clientKey, 400, "to"},
		{"no user", `{"instanceId":"demo_APP1","deviceId":"d1","bizType":"A","to":1}`, clientKey, 400, "userId"},
		{"unknown business", `{"instanceId":"demo_APP1","deviceId":"d1","userId":"u1","bizType":"NOPE","to":1}`, clientKey, 409, "no business"},
		{"never sent", `{"instanceId":"demo_APP1","deviceId":"d1","userId":"u1","bizType":"A","to":3}`, clientKey, 409, "never sent"},
		{"another user", `{"instanceId":"demo_APP1","deviceId":"d1","userId":"u2","bizType":"A","to":1}`, clientKey, 403, "not connected as user"},
		{"offline, above the head", `{"instanceId":"demo_APP1","deviceId":"d2","userId":"u2","bizType":"A","to":2}`, clientKey, 409, "above the newest"},
		{"offline, never there", `{"instanceId":"demo_APP1","deviceId":"d9","userId":"u1","bizType":"A","to":1}`, clientKey, 403, "never connected as user"},
		{"offline, another's user", `{"instanceId":"demo_APP1","deviceId":"d2","userId":"u1","bizType":"A","to":1}`, clientKey, 403, "never connected as user"},
		{"offline, right", `{"instanceId":"demo_APP1","deviceId":"d2","userId":"u2","bizType":"A","to":1}`, clientKey, 200, ""},
		{"offline, again", `{"instanceId":"demo_APP1","deviceId":"d2","userId":"u2","bizType":"A","to":0}`, clientKey, 200, ""},
		{"device business", `{"instanceId":"demo_APP1","deviceId":"d1","bizType":"DEV","to":1}`, clientKey, 200, ""},
		{"business not in the stream", `{"instanceId":"demo_APP1","deviceId":"d1","userId":"u1","bizType":"ALL","to":1}`, clientKey, 200, ""},
		{"right", `{"instanceId":"demo_APP1","deviceId":"d1","userId":"u1","bizType":"A","to":2,"more":true}`, clientKey, 200, ""},
		{"over the limit", `{"instanceId":"` + strings.Repeat("x", ackBodyMax) + `"}`, clientKey, 413, "over"},
	} {
		code, body := h.post(c.body, c.key)
		var a answer
		if err := json.Unmarshal([]byte(body), &a); err != nil || code != c.status || a.Success != (code == 200) || !strings.Contains(a.Reason, c.reason) {
			t.Errorf("%s: %d %s, want %d %s", c.what, code, body, c.status, c.reason)
		}
	}
}

// S003-60, S003-62, D25 end to end.
func TestSingleDevice(t *testing.T) {
	h := newHouse(t, nil)
	a := h.dial("deviceId=d1 userId=u1 biz=ONE,A")
	b := h.dial("deviceId=d2 userId=u1 biz=ONE,A")
	h.task.push(text("ONE", "u1", "x"), text("A", "u1", "y"))
	got := map[string]bool{b.next().data: true, b.next().data: true}
	if !got[span("ONE", 0, 1, one(1, "x"))] || !got[span("A", 0, 1, one(1, "y"))] {
		t.Errorf("b got %v", got)
	}
	a.want(span("A", 0, 1, one(1, "y")))
	h.ack("d2", "u1", "ONE", 1)
	h.task.push(text("ONE", "u1", "z"))
	b.want(span("ONE", 1, 2, one(2, "z")))
	b.close() // before it confirmed z: the next device gets it
	a.want(span("ONE", 0, 2, one(2, "z")))
}

func TestGlobalAtConnectOnly(t *testing.T) {
	h := newHouse(t, nil)
	h.task.push(text("ALL", "", "g1"))
	eventually(t, "global", func() error { return h.server.globalHead("ALL", 1) })
	s := h.dial("deviceId=d1 userId=u1 biz=ALL,A")
	s.want(span("ALL", 0, 1, one(1, "g1")))
	h.task.push(text("ALL", "", "g2"))
	eventually(t, "global", func() error { return h.server.globalHead("ALL", 2) })
	h.task.push(text("A", "u1", "a")) // something to see that g2 did not come before
	s.want(span("A", 0, 1, one(1, "a")))
	h.ack("d1", "u1", "ALL", 1)
	s.close()
	s = h.dial("deviceId=d1 userId=u1 biz=ALL")
	s.want(span("ALL", 1, 2, one(2, "g2")))
	other := h.dial("deviceId=d2 userId=u2 biz=ALL")
	other.want(span("ALL", 0, 2, one(1, "g1"), one(2, "g2")))
}

func TestNonPersistent(t *testing.T) {
	h := newHouse(t, nil)
	h.task.push(text("NOW", "u1", "lost"))
	eventually(t, "applied", func() error { return h.server.applied("NOW", "u1", 1) })
	s := h.dial("deviceId=d1 userId=u1 biz=NOW")
	h.task.push(text("NOW", "u1", "x"))
	s.want(span("NOW", 0, 2, one(2, "x")))
	h.ack("d1", "u1", "NOW", 2)
	s.close()
	h.task.push(text("NOW", "u1", "lost too"))
	eventually(t, "applied", func() error { return h.server.applied("NOW", "u1", 3) })
	s = h.dial("deviceId=d1 userId=u1 biz=NOW")
	h.task.push(text("NOW", "u1", "y"))
	s.want(span("NOW", 2, 4, one(4, "y")))
}

func TestBusinessNamesThatNeedEscaping(t *testing.T) {
	h := newHouse(t, nil)
	name := "A,B:1;%"
	h.configure(schemas.SyncConfig{BizType: name, MultiDevice: true})
	eventually(t, "settings", func() error {
		if h.server.settings().Sync(instance, name) == nil {
			return fmt.Errorf("revision %d", h.server.settings().Revision)
		}
		return nil
	})
	h.task.push(text(name, "u1", "x"))
	s := h.dial("deviceId=d1 userId=u1 biz=" + url.QueryEscape(name))
	id := s.want(span(name, 0, 1, one(1, "x")))
	s.close()
	h.task.push(text(name, "u1", "y"))
	s = h.dial("deviceId=d1 userId=u1 biz="+url.QueryEscape(name), "Last-Event-ID", id)
	s.want(span(name, 1, 2, one(2, "y")))
}
