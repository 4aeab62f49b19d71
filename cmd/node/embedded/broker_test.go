package embedded

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemarkio/tidemark/topology"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

var quiet = slog.New(slog.DiscardHandler)

// simple is a topic of a map.
func simple(name string, partitions int32) topology.Topic {
	return topology.Topic{Name: name, Partitions: partitions, Cleanup: topology.Delete}
}

func start(t *testing.T, cfg Config) *Broker {
	t.Helper()
	if cfg.Addr == "" && cfg.Network == nil {
		cfg.Addr = "127.0.0.1:0"
	}
	if cfg.Logger == nil {
		cfg.Logger = quiet
	}
	b, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func client(t *testing.T, b *Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append(b.ClientOpts(), opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func produce(t *testing.T, c *kgo.Client, topic string, values ...string) {
	t.Helper()
	for _, v := range values {
		r := &kgo.Record{Topic: topic, Value: []byte(v)}
		if err := c.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatalf("produce %q: %v", v, err)
		}
	}
}

// read returns the first n values of a topic with one partition.
func read(t *testing.T, b *Broker, topic string, n int) []string {
	t.Helper()
	c := client(t, b, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var values []string
	for len(values) < n {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("read %s after %q: %v", topic, values, err)
		}
		fetches.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	return values
}

func TestRecordsAndOffsetsOutliveTheProcess(t *testing.T) {
	for _, sync := range []bool{false, true} {
		cfg := Config{Dir: t.TempDir(), SyncWrites: sync, Topics: []topology.Topic{simple("a", 1)}}
		b := start(t, cfg)
		c := client(t, b)
		produce(t, c, "a", "1", "2", "3")
		adm := kadm.NewClient(c)
		offsets := kadm.Offsets{}
		offsets.AddOffset("a", 0, 2, -1)
		if err := adm.CommitAllOffsets(t.Context(), "g", offsets); err != nil {
			t.Fatal(err)
		}
		meta, err := adm.BrokerMetadata(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		b.Close()

		b = start(t, cfg)
		if got := strings.Join(read(t, b, "a", 3), " "); got != "1 2 3" {
			t.Errorf("read %q after the restart", got)
		}
		adm = kadm.NewClient(client(t, b))
		fetched, err := adm.FetchOffsets(t.Context(), "g")
		if err != nil {
			t.Fatal(err)
		}
		if o, _ := fetched.Lookup("a", 0); o.At != 2 {
			t.Errorf("the group's offset is %d after the restart, want 2", o.At)
		}
		again, err := adm.BrokerMetadata(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if again.Cluster != meta.Cluster || len(again.Cluster) != 22 {
			t.Errorf("cluster id %q became %q", meta.Cluster, again.Cluster)
		}
	}
}

func TestSecondProcessIsToldWhoHoldsTheDirectory(t *testing.T) {
	dir := t.TempDir()
	b := start(t, Config{Dir: dir})
	_, err := Start(Config{Dir: dir, Addr: "127.0.0.1:0", Logger: quiet})
	if err == nil || !strings.Contains(err.Error(), "in use by process ") || !strings.Contains(err.Error(), "--data-dir") {
		t.Errorf("second start in one directory: %v", err)
	}
	b.Close()
	start(t, Config{Dir: dir})
}

func TestOnlyLoopback(t *testing.T) {
	for addr, ok := range map[string]bool{
		"127.0.0.1:0": true, "127.0.0.2:0": true, "localhost:0": true, "[::1]:9092": true,
		"0.0.0.0:0": false, ":9092": false, "10.0.0.1:9092": false, "example.org:9092": false,
		"127.0.0.1": false, "127.0.0.1:http": false, "127.0.0.1:65536": false, "[::]:9092": false,
	} {
		if err := (&Config{Addr: addr}).Validate(); (err == nil) != ok {
			t.Errorf("%q: %v", addr, err)
		}
	}
}

func TestTakenPortSaysWhatToDo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	_, err = Start(Config{Dir: dir, Addr: l.Addr().String(), Logger: quiet})
	if err == nil || !strings.Contains(err.Error(), "--kafka") {
		t.Errorf("start on a taken port: %v", err)
	}
	start(t, Config{Dir: dir}) // the failed start left the directory free
}

func TestEnsureTopics(t *testing.T) {
	dir := t.TempDir()
	top, err := topology.New(topology.Config{Partitions: 4})
	if err != nil {
		t.Fatal(err)
	}
	b := start(t, Config{Dir: dir, Topics: top.Topics()})
	if err := b.EnsureTopics(t.Context(), top.Topics()); err != nil {
		t.Errorf("a second time: %v", err)
	}
	more, err := topology.New(topology.Config{Partitions: 8})
	if err != nil {
		t.Fatal(err)
	}
	err = b.EnsureTopics(t.Context(), more.Topics())
	if err == nil || !strings.Contains(err.Error(), "4 partitions, but the topology says 8") {
		t.Errorf("other partition count: %v", err)
	}
	for _, topic := range top.Topics() {
		info := b.Cluster().TopicInfo(topic.Name)
		if info == nil {
			t.Fatalf("%s is missing", topic.Name)
		}
		if p := *info.Configs["cleanup.policy"]; p != "delete" {
			t.Errorf("%s has cleanup.policy %s", topic.Name, p)
		}
		if p := *info.Configs["retention.ms"]; p != "-1" {
			t.Errorf("%s has retention.ms %s", topic.Name, p)
		}
	}
}

func TestSizes(t *testing.T) {
	b := start(t, Config{Dir: t.TempDir(), Topics: []topology.Topic{simple("a", 2)}})
	c := client(t, b)
	if _, err := kadm.NewClient(c).CreateTopic(t.Context(), 3, 1, nil, "theirs"); err != nil {
		t.Fatal(err)
	}
	produce(t, c, "theirs", strings.Repeat("x", 1000))
	sizes, err := b.Sizes()
	if err != nil {
		t.Fatal(err)
	}
	if len(sizes) != 2 || sizes[0] != (Size{"a", 2, 0}) || sizes[1].Topic != "theirs" || sizes[1].Partitions != 3 || sizes[1].Bytes == 0 {
		t.Errorf("sizes: %+v", sizes)
	}
}

func TestVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := Virtual(simple("a", 1))
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		c, err := kgo.NewClient(append(b.ClientOpts(), kgo.ConsumeTopics("a"), kgo.ConsumerGroup("g"))...)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		began := time.Now()
		time.Sleep(time.Hour)
		if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: "a", Value: []byte("late")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		for n := 0; n == 0; {
			n = c.PollFetches(t.Context()).NumRecords()
		}
		if time.Since(began) < time.Hour {
			t.Error("the clock was not virtual")
		}
	})
}

// TestNothingExpires: neither the broker's retention nor its compaction ever
// runs, whatever a topic's settings say.
func TestNothingExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := Virtual(simple("ours", 1))
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		c, err := kgo.NewClient(append(b.ClientOpts(), kgo.ProducerBatchCompression(kgo.NoCompression()))...)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		configs := map[string]*string{"retention.ms": kadm.StringPtr("1000"), "retention.bytes": kadm.StringPtr("1"), "cleanup.policy": kadm.StringPtr("compact,delete")}
		if _, err := kadm.NewClient(c).CreateTopic(t.Context(), 1, 1, configs, "theirs"); err != nil {
			t.Fatal(err)
		}
		for _, topic := range []string{"ours", "theirs"} {
			for range 3 {
				r := &kgo.Record{Topic: topic, Key: []byte("k"), Value: []byte("v")}
				if err := c.ProduceSync(t.Context(), r).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
		}
		time.Sleep(8 * 24 * time.Hour)
		for _, topic := range []string{"ours", "theirs"} {
			p := b.Cluster().PartitionInfo(topic, 0)
			if p.LogStartOffset != 0 || p.HighWatermark != 3 || p.NumBytes < 3*batchHeader {
				t.Errorf("%s after eight days: %+v", topic, p)
			}
		}
	})
}

func textLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }
