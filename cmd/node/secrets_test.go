package node_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/cmd/node"
	"github.com/tidemarkio/tidemark/connectors/ingress"
	"github.com/tidemarkio/tidemark/connectors/tenant"
	"github.com/tidemarkio/tidemark/connectors/tenant/mock"
)

// TestNoSecretIsTold drives every door of a node that logs all it can, with
// credentials that are good and ones that are not. None of them is in its log,
// its metrics, or what it tells of itself afterwards.
func TestNoSecretIsTold(t *testing.T) {
	const adminToken, password = "an admin token of ours", "battery staple 8" // made up for this test
	var log lockedBuffer
	n, stop := running(t, t.TempDir(), tenant.Issue, func(c *node.Config) {
		c.AdminToken, c.AdminPassword = adminToken, password
		c.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	secrets := map[string]string{"admin token": adminToken, "password": password}
	// call does a request with a body and name, value pairs of headers.
	call := func(method, url, body string, headers ...string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, string(b)
	}
	admin := func(method, path, body string) string {
		t.Helper()
		res, b := call(method, n.AdminURL()+"/api/v1"+path, body, "Authorization", "Bearer "+adminToken)
		if res.StatusCode/100 != 2 {
			t.Fatalf("%s %s: %s %s", method, path, res.Status, b)
		}
		return b
	}

	// A tenant's: client keys, the secret of its tokens, a session, device credentials.
	back := newBackend(t, mock.Config{Valid: []string{"user1:session-of-user-one"}})
	if err := n.Apply(t.Context(), fmt.Appendf(nil, settings, back.URL, secret, businesses), nil); err != nil {
		t.Fatal(err)
	}
	secrets["client key"], secrets["other client key"], secrets["session"], secrets["secret of tokens"] = "ck-val", "ck-jwt", "session-of-user-one", secret
	good, err := mock.Token{User: "user1", Secret: secret, Expires: time.Now().Add(time.Hour)}.Sign()
	if err != nil {
		t.Fatal(err)
	}
	bad, err := mock.Token{User: "user1", Secret: secret + "x", Expires: time.Now().Add(time.Hour)}.Sign()
	if err != nil {
		t.Fatal(err)
	}
	secrets["user's token"], secrets["wrong user's token"] = good, bad
	push(t, n, "val_APP", "SAFE", "user1", "payload-of-user-one")
	push(t, n, "jwt_APP", "SAFE", "user1", "payload-of-user-one")
	secrets["payload"] = "payload-of-user-one"
	first := stream(t, n, "val_APP", "d1", "user1", "session-of-user-one")
	secrets["device credential"] = first.Header.Get("Tidemark-Device-Credential")
	until(t, first, "payload-of-user-one")
	until(t, stream(t, n, "jwt_APP", "d1", "user1", good), "payload-of-user-one")
	for name, h := range map[string][2]string{
		"wrong user's token": {"Tidemark-User-Token", bad}, "wrong client key": {"Authorization", "Bearer ck-made-up"}, "wrong device credential": {"Tidemark-Device-Credential", "made-up-credential"},
	} {
		secrets[name] = strings.TrimPrefix(h[1], "Bearer ")
		if res := stream(t, n, "jwt_APP", "d1", "user1", "", h[0], h[1]); res.StatusCode < 400 {
			t.Errorf("%s opened a stream: %s", name, res.Status)
		}
	}

	// A backend's: API keys and signatures.
	var key struct{ ID, Secret string }
	if err := json.Unmarshal([]byte(admin("POST", "/instances/val_APP/keys", `{"for":"api"}`)), &key); err != nil {
		t.Fatal(err)
	}
	secrets["API key"], secrets["wrong API key"] = key.Secret, "ak-made-up"
	admin("PUT", "/service/signature", `{"on":true}`)
	const uri = "/webapi/sync/single?instanceId=val_APP"
	body := `{"instanceId":"val_APP","bizType":"SAFE","linkToken":"user1","thirdMsgId":"m2","payload":"p"}`
	stamp := strconv.FormatInt(time.Now().UnixMilli(), 10)
	for name, k := range map[string]string{"signature": key.Secret, "wrong signature": "ak-made-up"} {
		sign := hex.EncodeToString(ingress.Sign(k, ingress.Canonical("POST", uri, stamp, key.ID, []byte(body))))
		secrets[name] = sign
		if _, answer := call("POST", n.URL()+uri, body, ingress.HeaderKey, key.ID, ingress.HeaderTimestamp, stamp, ingress.HeaderSignature, "v1="+sign); strings.Contains(answer, `"success":true`) != (k == key.Secret) {
			t.Errorf("%s: %s", name, answer)
		}
		call("POST", n.URL()+uri, body, "Authorization", "Bearer "+k)
	}

	// An operator's.
	secrets["wrong password"], secrets["wrong admin token"] = "typed wrongly 77", "made-up admin token"
	call("POST", n.AdminURL()+"/api/v1/login", `{"name":"admin","password":"typed wrongly 77"}`)
	res, _ := call("POST", n.AdminURL()+"/api/v1/login", `{"name":"admin","password":"`+password+`"}`)
	if len(res.Cookies()) == 0 {
		t.Fatalf("login: %s", res.Status)
	}
	secrets["cookie"] = res.Cookies()[0].Value
	call("GET", n.AdminURL()+"/api/v1/users", "", "Authorization", "Bearer made-up admin token")

	told := map[string]string{}
	for _, path := range []string{"/status", "/live", "/config", "/instances", "/instances/val_APP/keys", "/users", "/audit", "/audit/export", "/registry/status"} {
		told[path] = admin("GET", path, "")
	}
	_, told["/metrics"] = call("GET", n.AdminURL()+"/metrics", "")
	stop()
	told["the log"] = log.String()
	for where, text := range told {
		if len(text) < 50 {
			t.Errorf("%s tells nothing: %q", where, text)
		}
		for name, s := range secrets {
			if s == "" {
				t.Fatalf("there is no %s to look for", name)
			}
			if i := strings.Index(text, s); i >= 0 {
				t.Errorf("%s tells the %s: …%s…", where, name, text[max(0, i-200):min(len(text), i+len(s)+20)])
			}
		}
	}
}

// lockedBuffer takes what many goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is all that was written.
func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
