package node

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/connectors/console"
)

// running is a node with its admin token, on free ports.
type running struct {
	t *testing.T
	*Node
}

const testConfig = `
instances:
  - id: demo_APP1
    clientKey: ck-demo
    sync:
      - {bizType: UCHAT, scope: specified, target: user, multiDevice: true}
`

func startNode(t *testing.T, tune ...func(*Config)) *running {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(file, []byte(testConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	const free = "127.0.0.1:0"
	cfg := Config{
		DataDir: filepath.Join(dir, "data"), ConfigFile: file, HTTP: free, Admin: free, Native: free, Kafka: free,
		AdminToken: "test token", AdminPassword: "correct horse 9", Log: slog.New(slog.DiscardHandler),
	}
	for _, f := range tune {
		f(&cfg)
	}
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the node ended with %v", err)
		}
	})
	r := &running{t, n}
	r.until("it is ready", func() bool { return n.Ready() == nil })
	return r
}

// until polls a condition.
func (r *running) until(what string, is func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !is() {
		if time.Now().After(deadline) {
			r.t.Fatalf("in 30 s it was not so that %s", what)
		}
		time.Sleep(5 * time.Millisecond) // between two looks at the condition
	}
}

// open makes a call; its answer goes on until ctx ends.
func (r *running) open(ctx context.Context, method, url, token, body string) *http.Response {
	r.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	if res.StatusCode/100 != 2 {
		b, _ := io.ReadAll(res.Body)
		r.t.Fatalf("%s %s: %s %s", method, url, res.Status, b)
	}
	return res
}

func (r *running) admin(method, path, body string, to any) {
	r.t.Helper()
	res := r.open(r.t.Context(), method, r.AdminURL()+"/api/v1"+path, "test token", body)
	defer res.Body.Close() //nolint:errcheck // it is only read
	if err := json.NewDecoder(res.Body).Decode(to); err != nil {
		r.t.Fatalf("%s: %v", path, err)
	}
}

func (r *running) target(name string) (is console.Target) {
	r.t.Helper()
	r.admin("GET", "/instances/demo_APP1/targets/user/"+name, "", &is)
	return is
}

// TestConsoleOnANode: what operators send arrives, is counted, and shows in the
// tail; a target's connection shows as it comes and goes (S003-145, S003-155,
// S003-157, S003-158, S003-160).
func TestConsoleOnANode(t *testing.T) {
	r := startNode(t)
	tailing, stopTail := context.WithCancel(t.Context())
	defer stopTail()
	tail := r.open(tailing, "GET", r.AdminURL()+"/api/v1/oplog/tail?instance=demo_APP1", "test token", "")
	defer tail.Body.Close() //nolint:errcheck // it is only read

	online, leave := context.WithCancel(t.Context())
	defer leave()
	stream := r.open(online, "GET", r.URL()+"/sync/stream?instanceId=demo_APP1&deviceId=d1&userId=u1&biz=UCHAT&os=iOS&appVersion=1.0", "ck-demo", "")
	defer stream.Body.Close() //nolint:errcheck // it is only read
	r.until("u1 is connected", func() bool { return r.target("u1").Connected })

	for _, id := range []string{"m1", "m2", "m3"} {
		var sent console.Sent
		r.until("presence shows u1", func() bool {
			r.admin("POST", "/instances/demo_APP1/sync/UCHAT/send", `{"target":"u1","data":"hello","uniqueId":"`+id+`","os":["iOS","Android"]}`, &sent)
			return sent.Success
		})
	}
	events := bufio.NewScanner(stream.Body)
	for events.Scan() && !strings.Contains(events.Text(), `"m3"`) {
	}
	r.open(t.Context(), "POST", r.URL()+"/sync/ack", "ck-demo", `{"instanceId":"demo_APP1","deviceId":"d1","userId":"u1","bizType":"UCHAT","to":2}`).Body.Close() //nolint:errcheck,gosec // read
	r.until("two of three have arrived", func() bool { is := r.target("u1"); return is.Pushes == 3 && is.Arrivals == 2 })
	is := r.target("u1")
	if !is.Known || len(is.Sessions) != 1 || is.Sessions[0].DeviceID != "d1" || len(is.PushList) != 3 || len(is.Configs) != 1 || is.Configs[0].Arrivals != 2 {
		t.Errorf("u1 is %+v", is)
	}
	for _, p := range is.PushList {
		if p.Arrived != (p.OplogID <= 2) || p.ThirdMsgID == "" {
			t.Errorf("a push is %+v", p)
		}
	}
	if nobody := r.target("nobody"); nobody.Known || nobody.Connected || nobody.Pushes != 0 {
		t.Errorf("nobody is %+v", nobody)
	}
	leave()
	r.until("u1 is gone", func() bool { return !r.target("u1").Connected })

	ids, lines := []string{}, bufio.NewScanner(tail.Body)
	for len(ids) < 3 && lines.Scan() {
		var e console.TailEntry
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok && json.Unmarshal([]byte(data), &e) == nil {
			ids = append(ids, e.ThirdMsgID)
		}
	}
	if strings.Join(ids, " ") != "m1 m2 m3" {
		t.Errorf("the tail showed %v", ids)
	}

	var live console.Snapshot
	r.until("the overview has counted", func() bool {
		r.admin("GET", "/live", "", &live)
		return live.Ready && len(live.Partitions) > 0 && live.Quorum.Ready
	})
	if live.Parked != 0 || live.Quorum.Members != 1 {
		t.Errorf("live is %+v", live)
	}
	var who console.Whoami
	r.admin("POST", "/login", `{"name":"admin","password":"correct horse 9"}`, &who)
	if who.CSRF == "" || who.Role != "admin" {
		t.Errorf("the first admin is %+v", who)
	}
}

// TestDataQueryForgetsAfter30Days: pushes older than 30 days are not counted
// (S003-159), through the console's data query.
func TestDataQueryForgetsAfter30Days(t *testing.T) {
	var ahead atomic.Int64 // of the edge's clock, ns
	r := startNode(t, func(c *Config) { c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) } })
	push := func(id string) {
		var sent console.Sent
		r.admin("POST", "/instances/demo_APP1/sync/UCHAT/send", `{"target":"u1","data":"hello","uniqueId":"`+id+`","os":["iOS","Android"]}`, &sent)
	}
	push("m1")
	push("m2")
	r.until("two pushes are counted", func() bool { return r.target("u1").Pushes == 2 })
	const day = 24 * time.Hour
	ahead.Store(int64(30*day - 2*time.Hour))
	if is := r.target("u1"); is.Pushes != 2 {
		t.Errorf("of just under 30 days ago %d pushes are counted", is.Pushes)
	}
	ahead.Store(int64(30*day + 2*time.Hour))
	if is := r.target("u1"); is.Pushes != 0 || len(is.Configs) > 0 && is.Configs[0].Pushes != 0 {
		t.Errorf("of over 30 days ago %d pushes are counted", is.Pushes)
	}
}
