package edge

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/schemas/roster"
)

// elsewhere knows who is online at other edges, for those who ask how a target
// stands. Nothing is delivered by it.
type elsewhere struct {
	s      *Server
	roster *roster.Roster
}

// rosterSweepEvery is how often edges that are long gone are forgotten.
const rosterSweepEvery = time.Minute

func newElsewhere(s *Server) *elsewhere { return &elsewhere{s: s, roster: roster.New()} }

// run reads the presence topic until the context ends.
func (e *elsewhere) run(ctx context.Context) error {
	t := e.s.cfg.Topology
	from := kgo.NewOffset().AfterMilli(e.s.cfg.Now().Add(-roster.Lookback).UnixMilli())
	offsets := make(map[int32]kgo.Offset, t.Partitions)
	for p := range t.Partitions {
		offsets[p] = from
	}
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.ClientID("tidemark-edge-presence"),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{t.Presence.Name: offsets}),
		kgo.FetchMaxBytes(4 << 20),
	}, e.s.cfg.Client...)...)
	if err != nil {
		return fmt.Errorf("edge: open presence consumer: %w", err)
	}
	defer client.Close()
	swept := e.s.cfg.Now()
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil || fetches.IsClientClosed() {
			return nil
		}
		now := e.s.cfg.Now()
		fetches.EachRecord(func(r *kgo.Record) { e.take(r.Value, now) })
		if now.Sub(swept) > rosterSweepEvery {
			swept = now
			e.roster.Sweep(now)
		}
	}
}

// take takes a record. Our own sessions are in the hub; what cannot be read is
// of a newer release, and only makes an answer poorer.
func (e *elsewhere) take(record []byte, now time.Time) {
	p := new(schemas.Presence)
	if p.Decode(slices.Clone(record)) == nil && p.EdgeID != e.s.cfg.EdgeID { // it is kept, the fetch is not
		e.roster.Apply(p, now)
	}
}

// sessionsOf lists a target's sessions at other edges.
func (e *elsewhere) sessionsOf(instanceID, dimension, target string) (all []SessionStatus) {
	for _, p := range e.roster.Sessions(roster.Target{InstanceID: instanceID, Dimension: dimension, Name: target}, e.s.cfg.Now()) {
		all = append(all, SessionStatus{
			EdgeID: p.EdgeID, Session: p.Session, Transport: p.Transport, DeviceID: p.DeviceID, UserID: p.UserID, OS: p.OS, AppVersion: p.AppVersion,
			Foreground: true, Verified: p.Verified, // a session in the background is not announced
		})
	}
	return all
}
