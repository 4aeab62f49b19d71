//go:build kafka

package broker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func run(t *testing.T, cfg Config) (*Broker, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	t.Cleanup(cancel)
	b, err := Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
	})
	return b, ctx
}

func connect(t *testing.T, b *Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(b.Addrs()...), kgo.MetadataMinAge(50*time.Millisecond),
		kgo.UnknownTopicRetries(-1), // a node may hear of a new topic later than its creator
	)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func createTopic(ctx context.Context, t *testing.T, c *kgo.Client, replicas int16) {
	t.Helper()
	if _, err := kadm.NewClient(c).CreateTopic(ctx, 1, replicas, nil, "t"); err != nil {
		t.Fatal(err)
	}
}

func produce(ctx context.Context, t *testing.T, c *kgo.Client, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		c.Produce(ctx, &kgo.Record{Topic: "t", Value: fmt.Append(nil, i)}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if err := c.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

// expect reads the topic from its start: the numbers below n, in order, once.
func expect(ctx context.Context, t *testing.T, b *Broker, n int) {
	t.Helper()
	c := connect(t, b, kgo.ConsumeTopics("t"))
	for want := 0; want < n; {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if string(r.Value) != fmt.Sprint(want) {
				t.Fatalf("record %d is %q", want, r.Value)
			}
			want++
		})
	}
}

func TestAcknowledgedRecordsSurviveKill(t *testing.T) {
	b, ctx := run(t, Config{HeapMiB: 512})
	c := connect(t, b)
	createTopic(ctx, t, c, 1)
	produce(ctx, t, c, 0, 1000)
	before, err := b.Usage()
	if err != nil || before.CPU == 0 || before.RSS == 0 {
		t.Errorf("usage: %+v, %v", before, err)
	}
	if err := b.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	after, err := b.Usage()
	if err != nil || after.CPU < before.CPU {
		t.Errorf("usage after restart %+v, before %+v: %v", after, before, err)
	}
	produce(ctx, t, c, 1000, 2000)
	expect(ctx, t, b, 2000)
}

func TestPauseSilencesAndResumeLosesNothing(t *testing.T) {
	b, ctx := run(t, Config{HeapMiB: 512})
	c := connect(t, b)
	createTopic(ctx, t, c, 1)
	produce(ctx, t, c, 0, 10)
	if err := b.Pause(); err != nil {
		t.Fatal(err)
	}
	silent, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if err := c.Ping(silent); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a paused broker answered: %v", err)
	}
	if err := b.Resume(); err != nil {
		t.Fatal(err)
	}
	produce(ctx, t, c, 10, 20)
	expect(ctx, t, b, 20)
}

func TestThreeNodesServeWithoutOne(t *testing.T) {
	b, ctx := run(t, Config{Nodes: 3, HeapMiB: 320})
	c := connect(t, b)
	createTopic(ctx, t, c, 3)
	produce(ctx, t, c, 0, 100)
	if err := b.Node(0).Kill(); err != nil {
		t.Fatal(err)
	}
	produce(ctx, t, c, 100, 200)
	if err := b.Node(0).Restart(); err != nil {
		t.Fatal(err)
	}
	if err := b.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	expect(ctx, t, b, 200)
}

func TestKeptDirectoryStartsAgain(t *testing.T) {
	dir := t.TempDir()
	b, ctx := run(t, Config{HeapMiB: 512, Dir: dir})
	c := connect(t, b)
	createTopic(ctx, t, c, 1)
	produce(ctx, t, c, 0, 10)
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Fatal(err)
	}
	again, ctx := run(t, Config{HeapMiB: 512, Dir: dir})
	expect(ctx, t, again, 10)
}
