package node

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/processor/runtime"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology"
)

// bare is a node on free ports that has not been started.
func bare(t *testing.T, tune ...func(*Config)) *Node {
	t.Helper()
	const free = "127.0.0.1:0"
	cfg := Config{DataDir: t.TempDir(), HTTP: free, Admin: free, Native: free, Kafka: free,
		Topology: topology.Config{Partitions: 2}, Log: slog.New(slog.DiscardHandler)}
	for _, f := range tune {
		f(&cfg)
	}
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.closeListeners)
	return n
}

// runs starts a node; the returned function stops it and waits for its end.
func runs(t *testing.T, n *Node) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	var result error
	done := false
	stop = func() error {
		cancel()
		if !done {
			done, result = true, <-ended
		}
		return result
	}
	t.Cleanup(func() { _ = stop() })
	return stop
}

// eventually polls a condition; got says how it is.
func eventually(t *testing.T, what string, is func() (got string, ok bool)) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		got, ok := is()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not in a minute: %s; it is %s", what, got)
		}
		time.Sleep(5 * time.Millisecond) // between two looks at the condition
	}
}

// probe asks as a load balancer does, whether the node listens or not.
func probe(n *Node, path string) (int, string) {
	w := httptest.NewRecorder()
	n.adminHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

// wantProbe says what a probe should answer.
func wantProbe(t *testing.T, n *Node, path string, status int, text string) {
	t.Helper()
	if got, body := probe(n, path); got != status || !strings.Contains(body, text) {
		t.Errorf("%s: %d %q, want %d and %q", path, got, body, status, text)
	}
}

func readyNode(t *testing.T, tune ...func(*Config)) (*Node, func() error) {
	t.Helper()
	n := bare(t, tune...)
	stop := runs(t, n)
	eventually(t, "ready", func() (string, bool) {
		status, body := probe(n, "/readyz")
		return body, status == http.StatusOK
	})
	return n, stop
}

// TestReadinessFromStartToStop: TM-10, ready only while requests can be
// accepted and clients connect.
func TestReadinessFromStartToStop(t *testing.T) {
	n := bare(t)
	wantProbe(t, n, "/readyz", http.StatusServiceUnavailable, "waiting for the start")
	wantProbe(t, n, "/healthz", http.StatusOK, "alive")
	stop := runs(t, n)
	eventually(t, "ready", func() (string, bool) {
		status, body := probe(n, "/readyz")
		return body, status == http.StatusOK
	})
	wantProbe(t, n, "/healthz", http.StatusOK, "alive")
	for _, url := range []string{n.URL() + "/sync/stream", n.AdminURL() + "/readyz"} {
		res, err := http.Get(url)
		if err != nil {
			t.Fatalf("ready, and %s does not answer: %v", url, err)
		}
		res.Body.Close()
	}
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	wantProbe(t, n, "/readyz", http.StatusServiceUnavailable, "stopping")
	wantProbe(t, n, "/healthz", http.StatusOK, "alive") // who stops is not to be killed
}

func TestANodeWhoseBrokersAreSilentIsHealthyAndNotReady(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	n := bare(t, func(c *Config) { c.Brokers = []string{silent.Addr().String()} })
	runs(t, n)
	eventually(t, "it waits for the broker", func() (string, bool) {
		_, body := probe(n, "/readyz")
		return body, strings.Contains(body, "waiting for the broker")
	})
	wantProbe(t, n, "/healthz", http.StatusOK, "alive")
}

func TestAParkedPartitionIsNotReadyAndHealthy(t *testing.T) {
	n, _ := readyNode(t)
	client, err := kgo.NewClient(append(n.Client(), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	later := schemas.Control{Partition: 1, Time: 1, Rules: 99} // as a newer release would switch on
	if err := client.ProduceSync(t.Context(), &kgo.Record{
		Topic: n.Topology().Requests.Name, Partition: 1, Value: later.Append(nil, n.registry.Model().Cluster().Key),
		Headers: []kgo.RecordHeader{{Key: schemas.HeaderControl}},
	}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "not ready for the parked partition", func() (string, bool) {
		status, body := probe(n, "/readyz")
		return body, status == http.StatusServiceUnavailable && strings.Contains(body, "partition 1 is parked") && strings.Contains(body, "upgrade this node")
	})
	wantProbe(t, n, "/healthz", http.StatusOK, "alive")
	if got := scrape(t, n)[`tidemark_processor_partitions{state="parked"}`]; got != 1 {
		t.Errorf("the metric says that %v partitions are parked, want 1", got)
	}
}

func TestHealthFailsWhenOnlyANewProcessHelps(t *testing.T) {
	t.Run("a part ends by itself", func(t *testing.T) {
		n, stop := readyNode(t)
		n.native.Close() // under the edge, which serves it
		eventually(t, "unhealthy", func() (string, bool) {
			status, body := probe(n, "/healthz")
			return body, status == http.StatusServiceUnavailable && strings.Contains(body, "a part has failed")
		})
		if err := stop(); err == nil {
			t.Error("the node ended without saying that a part had failed")
		}
	})
	t.Run("the stop does not end", func(t *testing.T) {
		now := time.Unix(1_800_000_000, 0)
		l := lifeline{now: func() time.Time { return now }}
		l.stop()
		if err := l.check(); err != nil {
			t.Errorf("at the beginning of the stop: %v", err)
		}
		now = now.Add(stopStuckAfter + time.Second)
		if err := l.check(); err == nil || !strings.Contains(err.Error(), "stopping for 1m1s") {
			t.Errorf("a minute later: %v, want that it is stuck", err)
		}
		l.fail(errors.New("first"))
		l.fail(errors.New("second"))
		if err := l.check(); err == nil || !strings.Contains(err.Error(), "first") {
			t.Errorf("after a failure: %v, want the first one", err)
		}
	})
	t.Run("a clock that jumps is no failure", func(t *testing.T) {
		var ahead atomic.Int64
		n, _ := readyNode(t, func(c *Config) { c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) } })
		ahead.Store(int64(100 * runtime.StuckAfter))
		wantProbe(t, n, "/healthz", http.StatusOK, "alive")
	})
}
