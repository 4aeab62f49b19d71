package e2e

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// ReadTopics reads the public topics from their beginnings to where they end
// now. An empty prefix is not the default one: pass "tidemark.".
func ReadTopics(ctx context.Context, brokers []string, prefix string) (*Topics, error) {
	t := new(Topics)
	// Requests come last: what is in the others has its request here then.
	for _, x := range []struct {
		name string
		to   *[][]Record
	}{{"results", &t.Results}, {"rejects", &t.Rejects}, {"broadcast", &t.Broadcast}, {"oplog", &t.Oplog}, {"requests", &t.Requests}} {
		var err error
		if *x.to, err = ReadTopic(ctx, brokers, prefix+x.name); err != nil {
			return nil, fmt.Errorf("read topic %s%s: %w", prefix, x.name, err)
		}
	}
	return t, nil
}

// ReadTopic reads one.
func ReadTopic(ctx context.Context, brokers []string, topic string) ([][]Record, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, err
	}
	logs := make([][]Record, len(ends[topic]))
	from := make(map[int32]kgo.Offset)
	for p, o := range ends[topic] {
		if o.Offset > 0 {
			from[p] = kgo.NewOffset().AtStart()
		}
	}
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: from})
	for len(from) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			end := ends[topic][r.Partition].Offset
			if r.Offset >= end {
				return
			}
			headers := make(map[string]string, len(r.Headers))
			for _, h := range r.Headers {
				headers[h.Key] = string(h.Value)
			}
			logs[r.Partition] = append(logs[r.Partition], Record{Offset: r.Offset, Key: r.Key, Value: r.Value, Headers: headers})
			if r.Offset == end-1 {
				delete(from, r.Partition)
			}
		})
	}
	return logs, nil
}

// settleMax is how long side outputs may take after the entries: results,
// rejects and broadcast copies that a crash has swallowed are made up for.
const settleMax = 15 * time.Second

// Settled reads the topics again and again until every request in them is
// dealt with, or the context ends, and audits them. Findings must last to count.
func Settled(ctx context.Context, brokers []string, prefix string, businesses Businesses, asked []Asked) (*Topics, *Audit, error) {
	var since time.Time
	for {
		t, err := ReadTopics(ctx, brokers, prefix)
		if err != nil {
			return nil, nil, err
		}
		a := Check(t, businesses, asked)
		behind := a.Behind(t)
		if behind == 0 && since.IsZero() {
			since = time.Now()
		}
		if behind == 0 && (len(a.Findings) == 0 || time.Since(since) > settleMax) {
			return t, a, nil
		}
		select {
		case <-ctx.Done():
			return t, a, fmt.Errorf("%d requests are not dealt with: %w", behind, ctx.Err())
		case <-time.After(20 * pollEvery):
		}
	}
}
