package node

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/cmd/node/embedded"
	"github.com/tidemarkio/tidemark/topology"
	"github.com/tidemarkio/tidemark/topology/registry"
	"github.com/tidemarkio/tidemark/topology/registry/quorum"
)

// trio is three nodes on one Kafka, with one registry.
type trio struct {
	t     *testing.T
	nodes [3]*Node
	stops [3]func()
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func startTrio(t *testing.T) *trio {
	t.Helper()
	topo, err := topology.New(topology.Config{Partitions: 3})
	if err != nil {
		t.Fatal(err)
	}
	broker, err := embedded.Start(embedded.Config{Addr: "127.0.0.1:0", Topics: topo.Topics(), Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { broker.Close() })
	w := &trio{t: t}
	var peers []quorum.Peer
	for i := range w.nodes {
		peers = append(peers, quorum.Peer{ID: fmt.Sprint("r", i+1), Address: freeAddress(t)})
	}
	const free = "127.0.0.1:0"
	for i := range w.nodes {
		n, err := New(Config{
			DataDir: filepath.Join(t.TempDir(), "data"), HTTP: free, Admin: free, Native: free, Brokers: []string{broker.Addr()},
			Topology: topology.Config{Partitions: 3}, Log: slog.New(slog.DiscardHandler),
			Registry: RegistryConfig{ID: peers[i].ID, Listen: peers[i].Address, Peers: peers},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- n.Run(ctx) }()
		stopped := false
		w.nodes[i], w.stops[i] = n, func() {
			if !stopped {
				stopped = true
				cancel()
				if err := <-ended; err != nil {
					t.Errorf("node %d ended with %v", i+1, err)
				}
			}
		}
		t.Cleanup(w.stops[i])
	}
	for i := range w.nodes {
		w.until(fmt.Sprintf("node %d is ready", i+1), func() error { return w.nodes[i].Ready() })
	}
	return w
}

func (w *trio) until(what string, check func() error) {
	w.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("in a minute it was not so that %s: %v", what, err)
		}
		time.Sleep(10 * time.Millisecond) // between two looks at the condition
	}
}

// leader gives the index of the node that leads; -1: none.
func (w *trio) leader(among ...int) int {
	for _, i := range among {
		if leads, _ := w.nodes[i].registry.Leading(); leads {
			return i
		}
	}
	return -1
}

func (w *trio) config(business string) []byte {
	return fmt.Appendf(nil, "instances:\n  - id: demo_APP1\n    sync:\n      - {bizType: %s, scope: specified, target: user}\n", business)
}

// TestRegistryOfThree: changes are taken on any node and in force on every
// partition when they are answered; with the leader gone the others go on.
func TestRegistryOfThree(t *testing.T) {
	w := startTrio(t)
	lead := w.leader(0, 1, 2)
	if lead < 0 {
		t.Fatal("nobody leads")
	}
	follower, other := (lead+1)%3, (lead+2)%3
	if err := w.nodes[follower].Apply(t.Context(), w.config("ONE"), nil); err != nil {
		t.Fatal("a change on a follower:", err)
	}
	push := func(through int, business, id string) answered {
		p := &pusher{running: &running{t: t, Node: w.nodes[through]}}
		return p.post("/webapi/sync/single?instanceId=demo_APP1", p.with(fields{"bizType": business, "thirdMsgId": id}))
	}
	for i := range w.nodes {
		if a := push(i, "ONE", fmt.Sprint("m", i)); !a.Success || a.id != fmt.Sprint(i+1) { // TM-7
			t.Errorf("through node %d: %+v", i+1, a)
		}
	}
	w.stops[lead]()
	w.until("another node leads", func() error {
		if w.leader(follower, other) < 0 {
			return fmt.Errorf("none does")
		}
		return nil
	})
	if err := w.nodes[other].Apply(t.Context(), w.config("TWO"), nil); err != nil {
		t.Fatal("a change without the old leader:", err)
	}
	w.until("the others run all partitions", func() error {
		running := 0
		for _, i := range []int{follower, other} {
			for _, s := range w.nodes[i].tasks.Status() {
				if s.State == "running" {
					running++
				}
			}
		}
		if running != 3 {
			return fmt.Errorf("%d of 3", running)
		}
		return nil
	})
	if a := push(follower, "TWO", "m9"); !a.Success || a.id != "1" {
		t.Errorf("after the change: %+v", a)
	}
	if a := push(other, "ONE", "m1"); a.Msg != "DUPLICATED_BIZ_ID" || a.id != "2" {
		t.Errorf("a repeat of what the lost node may have decided: %+v", a)
	}
}

// TestRegistryByAPI: status, transfer, backup and restore as an operator does
// them, and each is in the audit once.
func TestRegistryByAPI(t *testing.T) {
	w := startTrio(t)
	call := func(i int, method, path, body string) (int, []byte) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, w.nodes[i].AdminURL()+"/api/v1/registry"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var b bytes.Buffer
		if _, err := b.ReadFrom(res.Body); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, b.Bytes()
	}
	lead := w.leader(0, 1, 2)
	to := (lead + 1) % 3
	if status, b := call(lead, "POST", "/transfer", fmt.Sprintf(`{"id":"r%d"}`, to+1)); status != http.StatusOK {
		t.Fatalf("transfer: %d %s", status, b)
	}
	w.until("the new leader leads", func() error {
		if now := w.leader(0, 1, 2); now != to {
			return fmt.Errorf("node %d leads", now+1)
		}
		return nil
	})
	if err := w.nodes[lead].Apply(t.Context(), w.config("KEPT"), nil); err != nil {
		t.Fatal(err)
	}
	status, backup := call(lead, "GET", "/backup", "")
	if status != http.StatusOK || len(backup) == 0 {
		t.Fatalf("backup: %d, %d bytes", status, len(backup))
	}
	if err := w.nodes[lead].Apply(t.Context(), w.config("LOST"), nil); err != nil {
		t.Fatal(err)
	}
	if status, b := call(lead, "POST", "/restore", string(backup)); status != http.StatusOK {
		t.Fatalf("restore: %d %s", status, b)
	}
	m, err := w.nodes[lead].registry.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if m.Sync("demo_APP1", "KEPT") == nil || m.Sync("demo_APP1", "LOST") != nil {
		t.Error("the registry is not what was backed up")
	}
	seen := map[registry.Action]int{}
	for _, r := range m.Audit(registry.AuditFilter{Limit: registry.MaxAuditPage}) {
		seen[r.Action]++
	}
	for _, a := range []registry.Action{registry.LeaderTransfer, registry.RegistryBackup, registry.RegistryRestored} {
		if seen[a] != 1 {
			t.Errorf("%d records of %s, want 1 (all: %v)", seen[a], a, seen)
		}
	}
	if status, b := call(to, "POST", "/members", `{"id":"","address":""}`); status != http.StatusBadRequest {
		t.Errorf("a member without a name: %d %s", status, b)
	}
	last := (lead + 2) % 3
	if status, b := call(to, "DELETE", fmt.Sprintf("/members/r%d", last+1), ""); status != http.StatusOK || bytes.Contains(b, []byte(fmt.Sprintf(`"id":"r%d","address"`, last+1))) {
		t.Errorf("remove: %d %s", status, b)
	}
}
