package embedded

import (
	"context"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/topology"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// BenchmarkBroker compares the broker with a bare kfake: what the guard and the
// sessionless fetches cost. Client and broker share the machine.
func BenchmarkBroker(b *testing.B) {
	bare := func(b *testing.B) []kgo.Opt {
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(b.TempDir()), kfake.SeedTopics(8, "t"))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(c.Close)
		return []kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...)}
	}
	guarded := func(b *testing.B) []kgo.Opt {
		e, err := Start(Config{Dir: b.TempDir(), Addr: "127.0.0.1:0", Logger: quiet, Topics: []topology.Topic{simple("t", 8)}})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { e.Close() })
		return e.ClientOpts()
	}
	for _, way := range []struct {
		name string
		open func(*testing.B) []kgo.Opt
	}{{"bare", bare}, {"guarded", guarded}} {
		for name, codec := range map[string]kgo.CompressionCodec{"plain": kgo.NoCompression(), "snappy": kgo.SnappyCompression()} {
			b.Run("produce/"+name+"/"+way.name, func(b *testing.B) { benchProduce(b, way.open(b), codec) })
		}
		b.Run("consume/"+way.name, func(b *testing.B) { benchConsume(b, way.open(b)) })
		b.Run("latency/"+way.name, func(b *testing.B) { benchLatency(b, way.open(b)) })
	}
}

func benchClient(b *testing.B, opts []kgo.Opt, more ...kgo.Opt) *kgo.Client {
	c, err := kgo.NewClient(append(append([]kgo.Opt{kgo.DefaultProduceTopic("t")}, opts...), more...)...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	return c
}

// cpu is the processor time of this process so far: what a loaded machine
// cannot blur as it blurs the clock.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func reportCPU(b *testing.B, since time.Duration) {
	b.ReportMetric(float64(cpu(b)-since)/float64(b.N), "cpu-ns/op")
}

var benchValue = []byte(strings.Repeat("0123456789abcdef", 16))

func benchProduce(b *testing.B, opts []kgo.Opt, codec kgo.CompressionCodec) {
	c := benchClient(b, opts, kgo.ProducerBatchCompression(codec))
	b.SetBytes(int64(len(benchValue)))
	before := cpu(b)
	for range b.N {
		c.Produce(context.Background(), &kgo.Record{Value: benchValue}, nil)
	}
	if err := c.Flush(context.Background()); err != nil {
		b.Fatal(err)
	}
	reportCPU(b, before)
}

func benchConsume(b *testing.B, opts []kgo.Opt) {
	p := benchClient(b, opts, kgo.ProducerBatchCompression(kgo.NoCompression()))
	for range b.N {
		p.Produce(context.Background(), &kgo.Record{Value: benchValue}, nil)
	}
	if err := p.Flush(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	b.SetBytes(int64(len(benchValue)))
	before := cpu(b)
	c := benchClient(b, opts, kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	for n := 0; n < b.N; {
		n += c.PollFetches(context.Background()).NumRecords()
	}
	reportCPU(b, before)
}

// benchLatency is from a record's Produce to its arrival at a consumer.
func benchLatency(b *testing.B, opts []kgo.Opt) {
	p := benchClient(b, opts)
	c := benchClient(b, opts, kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()))
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	c.PollFetches(ctx)
	cancel()
	var took []time.Duration
	b.ResetTimer()
	before := cpu(b)
	for range b.N {
		began := time.Now()
		if err := p.ProduceSync(context.Background(), &kgo.Record{Value: benchValue}).FirstErr(); err != nil {
			b.Fatal(err)
		}
		for n := 0; n == 0; {
			n = c.PollFetches(context.Background()).NumRecords()
		}
		took = append(took, time.Since(began))
	}
	reportCPU(b, before)
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
}
