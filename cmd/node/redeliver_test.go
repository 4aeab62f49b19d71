package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tidemarkio/tidemark/connectors/client"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// TestRedelivery: an operator at one node has entries delivered once more to an
// app at another: its handler is called again, once for each entry, online or
// at the next connect, and the operation is recorded.
func TestRedelivery(t *testing.T) {
	w := startTrio(t)
	if err := w.nodes[0].Apply(t.Context(), []byte(trioConfig), nil); err != nil {
		t.Fatal(err)
	}
	w.until("every node has the settings", func() error {
		for i, n := range w.nodes {
			if n.settings().Sync("demo_APP1", "UCHAT") == nil {
				return fmt.Errorf("node %d has not", i)
			}
		}
		return nil
	})
	for i := range 3 {
		w.push(0, "u1", fmt.Sprint("m", i+1))
	}
	app := &app{w: w, points: map[string]int64{}, rewinds: map[string]int64{}}
	leave := app.open(1)
	app.want("1 2 3")
	w.acked("u1", 3)
	w.redeliver(2, `{"bizType":"UCHAT","targets":["u1","u2"],"after":1}`, `"moved":[{"target":"u1","deviceId":"d1","from":3,"to":1}],"unmoved":["u2"]`)
	app.want("1 2 3 2 3")
	w.push(0, "u1", "m4")
	app.want("1 2 3 2 3 4")
	leave()
	w.acked("u1", 4)
	w.redeliver(2, `{"bizType":"UCHAT","targets":["u1"],"after":2}`, `"from":4,"to":2`)
	// The app comes back, to another node and with the points that it stored.
	leave = app.open(0)
	app.want("1 2 3 2 3 4 3 4")
	w.push(0, "u1", "m5")
	app.want("1 2 3 2 3 4 3 4 5")
	leave()
	m, err := w.nodes[0].registry.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var records []string
	for _, r := range m.Audit(registry.AuditFilter{Limit: registry.MaxAuditPage}) {
		if r.Action == registry.Redeliver {
			records = append(records, string(r.After))
		}
	}
	if len(records) != 2 || !slices.ContainsFunc(records, func(s string) bool {
		return strings.Contains(s, `"points":[{"target":"u1","deviceId":"d1","from":4,"to":2}]`)
	}) {
		t.Errorf("records %q", records)
	}
}

// app is an application that stores what it took, as it says in the SDK.
type app struct {
	w               *trio
	mu              sync.Mutex
	got             []string
	points, rewinds map[string]int64
}

// open connects the app to a node until leave is called.
func (a *app) open(at int) (leave func()) {
	a.w.t.Helper()
	c, err := client.New(client.Config{
		URL: a.w.nodes[at].URL(), InstanceID: "demo_APP1", ClientKey: "ck-demo", DeviceID: "d1", UserID: "u1", Biz: []string{"UCHAT"}, Ack: true,
		SyncPoints: a.points, Rewinds: a.rewinds,
	})
	if err != nil {
		a.w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(a.w.t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- c.Run(ctx, func(_ context.Context, e client.Event) error {
			a.mu.Lock()
			defer a.mu.Unlock()
			for _, op := range e.Ops {
				a.got = append(a.got, fmt.Sprint(op.ID))
			}
			return nil
		})
	}()
	return func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			a.w.t.Error("the app ended with", err)
		}
		a.points, a.rewinds = c.SyncPoints(), c.Rewinds()
	}
}

func (a *app) want(ids string) {
	a.w.t.Helper()
	a.w.until("the app has "+ids, func() error {
		a.mu.Lock()
		defer a.mu.Unlock()
		if got := strings.Join(a.got, " "); got != ids {
			return errors.New("it has " + got)
		}
		return nil
	})
}

// acked waits until every node knows what a user's device has confirmed.
func (w *trio) acked(user string, id int64) {
	w.t.Helper()
	w.until("all know the sync point", func() error {
		for i := range w.nodes {
			target, err := stats{w.nodes[i]}.Target(w.t.Context(), "demo_APP1", "user", user, 10)
			if err != nil {
				return err
			}
			if len(target.Configs) != 1 || target.Configs[0].Acked != id || target.Arrivals != id {
				return fmt.Errorf("node %d: %+v", i, target)
			}
		}
		return nil
	})
}

// redeliver asks a node's admin API.
func (w *trio) redeliver(at int, body, want string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.nodes[at].AdminURL()+"/api/v1/instances/demo_APP1/redeliver", strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(res.Body); err != nil {
		w.t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || !strings.Contains(b.String(), want) {
		w.t.Fatalf("redeliver %s: %d %s, want %s", body, res.StatusCode, b.String(), want)
	}
}
