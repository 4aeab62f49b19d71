package ingress

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/tidemarkio/tidemark/schemas"
)

// FuzzHandler: whatever is called, the answer is one of the documented ones,
// and only a good key gets a request through.
func FuzzHandler(f *testing.F) {
	f.Add("POST", pathSingle, "instanceId="+demo, "Authorization: Bearer "+demoKey, goodBody)
	f.Add("POST", pathGlobal, "instanceId="+demo, "Authorization: Bearer "+demoKey+"\nOrigin: null", `{"bizType":"A","thirdMsgId":"m","payload":"p"}`)
	f.Add("POST", pathSingle, "instanceId=open_APP1", "X-Forwarded-For: 127.0.0.1", goodBody)
	f.Add("POST", pathSingle, "instanceId=nobody&instanceId=x", HeaderSignature+": v1=00\n"+HeaderTimestamp+": 1700000000000", "{")
	f.Add("GET", "/webapi/sync/../%2e", "%zz;", "Sec-Fetch-Site: cross-site\n"+HeaderSignature+": v1=\xff", "[1]")
	f.Add("", "//", "", ":", "\x00")
	w := newWorld(f)
	authorize := w.doorman(0).Authorize
	f.Fuzz(func(t *testing.T, method, path, query, header, body string) {
		asked := 0
		s := newServer(Config{Settings: w.model.Settings, Authorize: authorize})
		s.exchange = func(context.Context, *schemas.Request) (schemas.Result, error) {
			asked++
			return schemas.Result{Code: schemas.Success, OplogID: 1}, nil
		}
		r := call(uri, body)
		r.Method, r.URL = method, &url.URL{Path: path, RawQuery: query}
		for line := range strings.SplitSeq(header, "\n") {
			name, value, _ := strings.Cut(line, ": ")
			r.Header[http.CanonicalHeaderKey(name)] = append(r.Header[http.CanonicalHeaderKey(name)], value)
		}
		rec := httptest.NewRecorder()
		s.Handler().ServeHTTP(rec, r)
		documented(t, rec)
		if asked > 0 && (rec.Code != http.StatusOK || method != http.MethodPost || path != pathSingle && path != pathGlobal) {
			t.Errorf("%s %s: a request got through, and the answer is %d", method, path, rec.Code)
		}
		if q, _ := url.ParseQuery(query); asked > 0 && (q.Get("instanceId") == demo || q.Get("instanceId") == "other_APP1") && !strings.Contains(header, demoKey) && !strings.Contains(header, otherKey) {
			t.Error("a request got through without a key")
		}
		if calls, bytes := s.places.used(); calls != 0 || bytes != 0 {
			t.Errorf("%d calls and %d bytes are kept", calls, bytes)
		}
	})
}

// documented says that an answer is one of those that the README has.
func documented(t *testing.T, rec *httptest.ResponseRecorder) {
	t.Helper()
	var a struct {
		Msg     schemas.Code `json:"msg"`
		Success bool         `json:"success"`
	}
	d := json.NewDecoder(rec.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil || d.More() {
		t.Fatalf("%d: no answer of the form that the source fixes: %v", rec.Code, err)
	}
	known := rec.Code == http.StatusOK && slices.ContainsFunc(schemas.Codes, func(c schemas.CodeInfo) bool { return c.Code == a.Msg && c.Code.OK() == a.Success }) ||
		slices.ContainsFunc(refusals, func(no *refusal) bool { return rec.Code == no.status && a.Msg == no.code && !a.Success })
	reason := rec.Header().Get(HeaderReason)
	if !known || (reason == "") != a.Success || strings.ContainsFunc(reason, func(c rune) bool { return c < ' ' || c > '~' }) {
		t.Errorf("%d %+v, reason %q", rec.Code, a, reason)
	}
}
