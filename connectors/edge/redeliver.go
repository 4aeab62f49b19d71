package edge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/state/view"
)

// RewindsMax bounds the sync points that one call moves.
const RewindsMax = 10_000

// Redelivery asks for entries of one target to be delivered once more.
type Redelivery struct {
	InstanceID string
	BizType    string
	Target     string
	// DeviceID is the device that it is for, in businesses whose devices have
	// points of their own; empty: all that are on record.
	DeviceID string
	// After is the id behind which entries come again.
	After int64
	// Since is the time (epoch ms) of acceptance from which they do; 0: After
	// counts.
	Since int64
}

// Rewind is a sync point to be moved back.
type Rewind struct {
	InstanceID string
	BizType    string
	Target     string
	DeviceID   string // empty: the point is the target's, whichever device it goes to
	From, To   int64
}

// CannotRedeliverError says why a redelivery is refused, for who asked.
type CannotRedeliverError struct{ Reason string }

func (e *CannotRedeliverError) Error() string { return "cannot redeliver: " + e.Reason }

// PlanRewinds says which points a redelivery would move, and where: back, never
// forward. None: nothing of what is stored would come again, or nobody has
// confirmed it. The error may be a [CannotRedeliverError].
func (s *Server) PlanRewinds(r *Redelivery) ([]Rewind, error) {
	cfg := s.settings().Sync(r.InstanceID, r.BizType)
	switch {
	case cfg == nil:
		return nil, &CannotRedeliverError{fmt.Sprintf("there is no business %q", r.BizType)}
	case !cfg.Persistent:
		return nil, &CannotRedeliverError{fmt.Sprintf("business %q keeps nothing", r.BizType)}
	}
	shared := cfg.Target == schemas.TargetUser && !cfg.MultiDevice && cfg.Scope != schemas.ScopeGlobal
	if shared && r.DeviceID != "" {
		return nil, &CannotRedeliverError{fmt.Sprintf("business %q goes to one device of a user, whichever is online: name no device", r.BizType)}
	}
	l := view.Log{InstanceID: r.InstanceID, Target: r.Target, BizType: r.BizType}
	to := r.After
	if r.Since > 0 {
		var err error
		if to, err = s.idBefore(l, cfg.Scope == schemas.ScopeGlobal, r.Since); err != nil {
			return nil, err
		}
	}
	if to < 0 {
		return nil, nil
	}
	points, err := s.partitionOf(r.Target).pointsOf(l, shared, r.DeviceID)
	if err != nil {
		return nil, err
	}
	var plan []Rewind
	for _, p := range points {
		if p.To > to {
			plan = append(plan, Rewind{r.InstanceID, r.BizType, r.Target, p.DeviceID, p.To, to})
		}
	}
	return plan, nil
}

// idBefore is the id in front of the first stored entry that was accepted at a
// time or later; -1: there is none.
func (s *Server) idBefore(l view.Log, global bool, since int64) (int64, error) {
	var from entries = s.partitionOf(l.Target).view
	if global {
		l.Target, from = "", s.globals.store
	}
	id := int64(-1)
	err := from.Read(l, 0, 1<<62, func(e *schemas.Entry, _ []byte) bool {
		if e.StreamTime >= since {
			id = e.OplogID - 1
		}
		return id < 0
	})
	return id, err
}

// pointsOf lists the points that a redelivery may move.
func (p *partition) pointsOf(l view.Log, shared bool, device string) ([]view.DevicePoint, error) {
	if shared {
		taken, err := p.taken(l)
		return []view.DevicePoint{{SyncPoint: taken}}, err
	}
	all, err := p.view.Points(l)
	if err != nil {
		return nil, err
	}
	var points []view.DevicePoint
	for _, d := range all {
		if d.DeviceID == "" || device != "" && d.DeviceID != device {
			continue
		}
		if d.SyncPoint, _, err = p.point(l, d.DeviceID); err != nil {
			return nil, err
		}
		points = append(points, d)
	}
	return points, nil
}

// Rewind moves points back as planned, and returns when the acks topic has that
// and the views here have taken it over; other edges do as they read the topic.
// Doing the same again is harmless: it makes the same entries come once more.
func (s *Server) Rewind(ctx context.Context, plan []Rewind) error {
	if len(plan) > RewindsMax {
		return &CannotRedeliverError{fmt.Sprintf("%d sync points would move, and %d is the limit of one call", len(plan), RewindsMax)}
	}
	records := make([]*kgo.Record, 0, len(plan))
	for i := range plan {
		rec, err := s.rewindRecord(&plan[i])
		if err != nil {
			return err
		}
		records = append(records, rec)
	}
	// A caller that leaves does not stop half of it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.AckTimeout)
	defer cancel()
	results := s.producer.ProduceSync(ctx, records...)
	if err := results.FirstErr(); err != nil {
		return fmt.Errorf("write rewinds, some may be written: %w", err)
	}
	for _, r := range results {
		p := s.partitions[r.Record.Partition]
		for p.view.Position().Acks <= r.Record.Offset {
			switch {
			case p.parked.Load() != nil:
				return fmt.Errorf("rewinds are written, and partition %d stands still here: %s", p.n, *p.parked.Load())
			case ctx.Err() != nil:
				return errors.Join(errors.New("rewinds are written, and take effect when the view here gets to them"), ctx.Err())
			}
			time.Sleep(time.Millisecond) // between two looks at the condition
		}
	}
	return nil
}

// rewindRecord makes a rewind's record. Its number is larger than that of the
// last one, and than those of points that were lost: it is a time.
func (s *Server) rewindRecord(r *Rewind) (*kgo.Record, error) {
	p, l := s.partitionOf(r.Target), view.Log{InstanceID: r.InstanceID, Target: r.Target, BizType: r.BizType}
	at, err := p.taken(l)
	if r.DeviceID != "" {
		at, _, err = p.point(l, r.DeviceID)
	}
	if err != nil {
		return nil, err
	}
	now := s.nowMillis()
	rec := schemas.Ack{
		InstanceID: r.InstanceID, BizType: r.BizType, Target: r.Target, DeviceID: r.DeviceID, To: r.To, Time: now,
		Rewind: max(now, at.Rewind+1), Back: true,
	}
	return &kgo.Record{Topic: s.cfg.Topology.Acks.Name, Partition: p.n, Key: rec.RecordKey(), Value: rec.Append(nil)}, nil
}
