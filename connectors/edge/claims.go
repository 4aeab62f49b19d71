package edge

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/schemas"
)

// FirstConnect notes, durably, that a device id was seen, and reports whether it
// never was before, at this edge or another. Of several that ask at once one is
// the first: each writes a record to the device's partition of the acks topic,
// and whose comes first there is found out by reading it back. The error is
// [ErrLater].
func (s *Server) FirstConnect(ctx context.Context, instanceID, deviceID string) (bool, error) {
	p := s.partitionOf(deviceID)
	if who, err := p.view.Claim(instanceID, deviceID); err != nil || who != 0 {
		return false, err
	}
	if why := p.parked.Load(); why != nil {
		return false, fmt.Errorf("%w: claim device: partition %d stands still: %s", ErrLater, p.n, *why)
	}
	claim := schemas.Ack{
		InstanceID: instanceID, Target: deviceID, DeviceID: deviceID, To: 1 + rand.Int64N(math.MaxInt64), Time: s.nowMillis(),
	}
	offset, err := s.claim(ctx, p, &claim)
	if err == nil {
		err = s.reached(ctx, p, offset)
	}
	if err != nil {
		return false, fmt.Errorf("%w: claim device: %w", ErrLater, err)
	}
	who, err := p.view.Claim(instanceID, deviceID)
	return who == claim.To, err
}

// claim writes the record, and gives its offset.
func (s *Server) claim(ctx context.Context, p *partition, a *schemas.Ack) (int64, error) {
	type wrote struct {
		offset int64
		err    error
	}
	done := make(chan wrote, 1)
	s.producer.TryProduce(ctx, &kgo.Record{
		Topic: s.cfg.Topology.Acks.Name, Partition: p.n, Key: a.RecordKey(), Value: a.Append(nil),
	}, func(r *kgo.Record, err error) { done <- wrote{r.Offset, err} })
	select {
	case w := <-done:
		return w.offset, w.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

var errStopped = errors.New("the partition is not read any more")

// reached waits until the view has read a record of the acks topic.
func (s *Server) reached(ctx context.Context, p *partition, offset int64) error {
	for {
		p.mu.Lock()
		if p.moved == nil {
			p.moved = make(chan struct{})
		}
		moved := p.moved
		p.mu.Unlock()
		switch {
		case p.view.Position().Acks > offset:
			return nil
		case p.parked.Load() != nil || s.draining.Load():
			return errStopped
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// wake has those look again who wait for the view.
func (p *partition) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.moved != nil {
		close(p.moved)
		p.moved = nil
	}
}
