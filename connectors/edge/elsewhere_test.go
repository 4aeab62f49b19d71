package edge

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/schemas"
)

// wantTarget waits until an edge knows a target so.
func (h *house) wantTarget(dimension, target, want string) {
	h.t.Helper()
	eventually(h.t, dimension+" "+target, func() error {
		st, err := h.server.Target(instance, dimension, target)
		if err != nil {
			return err
		}
		got := fmt.Sprintf("%v %d/%d", st.Connected, st.Arrivals, st.Pushes)
		for _, s := range st.Sessions {
			got += fmt.Sprintf(" %s:%s/%s/%s/%s", s.EdgeID, s.DeviceID, s.UserID, s.OS, s.Transport)
		}
		if got != want {
			return fmt.Errorf("it is %q, want %q", got, want)
		}
		return nil
	})
}

// TestDataQueryKnowsOtherEdges: whichever edge is asked, pushes, arrivals and
// sessions are those of the whole house.
func TestDataQueryKnowsOtherEdges(t *testing.T) {
	a := newHouse(t, nil)
	b := a.beside("b")
	a.task.push(text("A", "u1", "hello"))
	a.wantTarget(schemas.TargetUser, "u1", "false 0/1")
	s := b.dial("deviceId=d1 userId=u1 biz=A os=iOS")
	s.next()
	a.wantTarget(schemas.TargetUser, "u1", "true 0/1 b:d1/u1/iOS/sse")
	a.wantTarget(schemas.TargetDevice, "d1", "true 0/0 b:d1/u1/iOS/sse")
	b.wantTarget(schemas.TargetUser, "u1", "true 0/1 b:d1/u1/iOS/sse")
	b.ack("d1", "u1", "A", 1)
	a.wantTarget(schemas.TargetUser, "u1", "true 1/1 b:d1/u1/iOS/sse")
	s2 := a.dial("deviceId=d2 userId=u1 biz=A")
	a.wantTarget(schemas.TargetUser, "u1", "true 1/1 edge:d2/u1//sse b:d1/u1/iOS/sse")
	s2.close()
	s.close()
	a.wantTarget(schemas.TargetUser, "u1", "false 1/1")
	b.wantTarget(schemas.TargetUser, "u1", "false 1/1")
	// Who starts later knows it as well.
	b.dial("deviceId=d1 userId=u1 biz=A os=iOS")
	a.restart()
	a.wantTarget(schemas.TargetUser, "u1", "true 1/1 b:d1/u1/iOS/sse")
	b.close() // an edge that stops takes its leases back
	a.wantTarget(schemas.TargetUser, "u1", "false 1/1")
}

// TestDeadEdgeTakesItsSessionsAlong: what an edge said counts until its lease
// ends.
func TestDeadEdgeTakesItsSessionsAlong(t *testing.T) {
	var later atomic.Int64
	h := newHouse(t, func(c *Config) { c.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) } })
	now := time.Now().UnixMilli()
	say := func(p *schemas.Presence) {
		p.EdgeID, p.Epoch, p.Time = "dead", now, now
		if err := h.task.client.ProduceSync(context.Background(), &kgo.Record{
			Topic: h.topo.Presence.Name, Partition: h.topo.Of("u1"), Key: p.RecordKey(), Value: p.Append(nil),
		}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	say(&schemas.Presence{LeaseMillis: time.Hour.Milliseconds()})
	say(&schemas.Presence{Session: "s", InstanceID: instance, Dimension: schemas.TargetUser, Target: "u1", DeviceID: "d1", UserID: "u1", Transport: transportWS})
	h.wantTarget(schemas.TargetUser, "u1", "true 0/0 dead:d1/u1//websocket")
	later.Store(int64(59 * time.Minute))
	h.wantTarget(schemas.TargetUser, "u1", "true 0/0 dead:d1/u1//websocket")
	later.Store(int64(61 * time.Minute))
	h.wantTarget(schemas.TargetUser, "u1", "false 0/0")
}

// BenchmarkTarget is the data query with 200,000 targets in the views, each
// online at another edge.
func BenchmarkTarget(b *testing.B) {
	const targets = 200_000
	h := bare(b)
	h.start()
	now := time.Now()
	h.server.elsewhere.roster.Apply(&schemas.Presence{EdgeID: "b", Epoch: 1, LeaseMillis: time.Hour.Milliseconds()}, now)
	name := func(i int) string { return fmt.Sprint("user", i*7919%targets) }
	for first := 0; first < targets; first += 5000 {
		var entries []schemas.Entry
		for i := first; i < first+5000; i++ {
			h.server.elsewhere.roster.Apply(&schemas.Presence{EdgeID: "b", Epoch: 1, Session: fmt.Sprint(i), InstanceID: instance, Dimension: schemas.TargetUser, Target: name(i)}, now)
			entries = append(entries, text("A", name(i), "hello"))
		}
		h.task.push(entries...)
	}
	eventually(b, "views have all", func() error {
		for _, p := range h.server.Partitions() {
			if p.Lag > 0 || p.Offset == 0 {
				return fmt.Errorf("partition %d lags by %d", p.Partition, p.Lag)
			}
		}
		return h.server.applied("A", name(targets-1), 1)
	})
	b.ResetTimer()
	for i := range b.N {
		st, err := h.server.Target(instance, schemas.TargetUser, name(i))
		if err == nil {
			_, err = h.server.Pushes(instance, name(i), 100)
		}
		if err != nil || !st.Connected || st.Pushes != 1 {
			b.Fatalf("%+v, %v", st, err)
		}
	}
}
