package demo

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/schemas/chain"
	"github.com/tidemarkio/tidemark/topology"
)

// count reads the oplog as any data team could, from the log's end before the
// play to where every request is covered.
type count struct {
	cfg   Config
	admin *kadm.Client
	cl    *kgo.Client
	from  map[int32]int64 // oplog offsets before the play
}

func startCount(ctx context.Context, cfg Config) (*count, error) {
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.ClientID("flights-count")}, cfg.Client...)...)
	if err != nil {
		return nil, err
	}
	c := &count{cfg: cfg, cl: cl, admin: kadm.NewClient(cl)}
	c.from, err = c.ends(ctx, cfg.Topology.Oplog)
	return c, err
}

func (c *count) ends(ctx context.Context, t topology.Topic) (map[int32]int64, error) {
	listed, err := c.admin.ListEndOffsets(ctx, t.Name)
	if err != nil {
		return nil, fmt.Errorf("list end offsets of %s: %w", t.Name, err)
	}
	ends := make(map[int32]int64)
	listed.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
	return ends, listed.Error()
}

// finish counts the entries that were added, once the log covers all requests
// that the topic holds now.
func (c *count) finish(ctx context.Context) (entries int, err error) {
	defer c.cl.Close()
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	ends, err := c.ends(ctx, c.cfg.Topology.Requests)
	if err != nil {
		return 0, err
	}
	for p, end := range ends {
		n, err := c.partition(ctx, p, end-1)
		if err != nil {
			return entries, err
		}
		entries += n
	}
	return entries, nil
}

// partition counts one partition up to the marker or entry that covers the
// position.
func (c *count) partition(ctx context.Context, p int32, position int64) (entries int, err error) {
	topic := c.cfg.Topology.Oplog.Name
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.ClientID("flights-count"),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {p: kgo.NewOffset().At(0)}})}, c.cfg.Client...)...)
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	reader := chain.Start()
	for reader.Covered() < position {
		f := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return entries, fmt.Errorf("partition %d: the oplog covers requests up to %d of %d after %s", p, reader.Covered(), position, settleTimeout)
		}
		for it := f.RecordIter(); !it.Done(); {
			r := it.Next()
			var e schemas.Entry
			if err := e.Decode(r.Value); err != nil {
				return entries, err
			}
			v, err := reader.Accept(r.Value, &e)
			if err != nil {
				return entries, err
			}
			if v == chain.Accept && r.Offset >= c.from[p] {
				entries++
			}
		}
	}
	return entries, nil
}
