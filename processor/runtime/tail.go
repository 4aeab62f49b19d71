package runtime

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// tail reads a partition of a topic from an offset on, with a client of its
// own: what is restored shares nothing with what runs.
type tail struct {
	client *kgo.Client
	buffer []*kgo.Record // fetched and not yet visited
	next   int64         // offset of the next record to visit
}

func openTail(cfg *Config, topic string, partition int32, from int64) (*tail, error) {
	client, err := kgo.NewClient(append(cfg.clientOpts("processor-tail"),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(from)}}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxBytes(16<<20),
	)...)
	if err != nil {
		return nil, fmt.Errorf("open reader of %s: %w", topic, err)
	}
	return &tail{client: client, next: from}, nil
}

// poll waits for records and visits them in order. A record whose visit failed
// is visited again by the next poll.
func (t *tail) poll(ctx context.Context, visit func(*kgo.Record) error) error {
	if len(t.buffer) == 0 {
		if err := t.fetch(ctx); err != nil {
			return err
		}
	}
	for len(t.buffer) > 0 {
		r := t.buffer[0]
		if err := visit(r); err != nil {
			return err
		}
		t.buffer = t.buffer[1:]
		t.next = r.Offset + 1
	}
	return nil
}

func (t *tail) fetch(ctx context.Context) error {
	fetches := t.client.PollFetches(ctx)
	t.buffer = fetches.Records()
	if len(t.buffer) > 0 {
		return nil
	}
	var failed error
	fetches.EachError(func(topic string, p int32, err error) {
		if permanent(err) && failed == nil {
			failed = fmt.Errorf("read %s partition %d at %d: %w", topic, p, t.next, err)
		}
	})
	if failed != nil {
		return failed
	}
	return ctx.Err()
}

func (t *tail) close() { t.client.Close() }
