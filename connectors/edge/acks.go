package edge

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/connectors/edge/session"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/state/view"
)

// acks writes sync points to the acks topic. In memory they move at once; on
// disk when the record comes back from the topic, in the same batch as the
// topic's offset.
type acks struct{ s *Server }

// pointLog names the log that a source's sync points belong to: that of the
// target, also for a global business.
func pointLog(src *session.Source) view.Log {
	return view.Log{InstanceID: src.InstanceID, Target: src.Target, BizType: src.BizType}
}

// send makes a point durable and tells done (which may be nil, and must be
// quick) how that went. It does not wait: if too many are under way already,
// that is the error. A point that could not be written is as if it had not
// been acknowledged.
func (a *acks) send(pt *session.Point, done func(error)) {
	src := pt.Source
	p, l := a.s.partitionOf(src.Target), pointLog(&src)
	at := view.SyncPoint{To: pt.To, Rewind: pt.Rewind}
	p.acknowledge(l, src.DeviceID, at)
	rec := schemas.Ack{
		InstanceID: src.InstanceID, BizType: src.BizType, Target: src.Target, DeviceID: src.DeviceID,
		To: pt.To, Time: a.s.nowMillis(), Entries: pt.Entries, Rewind: pt.Rewind,
	}
	began := a.s.cfg.Now()
	end := a.s.traces.acknowledged(l, pt.To, began)
	a.s.producer.TryProduce(context.Background(), &kgo.Record{
		Topic: a.s.cfg.Topology.Acks.Name, Partition: p.n, Key: rec.RecordKey(), Value: rec.Append(nil),
	}, func(_ *kgo.Record, err error) {
		end(err)
		if err != nil {
			a.s.metrics.ackErrors.Inc()
			p.settled(l, src.DeviceID, at)
		} else {
			a.s.metrics.acked(&rec, a.s.cfg.Now().Sub(began))
		}
		if done != nil {
			done(err)
		}
	})
}
