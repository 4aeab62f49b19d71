package runtime

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/schemas/roster"
)

// presence knows which sessions are online. It decides nothing but whether an
// answer says SUCCESS or NOT_ONLINE, so it may be late and may be wrong.
type presence struct {
	client *kgo.Client
	topic  string
	now    func() time.Time
	roster *roster.Roster
}

// presenceSweepEvery is how often edges that are long gone are forgotten.
const presenceSweepEvery = time.Minute

func newPresence(cfg *Config) (*presence, error) {
	client, err := kgo.NewClient(append(cfg.clientOpts("processor-presence"),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{}),
		kgo.FetchMaxBytes(4<<20),
	)...)
	if err != nil {
		return nil, fmt.Errorf("open presence consumer: %w", err)
	}
	return &presence{client: client, topic: cfg.Topology.Presence.Name, now: cfg.Now, roster: roster.New()}, nil
}

func (p *presence) watch(partition int32) {
	from := p.now().Add(-roster.Lookback).UnixMilli()
	p.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{p.topic: {partition: kgo.NewOffset().AfterMilli(from)}})
}

func (p *presence) unwatch(partition int32) {
	p.client.RemoveConsumePartitions(map[string][]int32{p.topic: {partition}})
}

func (p *presence) run(ctx context.Context) {
	swept := p.now()
	for ctx.Err() == nil {
		fetches := p.client.PollFetches(ctx)
		if fetches.IsClientClosed() {
			return
		}
		now := p.now()
		fetches.EachRecord(func(r *kgo.Record) {
			rec := new(schemas.Presence)
			if rec.Decode(slices.Clone(r.Value)) == nil { // it is kept, the fetch is not
				p.roster.Apply(rec, now)
			}
		})
		if now.Sub(swept) > presenceSweepEvery {
			swept = now
			p.roster.Sweep(now)
		}
	}
}

// online reports whether a live session is there that the entry is for.
func (p *presence) online(to *processor.Reach) bool {
	return p.roster.Any(roster.Target{InstanceID: to.InstanceID, Dimension: to.Target, Name: to.LinkToken}, p.now(), func(s *schemas.Presence) bool {
		return slices.Contains(s.Biz, to.BizType) && to.Filter.Admits(s.OS, s.AppVersion) && (!to.Consistency || s.Verified)
	})
}
