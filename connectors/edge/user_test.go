package edge

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/tidemarkio/tidemark/schemas"
)

// provenBy lets users in whose token is "eyJ." and their name and a dot.
func provenBy(_ context.Context, l Login) error {
	if l.SessionID != "eyJ."+l.UserID+"." {
		return errors.New("no proof of " + l.UserID)
	}
	return nil
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

// A sessionId may be longer than an id only where it is a token.
func TestSessionMax(t *testing.T) {
	for s, want := range map[string]int{
		"": schemas.MaxSessionID, "sess1": schemas.MaxSessionID, "eyJ": schemas.MaxSessionID, "a.b.c": schemas.MaxSessionID,
		"eyJhbGciOi.x.y": tokenBytesMax, "eyJ." + strings.Repeat(".", 5): schemas.MaxSessionID,
	} {
		if got := sessionMax(s); got != want {
			t.Errorf("%q: %d, want %d", s, got, want)
		}
	}
}
