package runtime

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/schemas"
)

// presenceLookback is how far back presence is read at start: edges announce
// every session again within it.
const presenceLookback = 30 * time.Minute

// presence knows which sessions are online. It decides nothing but whether an
// answer says SUCCESS or NOT_ONLINE, so it may be late and may be wrong.
type presence struct {
	client *kgo.Client
	topic  string
	now    func() time.Time

	mu      sync.RWMutex
	targets map[targetKey]map[sessionKey]*schemas.Presence
	edges   map[string]lease
}

type targetKey struct{ instance, dimension, target string }

type sessionKey struct {
	edge    string
	session string
}

// lease is an edge's word that its sessions live.
type lease struct {
	epoch int64
	until time.Time // by our clock: from when its record arrived
}

func newPresence(cfg *Config) (*presence, error) {
	client, err := kgo.NewClient(append(cfg.clientOpts("processor-presence"),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{}),
		kgo.FetchMaxBytes(4<<20),
	)...)
	if err != nil {
		return nil, fmt.Errorf("open presence consumer: %w", err)
	}
	return &presence{
		client: client, topic: cfg.Topology.Presence.Name, now: cfg.Now,
		targets: make(map[targetKey]map[sessionKey]*schemas.Presence), edges: make(map[string]lease),
	}, nil
}

func (p *presence) watch(partition int32) {
	from := p.now().Add(-presenceLookback).UnixMilli()
	p.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{p.topic: {partition: kgo.NewOffset().AfterMilli(from)}})
}

func (p *presence) unwatch(partition int32) {
	p.client.RemoveConsumePartitions(map[string][]int32{p.topic: {partition}})
}

func (p *presence) run(ctx context.Context) {
	for ctx.Err() == nil {
		fetches := p.client.PollFetches(ctx)
		if fetches.IsClientClosed() {
			return
		}
		fetches.EachRecord(func(r *kgo.Record) {
			var rec schemas.Presence
			if rec.Decode(slices.Clone(r.Value)) == nil { // it is kept, the fetch is not
				p.apply(&rec)
			}
		})
	}
}

func (p *presence) apply(r *schemas.Presence) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.edges[r.EdgeID]
	if r.Epoch < known.epoch {
		return // of a process that is gone
	}
	if r.Epoch > known.epoch {
		p.forget(r.EdgeID)
		known = lease{epoch: r.Epoch}
	}
	if r.Lease() {
		known.until = p.now().Add(time.Duration(r.LeaseMillis) * time.Millisecond)
	}
	p.edges[r.EdgeID] = known
	if r.Lease() {
		return
	}
	at, key := targetKey{r.InstanceID, r.Dimension, r.Target}, sessionKey{r.EdgeID, r.Session}
	if r.Gone {
		delete(p.targets[at], key)
		if len(p.targets[at]) == 0 {
			delete(p.targets, at)
		}
		return
	}
	if p.targets[at] == nil {
		p.targets[at] = make(map[sessionKey]*schemas.Presence, 1)
	}
	p.targets[at][key] = r
}

// forget drops all sessions of an edge: it was started anew.
func (p *presence) forget(edge string) {
	for at, sessions := range p.targets {
		for key := range sessions {
			if key.edge == edge {
				delete(sessions, key)
			}
		}
		if len(sessions) == 0 {
			delete(p.targets, at)
		}
	}
}

// online reports whether a live session is there that the entry is for.
func (p *presence) online(to *processor.Reach) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	now := p.now()
	for _, s := range p.targets[targetKey{to.InstanceID, to.Target, to.LinkToken}] {
		edge := p.edges[s.EdgeID]
		if edge.epoch == s.Epoch && now.Before(edge.until) && eligible(s, to) {
			return true
		}
	}
	return false
}

func eligible(s *schemas.Presence, to *processor.Reach) bool {
	return slices.Contains(s.Biz, to.BizType) &&
		to.Filter.Admits(s.OS, s.AppVersion) &&
		(!to.Consistency || s.Verified)
}
