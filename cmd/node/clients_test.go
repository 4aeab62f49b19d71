package node_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/cmd/node"
	"github.com/tidemarkio/tidemark/connectors/tenant"
	"github.com/tidemarkio/tidemark/connectors/tenant/mock"
	"github.com/tidemarkio/tidemark/topology"
)

// patience bounds every wait of a test; it is no part of what is tested.
const patience = time.Minute

const secret = "a secret of the tenant that is long enough"

const settings = `instances:
  - id: val_APP
    clientKey: ck-val
    sessionValidation: {url: "%[1]s/", allowPrivate: true}
    sync: %[3]s
  - id: jwt_APP
    clientKey: ck-jwt
    jwt: {algorithms: [HS256], secret: "%[2]s"}
    sync: %[3]s
  - id: keys_APP
    clientKey: ck-keys
    jwt: {algorithms: [ES256], jwks: "%[1]s/jwks", allowPrivate: true}
    sync: %[3]s
`

// businesses are one that looks at the verdict and one that does not.
const businesses = `[{bizType: SAFE, scope: specified, target: user, multiDevice: true, consistency: true}, {bizType: OPEN, scope: specified, target: user, multiDevice: true, consistency: false}]`

// running is a node on free ports, ready; stop ends it and its goroutines.
func running(t *testing.T, dir string, mode tenant.Mode, change ...func(*node.Config)) (n *node.Node, stop func()) {
	t.Helper()
	cfg := node.Config{
		DataDir: dir, HTTP: "127.0.0.1:0", Admin: "127.0.0.1:0", Native: "127.0.0.1:0", Kafka: "127.0.0.1:0",
		Topology: topology.Config{Partitions: 2}, DeviceCredentials: mode, Log: slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&cfg)
	}
	n, err := node.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	for deadline := time.Now().Add(patience); n.Ready() != nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not ready: %v", n.Ready())
		}
	}
	return n, stop
}

// tenants puts the instances into a node: one whose tenant calls user1:good
// valid, and two that verify tokens.
func tenants(t *testing.T, n *node.Node) {
	t.Helper()
	up, err := mock.New(mock.Config{Valid: []string{"user1:good"}})
	if err != nil {
		t.Fatal(err)
	}
	backend := httptest.NewServer(up)
	t.Cleanup(backend.Close)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := n.Apply(ctx, fmt.Appendf(nil, settings, backend.URL, secret, businesses), nil); err != nil {
		t.Fatal(err)
	}
}

func push(t *testing.T, n *node.Node, instance, biz, user, payload string) {
	t.Helper()
	body := fmt.Sprintf(`{"instanceId":%q,"bizType":%q,"linkToken":%q,"thirdMsgId":%q,"payload":%q}`, instance, biz, user, payload, payload)
	res, err := http.Post(n.URL()+"/webapi/sync/single?instanceId="+instance, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err != nil || !strings.Contains(string(b), `"success":true`) {
		t.Fatalf("push: %s, %s, %v", res.Status, b, err)
	}
}

// stream opens a stream; headers are name, value pairs.
func stream(t *testing.T, n *node.Node, instance, device, user, session string, headers ...string) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	q := url.Values{"instanceId": {instance}, "deviceId": {device}, "userId": {user}, "sessionId": {session}, "biz": {"SAFE,OPEN"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.URL()+"/sync/stream?"+q.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer ck-"+strings.ToLower(strings.TrimSuffix(instance, "_APP")))
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

// until reads a stream until it holds a text, and gives what came up to then.
func until(t *testing.T, res *http.Response, text string) string {
	t.Helper()
	if res.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(res.Body)
		t.Fatalf("stream: %s: %s", res.Status, b)
	}
	var all strings.Builder
	for in := bufio.NewScanner(res.Body); in.Scan(); {
		all.WriteString(in.Text() + "\n")
		if strings.Contains(in.Text(), text) {
			return all.String()
		}
	}
	t.Fatalf("the stream ended before %q: %s", text, all.String())
	return ""
}

func refused(t *testing.T, res *http.Response, status int, reason string) {
	t.Helper()
	if res.StatusCode != status {
		t.Errorf("%s, want %d", res.Status, status)
		return
	}
	if b, err := io.ReadAll(res.Body); err != nil || !strings.Contains(string(b), reason) {
		t.Errorf("%s, %v: want %q", b, err, reason)
	}
}

// Who has no proof of being the user is not let in.
func TestUserToken(t *testing.T) {
	n, _ := running(t, t.TempDir(), "")
	tenants(t, n)
	token := func(in mock.Token) string {
		if in.Expires.IsZero() {
			in.Expires = time.Now().Add(time.Hour)
		}
		text, err := in.Sign()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	push(t, n, "jwt_APP", "SAFE", "user1", "secret-1")
	push(t, n, "keys_APP", "SAFE", "user1", "secret-1")
	good := token(mock.Token{User: "user1", Secret: secret})
	keyed := token(mock.Token{User: "user1"})
	until(t, stream(t, n, "jwt_APP", "d1", "user1", good), "secret-1")
	until(t, stream(t, n, "jwt_APP", "d2", "user1", "", "Tidemark-User-Token", good), "secret-1")
	until(t, stream(t, n, "keys_APP", "d3", "user1", keyed), "secret-1")
	for session, why := range map[string]string{
		"": "must be proven", "sess1": "refused", keyed: "refused", // other instance's
		token(mock.Token{User: "user2", Secret: secret}):                                          "is not the userId",
		token(mock.Token{User: "user1", Secret: secret + "x"}):                                    "refused",
		token(mock.Token{User: "user1", Secret: secret, Expires: time.Now().Add(-2 * time.Hour)}): "expired",
		"eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1c2VyMSIsImV4cCI6OTk5OTk5OTk5OX0.":                        "refused",
	} {
		refused(t, stream(t, n, "jwt_APP", "d4", "user1", session), http.StatusUnauthorized, why)
	}
	// Another instance's client key, on a stream and for an acknowledgement.
	refused(t, stream(t, n, "jwt_APP", "d4", "user1", good, "Authorization", "Bearer ck-val"), http.StatusUnauthorized, "client key is wrong")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, n.URL()+"/sync/ack",
		strings.NewReader(`{"instanceId":"jwt_APP","deviceId":"d1","userId":"user1","bizType":"SAFE","to":1}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer ck-val")
	req.Header.Set("Tidemark-User-Token", good)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	refused(t, res, http.StatusUnauthorized, "client key is wrong")
	// A device without a user has nobody to prove.
	if res := stream(t, n, "jwt_APP", "d5", "", ""); res.StatusCode != http.StatusOK {
		t.Errorf("a device without a user: %s", res.Status)
	}
}

// A device id stays with who came first, over a restart.
func TestDeviceFixation(t *testing.T) {
	const header = "Tidemark-Device-Credential"
	dir := t.TempDir()
	n, stop := running(t, dir, tenant.Issue)
	tenants(t, n)
	first := stream(t, n, "val_APP", "d1", "", "")
	mine := first.Header.Get(header)
	if first.StatusCode != http.StatusOK || mine == "" {
		t.Fatalf("%s, credential %q", first.Status, mine)
	}
	for range 2 { // any HTTP client, reconnects included, with the client key alone
		if res := stream(t, n, "val_APP", "d1", "", ""); res.StatusCode != http.StatusOK || res.Header.Get(header) != "" {
			t.Errorf("without: %s, credential %q", res.Status, res.Header.Get(header))
		}
	}
	refused(t, stream(t, n, "val_APP", "d1", "", "", header, "x"), http.StatusForbidden, "belongs to somebody else")
	refused(t, stream(t, n, "jwt_APP", "d1", "", "", header, mine), http.StatusForbidden, "belongs to somebody else") // another instance's d1
	stop()
	n, _ = running(t, dir, tenant.Require)
	if res := stream(t, n, "val_APP", "d1", "", "", header, mine); res.StatusCode != http.StatusOK {
		t.Errorf("its owner: %s", res.Status)
	}
	refused(t, stream(t, n, "val_APP", "d1", "", ""), http.StatusForbidden, "has a credential")
	refused(t, stream(t, n, "val_APP", "d2", "", "", header, mine), http.StatusForbidden, "belongs to somebody else")
}
