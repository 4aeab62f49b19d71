package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/schemas"
)

// provenBy lets users in whose token is "eyJ." and their name and a dot.
func provenBy(_ context.Context, l Login) (time.Time, error) {
	if l.SessionID != "eyJ."+l.UserID+"." {
		return time.Time{}, errors.New("no proof of " + l.UserID)
	}
	return time.Time{}, nil
}

// A user is bound only with a proof, at hello, at bind and over SSE; a wrong
// one ends the session, and no entry of the user gets out.
func TestAdmitUser(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.AdmitUser = provenBy })
	h.task.push(text("A", "u1", "a"), text("A", "u2", "b"))
	none := h.ws()
	none.say(helloOf("d1", "u1", schemas.Interest{BizType: "A"}))
	none.ended(schemas.CloseUnauthorized)

	d := h.ws()
	f := helloOf("d1", "u1", schemas.Interest{BizType: "A"})
	f.Hello.SessionID = "eyJ.u1."
	d.say(f)
	d.next()
	d.want(batch(schemas.Span{BizType: "A", From: 0, To: 1, Ops: []schemas.Op{op(1, "a")}}))
	d.say(schemas.Frame{Bind: &schemas.Bind{UserID: "u2", SessionID: "eyJ.u2."}})
	d.want(batch(schemas.Span{BizType: "A", From: 0, To: 1, Ops: []schemas.Op{op(1, "b")}}))
	d.say(schemas.Frame{Bind: &schemas.Bind{UserID: "u1", SessionID: "eyJ.u2."}})
	d.ended(schemas.CloseUnauthorized)

	res, cancel := h.get("/sync/stream?" + h.query("deviceId=d2 userId=u1 biz=A sessionId=eyJ.u2."))
	defer cancel()
	res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a stream with another user's token: %s", res.Status)
	}
	s := h.dial("deviceId=d3 userId=u1 biz=A sessionId=eyJ.u1.")
	s.want(span("A", 0, 1, one(1, "a")))
}

// Who acknowledges over HTTP proves the same as who connects: another one's
// sync point stays where it is.
func TestAckIsProven(t *testing.T) {
	h := newHouse(t, func(c *Config) {
		c.AdmitUser = provenBy
		c.AdmitDevice = func(_ context.Context, _, deviceID, credential string) (string, error) {
			if credential != "of "+deviceID {
				return "", errors.New("not that device")
			}
			return "", nil
		}
	})
	h.task.push(text("A", "u1", "a"))
	s := h.dial("deviceId=d1 userId=u1 biz=A sessionId=eyJ.u1.", deviceCredentialHeader, "of d1")
	s.want(span("A", 0, 1, one(1, "a")))
	const body = `{"instanceId":"demo_APP1","deviceId":"d1","userId":"u1","bizType":"A","to":1}`
	for _, c := range []struct {
		token, credential string
		status            int
	}{
		{"", "of d1", http.StatusUnauthorized}, {"eyJ.u2.", "of d1", http.StatusUnauthorized},
		{"eyJ.u1.", "", http.StatusForbidden}, {"eyJ.u1.", "of d2", http.StatusForbidden}, {"eyJ.u1.", "of d1", http.StatusOK},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.http.URL+"/sync/ack", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+clientKey)
		req.Header.Set(userTokenHeader, c.token)
		req.Header.Set(deviceCredentialHeader, c.credential)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != c.status {
			t.Errorf("token %q, credential %q: %s, want %d", c.token, c.credential, res.Status, c.status)
		}
	}
}

// clock is one that a test can put forward.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) forward(d time.Duration) { c.ahead.Add(int64(d)) }

// proofFor is how long proofs hold in tests of their end: less than a heartbeat,
// so that only the wheel can have noticed it.
const proofFor = 20 * time.Second

func (c *clock) proofEnds(cfg *Config) {
	cfg.Now = c.now
	cfg.AdmitUser = func(context.Context, Login) (time.Time, error) { return c.now().Add(proofFor), nil }
}

var userEnded = schemas.Notice{Code: schemas.NoticeUserEnded, Text: "the proof of the user has ended: bind with a new one"}

// When the proof of a user ends, the connection stays and the user goes: it is
// told, presence is told, the device's data flows on, and a new proof binds
// again.
func TestProofEnds(t *testing.T) {
	clocks := make(chan *clock, 1)
	tune := func(cfg *Config) {
		c := new(clock)
		c.proofEnds(cfg)
		clocks <- c
	}
	overNative(t, tune, func(t *testing.T, h *house, dial func() *device) {
		c := <-clocks
		w := h.watchPresence()
		h.task.push(text("A", "u1", "a"))
		d := dial()
		d.say(helloOf("d1", "u1", schemas.Interest{BizType: "A"}, schemas.Interest{BizType: "DEV"}))
		d.next()
		d.want(batch(schemas.Span{BizType: "A", From: 0, To: 1, Ops: []schemas.Op{op(1, "a")}}))
		w.want(t, schemas.TargetUser, "u1", "d1 A,DEV   false")
		c.forward(proofFor)
		d.want(schemas.Frame{Notice: &userEnded})
		w.want(t, schemas.TargetUser, "u1")
		w.want(t, schemas.TargetDevice, "d1", "d1 A,DEV   false")
		h.task.push(text("A", "u1", "b"))
		d.settle()
		h.task.push(text("DEV", "d1", "x"))
		d.want(batch(schemas.Span{BizType: "DEV", From: 0, To: 1, Ops: []schemas.Op{op(1, "x")}}))
		d.say(schemas.Frame{Bind: &schemas.Bind{UserID: "u1", SessionID: "new"}})
		d.want(batch(schemas.Span{BizType: "A", From: 0, To: 2, Ops: []schemas.Op{op(1, "a"), op(2, "b")}}))
		c.forward(proofFor / 2)
		d.say(schemas.Frame{Bind: &schemas.Bind{UserID: "u1", SessionID: "newer"}}) // in time: nothing is noticed
		c.forward(proofFor / 2)
		h.task.push(text("A", "u1", "c"))
		d.want(batch(schemas.Span{BizType: "A", From: 2, To: 3, Ops: []schemas.Op{op(3, "c")}}))
	})
}

// A stream gets an event; it binds again by connecting with a new token. An
// acknowledgement that comes first is refused, and loses no notice.
func TestProofEndsOnAStream(t *testing.T) {
	c := new(clock)
	h := newHouse(t, c.proofEnds)
	h.task.push(text("A", "u1", "a"), text("DEV", "d1", "x"))
	s := h.dial("deviceId=d1 userId=u1 biz=A,DEV")
	s.want(span("A", 0, 1, one(1, "a")))
	s.want(span("DEV", 0, 1, one(1, "x")))
	c.forward(proofFor)
	if status, answer := h.post(`{"instanceId":"demo_APP1","deviceId":"d1","userId":"u1","bizType":"A","to":1}`, clientKey); status < 400 {
		t.Errorf("acknowledged as a user who is bound no more: %d %s", status, answer)
	}
	if e := s.next(); e.name != "unbound" || e.data != `{"reason":`+strconv.Quote(userEnded.Text)+`}` || e.id != "" {
		t.Errorf("event %+v", e)
	}
	h.task.push(text("A", "u1", "b"))
	h.task.settle()
	h.task.push(text("DEV", "d1", "y"))
	s.want(span("DEV", 1, 2, one(2, "y")))
	s.close()
	s = h.dial("deviceId=d1 userId=u1 biz=A")
	s.want(span("A", 0, 2, one(1, "a"), one(2, "b")))
}

// A client that cannot be checked now is asked to come back, not to get new
// credentials, and learns nothing of what we could not reach.
func TestTurnedAwayForNow(t *testing.T) {
	later := fmt.Errorf("%w: dial 10.0.0.1", ErrLater)
	for name, tune := range map[string]func(*Config){
		"user": func(c *Config) {
			c.AdmitUser = func(context.Context, Login) (time.Time, error) { return time.Time{}, later }
		},
		"device": func(c *Config) {
			c.AdmitDevice = func(context.Context, string, string, string) (string, error) { return "", later }
		},
	} {
		h := newHouse(t, tune)
		d := h.ws()
		d.say(helloOf("d1", "u1", schemas.Interest{BizType: "A"}))
		if said := d.ended(schemas.CloseNotReady); said.RetryAfterMillis <= 0 || said.Reason != laterReason {
			t.Errorf("%s: %+v", name, said)
		}
		res, cancel := h.get("/sync/stream?" + h.query("deviceId=d1 userId=u1 biz=A"))
		b, err := io.ReadAll(res.Body)
		cancel()
		if err != nil || res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || strings.Contains(string(b), "10.0.0.1") {
			t.Errorf("%s: %s %s, %v", name, res.Status, b, err)
		}
	}
}

// A sessionId has 100 characters at most, and where it is a token 4,096, at every
// door: hello, bind, query and header.
func TestSessionMax(t *testing.T) {
	for max, uses := range map[int]bool{schemas.MaxSessionID: false, tokenMax: true} {
		h := newHouse(t, func(c *Config) {
			c.UsesTokens = func(id string) bool { return uses && id == instance }
			c.AdmitUser = func(context.Context, Login) (time.Time, error) { return time.Time{}, nil }
		})
		fits, over := strings.Repeat("é", max), strings.Repeat("e", max+1)
		for i, session := range []string{fits, over} {
			d := h.ws()
			f := helloOf("d1", "u1", schemas.Interest{BizType: "A"})
			f.Hello.SessionID = session
			d.say(f)
			if i == 0 {
				if d.next().Welcome == nil {
					t.Errorf("%d characters in a hello were refused", max)
				}
				d.say(schemas.Frame{Bind: &schemas.Bind{UserID: "u2", SessionID: fits}})
				d.say(schemas.Frame{Ping: &schemas.Ping{}})
				if f := d.next(); f.Pong == nil {
					t.Errorf("%d characters in a bind: %s", max, show(f))
				}
				d.say(schemas.Frame{Bind: &schemas.Bind{UserID: "u1", SessionID: over}})
				d.ended(schemas.CloseProtocol)
			} else {
				d.ended(schemas.CloseBadHello)
			}
			for _, c := range []struct {
				query, token string
				refused      int
			}{{"deviceId=d2 userId=u1 biz=A sessionId=" + session, "", http.StatusBadRequest}, {"deviceId=d3 userId=u1 biz=A", session, http.StatusUnauthorized}} {
				res, cancel := h.get("/sync/stream?"+h.query(c.query), userTokenHeader, c.token)
				cancel()
				if want := []int{http.StatusOK, c.refused}[i]; res.StatusCode != want {
					t.Errorf("limit %d, token in the query %v: %d characters gave %s, want %d", max, c.token == "", len(session), res.Status, want)
				}
			}
		}
	}
}

func TestUntilMillis(t *testing.T) {
	for at, want := range map[time.Time]int64{
		{}: 0, time.Unix(2, 5e8): 2500, time.Unix(1<<55, 0): 0, time.Unix(1<<62, 0): 0, time.Unix(-5, 0): 1, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC): 253370764800000,
	} {
		if got := untilMillis(at); got != want {
			t.Errorf("%v: %d, want %d", at, got, want)
		}
	}
}
