package demo_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/cmd/node"
	"github.com/tidemarkio/tidemark/cmd/node/demo"
	"github.com/tidemarkio/tidemark/cmd/node/flights"
	"github.com/tidemarkio/tidemark/topology"
)

// running is a node on free ports, ready and with the flights' settings. The
// test ends it, and its goroutines.
func running(t *testing.T, ctx context.Context) *node.Node {
	t.Helper()
	n, err := node.New(node.Config{
		DataDir: t.TempDir(), HTTP: "127.0.0.1:0", Admin: "127.0.0.1:0", Native: "127.0.0.1:0", Kafka: "127.0.0.1:0",
		Topology: topology.Config{Partitions: 2}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	runCtx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- n.Run(runCtx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for n.Ready() != nil {
		select {
		case <-ctx.Done():
			t.Fatalf("not ready: %v", n.Ready())
		case <-time.After(10 * time.Millisecond):
		}
	}
	if err := n.Apply(ctx, flights.Config(), nil); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestReportSaysWhatTheExcerptHolds: what the table shows is what can be
// counted from the events themselves.
func TestReportSaysWhatTheExcerptHolds(t *testing.T) {
	const count, clients = 400, 5
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	n := running(t, ctx)
	events, err := flights.Day()
	if err != nil {
		t.Fatal(err)
	}
	events = events[:count]
	listening := make(map[string]bool)
	for _, token := range flights.Tokens(events)[:clients] {
		listening[token] = true
	}
	again, pushes := 0, 0
	for _, e := range events {
		switch {
		case e.Again:
			again++
		case listening[e.Request.LinkToken]:
			pushes++
		}
	}
	if again == 0 || pushes == 0 {
		t.Fatalf("the excerpt has %d repeats and %d pushes: it proves nothing", again, pushes)
	}
	var out strings.Builder
	cfg := demo.Config{URL: n.URL(), Client: n.Client(), Topology: n.Topology(), Clients: clients, PerSecond: 4000, Events: count, Run: "/1", Out: &out, Log: slog.New(slog.DiscardHandler)}
	r, err := demo.Play(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if r.Total() != count || r.Entries != count-again || r.Duplicates() != again {
		t.Errorf("%d requests, %d entries, %d duplicates; want %d, %d, %d", r.Total(), r.Entries, r.Duplicates(), count, count-again, again)
	}
	if r.Clients != clients || r.Received != pushes || r.Missing != 0 || r.Repeated != 0 {
		t.Errorf("%d clients got %d pushes, %d missing, %d more than once; want %d and %d", r.Clients, r.Received, r.Missing, r.Repeated, clients, pushes)
	}
	answers := 0
	for _, c := range r.Codes {
		answers += c
	}
	if answers != r.Requests["HTTP"] || r.Requests["HTTP"] == 0 || r.Requests["Kafka"] == 0 {
		t.Errorf("%d answers to %v requests", answers, r.Requests)
	}
	if !strings.Contains(out.String(), "400 of 400 requests") {
		t.Errorf("printed %q", &out)
	}
}
