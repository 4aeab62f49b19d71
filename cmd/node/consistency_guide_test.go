package node_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tidemarkio/tidemark/cmd/node"
	"github.com/tidemarkio/tidemark/connectors/tenant/mock"
	"github.com/tidemarkio/tidemark/schemas"
)

// backend is a tenant's: the mock, with a note of what it was asked.
type backend struct {
	*httptest.Server
	mu    sync.Mutex
	cfg   mock.Config
	asked []string // bodies
}

func newBackend(t *testing.T, cfg mock.Config) *backend {
	t.Helper()
	b := &backend{cfg: cfg}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // the mock says what is wrong with it
		b.mu.Lock()
		b.asked = append(b.asked, r.Method+" "+string(body))
		h, err := mock.New(b.cfg)
		b.mu.Unlock()
		if err != nil {
			t.Error(err)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(b.Close)
	return b
}

// becomes changes what the backend is.
func (b *backend) becomes(cfg mock.Config) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cfg = cfg
}

// verdicts counts the validations that gave a verdict, over all instances.
func verdicts(t *testing.T, n *node.Node, verdict string) (count int) {
	t.Helper()
	res, err := http.Get(n.AdminURL() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("tidemark_edge_validations_total{verdict=%q} ", verdict)
	_, rest, found := strings.Cut(string(b), name)
	if _, err := fmt.Sscan(rest, &count); !found || err != nil {
		t.Fatalf("no %s in the metrics, or no number: %v", name, err)
	}
	return count
}

// given waits until a verdict was given more than before times. By then the
// session has it.
func given(t *testing.T, n *node.Node, verdict string, before int) {
	t.Helper()
	for deadline := time.Now().Add(patience); verdicts(t, n, verdict) <= before; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the verdict %q was not given", verdict)
		}
	}
}

// onlyOpen checks that a stream gets what does not look at the verdict, and
// nothing that does: two pushes go through it, so that what came with the first
// has been seen.
func onlyOpen(t *testing.T, n *node.Node, instance string, res *http.Response) {
	t.Helper()
	for range 2 {
		mark := fmt.Sprint("mark-", time.Now().UnixNano())
		push(t, n, instance, "OPEN", "user1", mark)
		if got := until(t, res, mark); strings.Contains(got, "SAFE") {
			t.Errorf("%s: consistent data was pushed: %s", instance, got)
		}
	}
}

// phone is a native client over WebSocket.
type phone struct {
	t    *testing.T
	conn *websocket.Conn
}

func dialPhone(t *testing.T, n *node.Node, hello *schemas.Hello) *phone {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, n.URL()+"/sync/ws", &websocket.DialOptions{Subprotocols: []string{schemas.SessionName}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	conn.SetReadLimit(schemas.MaxServerFrame)
	p := &phone{t, conn}
	hello.Version = schemas.SessionVersion
	p.say(&schemas.Frame{Hello: hello})
	return p
}

func (p *phone) say(f *schemas.Frame) {
	p.t.Helper()
	if err := p.conn.Write(p.t.Context(), websocket.MessageBinary, f.Append(nil)); err != nil {
		p.t.Fatal(err)
	}
}

// until reads frames until one holds a payload or a notice with that text, and
// gives all the texts up to it.
func (p *phone) until(text string) (all []string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	for {
		_, b, err := p.conn.Read(ctx)
		if err != nil {
			p.t.Fatalf("waiting for %q: %v after %q", text, err, all)
		}
		var f schemas.Frame
		if err := f.Decode(b); err != nil {
			p.t.Fatal(err)
		}
		found := f.Notice != nil && strings.Contains(f.Notice.Text, text)
		if f.Batch != nil {
			for _, span := range f.Batch.Spans {
				for _, op := range span.Ops {
					all = append(all, op.Payload)
					found = found || op.Payload == text
				}
			}
		}
		if found {
			return all
		}
	}
}

func (p *phone) bind(user, session string) {
	p.t.Helper()
	p.say(&schemas.Frame{Bind: &schemas.Bind{UserID: user, SessionID: session}})
}

// TestS003UserConsistency goes through rows S003-84 to S003-94 over the whole
// node and a tenant that is asked by HTTP. (S003-95 is the mock's own, in
// connectors/tenant.)
func TestS003UserConsistency(t *testing.T) {
	n, _ := running(t, t.TempDir(), "")
	valid := mock.Config{Valid: []string{"user1:good", "user1:better", "user2:good"}}
	wrapped := valid
	wrapped.Wrapped = true
	broken := map[string]mock.Config{
		"refusal": {Body: `{"success":false,"returnCode":"OK","result":{"sid":"good","valid":true}}`},
		"operate": {Body: `{"success":true,"returnCode":"OPERATION_ERROR","result":{"sid":"good","valid":true}}`},
		"literal": {Body: `{"success":true,"returnCode":"OK","result":{"sid":"good","valid":"true/false"}}`},
		"nojson":  {Body: `valid`},
		"status":  {Status: http.StatusBadGateway},
		"silent":  {Delay: time.Hour},
	}
	up, form, flaky := newBackend(t, valid), newBackend(t, wrapped), newBackend(t, mock.Config{Status: http.StatusServiceUnavailable})
	config := "instances:\n"
	add := func(name string, b *backend, more string) {
		config += fmt.Sprintf("  - id: %s_APP\n    clientKey: ck-%[1]s\n    sessionValidation: {url: %q, allowPrivate: true%s}\n    sync: %s\n", name, b.URL+"/", more, businesses)
	}
	add("val", up, "")
	add("wrap", form, "")
	add("flaky", flaky, "")
	for name, cfg := range broken {
		add(name, newBackend(t, cfg), ", timeoutMillis: 200")
	}
	config += fmt.Sprintf("  - id: jwt_APP\n    clientKey: ck-jwt\n    jwt: {algorithms: [HS256], secret: %q}\n    sync: %s\n", secret, businesses)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := n.Apply(ctx, []byte(config), nil); err != nil {
		t.Fatal(err)
	}
	for _, instance := range []string{"val_APP", "wrap_APP", "flaky_APP"} {
		push(t, n, instance, "SAFE", "user1", "safe-1")
	}

	t.Run("S003_84_90_ValidInBothForms", func(t *testing.T) {
		until(t, stream(t, n, "val_APP", "d84", "user1", "good"), "safe-1")
		until(t, stream(t, n, "wrap_APP", "d90", "user1", "good"), "safe-1")
	})
	t.Run("S003_85_86_87_InvalidHoldsUntilValid", func(t *testing.T) {
		before := verdicts(t, n, "invalid")
		res := stream(t, n, "val_APP", "d85", "user1", "bad")
		given(t, n, "invalid", before)
		onlyOpen(t, n, "val_APP", res)
		res.Body.Close()
		if got := until(t, stream(t, n, "val_APP", "d85", "user1", "good"), "safe-1"); !strings.Contains(got, `"bizType":"SAFE","from":0`) {
			t.Errorf("the sync point has moved: %s", got)
		}
	})
	t.Run("S003_88_TheQuestion", func(t *testing.T) {
		until(t, stream(t, n, "val_APP", "d88", "user1", "good"), "safe-1")
		up.mu.Lock()
		defer up.mu.Unlock()
		method, body, _ := strings.Cut(up.asked[len(up.asked)-1], " ")
		var got map[string]string
		if err := json.Unmarshal([]byte(body), &got); err != nil || method != http.MethodPost || fmt.Sprint(got) !=
			"map[instanceId:val_APP operationType:com.antcloud.session.validate sessionId:good userId:user1]" {
			t.Errorf("%s %s, %v", method, body, err)
		}
	})
	t.Run("S003_89_ANewLoginIsAskedAbout", func(t *testing.T) {
		before, asked := verdicts(t, n, "invalid"), func() int { up.mu.Lock(); defer up.mu.Unlock(); return len(up.asked) }
		questions := asked()
		p := dialPhone(t, n, &schemas.Hello{
			InstanceID: "val_APP", ClientKey: "ck-val", DeviceID: "d89", UserID: "user1", SessionID: "good",
			Biz: []schemas.Interest{{BizType: "SAFE", Point: 1, Known: true}, {BizType: "OPEN"}},
		})
		push(t, n, "val_APP", "SAFE", "user1", "safe-2")
		p.until("safe-2")
		p.bind("user1", "bad")
		given(t, n, "invalid", before)
		push(t, n, "val_APP", "SAFE", "user1", "safe-3")
		for _, mark := range []string{"89-a", "89-b"} {
			push(t, n, "val_APP", "OPEN", "user1", mark)
			if got := p.until(mark); strings.Contains(fmt.Sprint(got), "safe") {
				t.Errorf("pushed with the old verdict: %q", got)
			}
		}
		p.bind("user1", "better")
		if got := p.until("safe-3"); strings.Contains(fmt.Sprint(got), "safe-2") {
			t.Errorf("what the client holds came again: %q", got)
		}
		push(t, n, "val_APP", "SAFE", "user2", "safe-other")
		p.bind("user2", "good")
		p.until("safe-other")
		if more := asked() - questions; more != 4 {
			t.Errorf("asked %d times about four logins", more)
		}
	})
	t.Run("S003_91_92_ABrokenTenantHoldsOnlyWhatLooksAtTheVerdict", func(t *testing.T) {
		for name := range broken {
			instance := name + "_APP"
			push(t, n, instance, "SAFE", "user1", "safe-1")
			before := verdicts(t, n, "error")
			res := stream(t, n, instance, "d91", "user1", "good")
			given(t, n, "error", before)
			onlyOpen(t, n, instance, res)
			res.Body.Close()
		}
	})
	t.Run("S003_93_DevicesHaveNoConsistency", func(t *testing.T) {
		err := n.Apply(t.Context(), []byte("instances:\n  - id: dev_APP\n    sync: [{bizType: DEV, scope: specified, target: device, consistency: true}]\n"), nil)
		if err == nil || !strings.Contains(err.Error(), "consistency") {
			t.Errorf("a device config with consistency: %v", err)
		}
	})
	t.Run("S003_94_DemoSession", func(t *testing.T) {
		for _, session := range []string{"SESSION_DEMO", ""} {
			before := verdicts(t, n, "invalid")
			res := stream(t, n, "val_APP", "d94"+session, "user1", session)
			given(t, n, "invalid", before)
			onlyOpen(t, n, "val_APP", res)
			res.Body.Close()
		}
	})
	t.Run("TheTenantComesBack", func(t *testing.T) {
		before := verdicts(t, n, "error")
		res := stream(t, n, "flaky_APP", "dback", "user1", "good")
		given(t, n, "error", before)
		onlyOpen(t, n, "flaky_APP", res)
		flaky.becomes(valid)
		until(t, res, "safe-1") // on the same connection
	})
	t.Run("ATokenEnds", func(t *testing.T) {
		// Clocks may differ by 30 s, so a token that ended 27 s ago has 3 to go.
		token, err := mock.Token{User: "user1", Secret: secret, Expires: time.Now().Add(-27 * time.Second)}.Sign()
		if err != nil {
			t.Fatal(err)
		}
		p := dialPhone(t, n, &schemas.Hello{
			InstanceID: "jwt_APP", ClientKey: "ck-jwt", DeviceID: "dends", UserID: "user1", SessionID: token, Biz: []schemas.Interest{{BizType: "SAFE"}},
		})
		p.until("the proof of the user has ended")
		push(t, n, "jwt_APP", "SAFE", "user1", "late")
		if token, err = (mock.Token{User: "user1", Secret: secret, Expires: time.Now().Add(time.Hour)}).Sign(); err != nil {
			t.Fatal(err)
		}
		p.bind("user1", token)
		p.until("late")
	})
}
