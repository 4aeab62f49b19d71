package edge

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/schemas"
)

// presence says in the presence topic who is online here: a record for every
// target of a session when it comes, changes or goes, and a lease for every
// partition that has any, without which the sessions do not count. So when
// this process dies, all of them go offline together.
type presence struct {
	s     *Server
	epoch int64 // this process's start, epoch ms

	mu    sync.Mutex
	late  map[*client]bool // could not be announced: the producer was full
	lease []int64          // when each partition's lease was last written, epoch ms
}

func newPresence(s *Server, partitions int32) *presence {
	return &presence{s: s, epoch: s.nowMillis(), late: make(map[*client]bool), lease: make([]int64, partitions)}
}

// announce writes what there is to say of a session now. With the client's
// lock, which keeps records of one session in order.
func (w *presence) announce(c *client) {
	now := c.targets()
	said, ok := now, true
	for _, t := range c.announced {
		if !slices.Contains(now, t) && !w.write(c, t, true) {
			said, ok = append(said, t), false // to be taken back later
		}
	}
	for _, t := range now {
		ok = w.write(c, t, false) && ok
	}
	for _, t := range c.announced {
		w.s.partitionOf(t.name).online.Add(-1)
	}
	for _, t := range said {
		w.s.partitionOf(t.name).online.Add(1)
	}
	c.announced = said
	w.mu.Lock()
	defer w.mu.Unlock()
	if ok {
		delete(w.late, c)
	} else {
		w.late[c] = true
	}
}

// targets are what a session can be reached as now. With c.mu.
func (c *client) targets() []target {
	if c.closed || !c.session.Foreground() {
		return nil
	}
	id := c.session.Identity()
	all := make([]target, 1, 2)
	all[0] = target{schemas.TargetDevice, id.DeviceID}
	if id.UserID != "" {
		all = append(all, target{schemas.TargetUser, id.UserID})
	}
	return all
}

// write writes a session's record at one target. The partition's lease comes
// first if it is not fresh: a session counts only under a lease.
func (w *presence) write(c *client, t target, gone bool) bool {
	p := w.s.partitionOf(t.name)
	now := w.s.nowMillis()
	w.mu.Lock()
	stale := now-w.lease[p.n] >= LeaseEvery.Milliseconds()
	w.mu.Unlock()
	if stale && !gone {
		w.writeLease(p.n, LeaseLength)
	}
	id := c.session.Identity()
	return w.produce(p.n, &schemas.Presence{
		EdgeID: w.s.cfg.EdgeID, Epoch: w.epoch, Session: c.name, InstanceID: id.InstanceID, Target: t.name, Dimension: t.dimension,
		DeviceID: id.DeviceID, UserID: id.UserID, Transport: c.wire.name(), OS: id.OS, AppVersion: id.AppVersion, Biz: c.session.Businesses(),
		Verified: c.session.Verified(), Gone: gone, Time: now,
	})
}

func (w *presence) writeLease(partition int32, length time.Duration) bool {
	now := w.s.nowMillis()
	w.mu.Lock()
	w.lease[partition] = now
	w.mu.Unlock()
	return w.produce(partition, &schemas.Presence{EdgeID: w.s.cfg.EdgeID, Epoch: w.epoch, Time: now, LeaseMillis: length.Milliseconds()})
}

// produce hands a record to the producer, which keeps the order of a
// partition; it reports whether there was room. The last of it is for acks.
func (w *presence) produce(partition int32, p *schemas.Presence) bool {
	if w.s.producer.BufferedProduceRecords() >= producerBufferedMax*3/4 {
		return false
	}
	w.s.producer.TryProduce(context.Background(), &kgo.Record{
		Topic: w.s.cfg.Topology.Presence.Name, Partition: partition, Key: p.RecordKey(), Value: p.Append(nil),
	}, func(_ *kgo.Record, err error) {
		if err != nil {
			w.s.metrics.presenceErrors.Inc()
		}
	})
	w.s.metrics.presenceRecords.Inc()
	return true
}

// renew writes leases where sessions are, and what could not be written
// before.
func (w *presence) renew() {
	for _, p := range w.s.partitions {
		if p.online.Load() > 0 {
			w.writeLease(p.n, LeaseLength)
		}
	}
	w.mu.Lock()
	late := make([]*client, 0, len(w.late))
	for c := range w.late {
		late = append(late, c)
	}
	w.mu.Unlock()
	for _, c := range late {
		c.mu.Lock()
		w.announce(c)
		c.mu.Unlock()
	}
}

// end takes the leases back: nobody is online here any more.
func (w *presence) end() {
	for _, p := range w.s.partitions {
		w.mu.Lock()
		leased := w.lease[p.n] > 0
		w.mu.Unlock()
		if leased {
			w.writeLease(p.n, 0)
		}
	}
}
