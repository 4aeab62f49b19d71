package control

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/topology"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// BenchmarkPublish is a change of settings from the registry into the log of
// every partition and back, on kfake over loopback; the registry costs nothing
// here.
func BenchmarkPublish(b *testing.B) {
	for _, n := range []int32{8, 64} {
		b.Run(fmt.Sprintf("partitions=%d", n), func(b *testing.B) {
			topo, err := topology.New(topology.Config{Partitions: n})
			if err != nil {
				b.Fatal(err)
			}
			broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(b.TempDir()),
				kfake.SeedTopics(n, topo.Requests.Name), kfake.SeedTopics(n, topo.Counters.Name))
			if err != nil {
				b.Fatal(err)
			}
			defer broker.Close()
			r := newRegistry(b, 1)
			node := r.replica()
			node.lead(true)
			p, err := New(Config{Registry: node, Topology: topo, Kafka: []kgo.Opt{kgo.SeedBrokers(broker.ListenAddrs()...)}, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				b.Fatal(err)
			}
			stop := start(p)
			change := func() {
				if err := p.WaitPublished(context.Background(), r.apply(b, sync1(fmt.Sprint("B", r.model().SyncCount()))).Publish); err != nil {
					b.Fatal(err)
				}
			}
			r.apply(b, registry.CreateInstance{ID: "a"})
			change() // connects
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				change()
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			if err := stop(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
