package main

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/cmd/internal/e2e"
	"github.com/tidemarkio/tidemark/schemas"
)

// killRounds on the embedded broker.
const killRounds = 50

// killAtRandom kills the process at some moment of its life, start included,
// and starts it again.
func killAtRandom(ctx context.Context, t *testing.T, n *e2e.Node, random *rand.Rand) {
	t.Helper()
	pause(ctx, time.Duration(random.IntN(600))*time.Millisecond)
	must(t, n.Kill())
	if random.IntN(4) == 0 {
		must(t, n.Launch())
		pause(ctx, time.Duration(random.IntN(800))*time.Millisecond)
		must(t, n.Kill())
	}
	start(ctx, t, n)
}

// TM-5, I1 to I3 and I6: kill -9 at random moments under load.
func TestTM5KilledAtAnyInstant(t *testing.T) {
	ctx, random := within(t), seeded(t)
	n := startDev(ctx, t, nil)
	devices := listen(ctx, n, user(0), user(1))
	l := startLoad(ctx, t, n, "kill")
	for range killRounds {
		killAtRandom(ctx, t, n, random)
	}
	devices.finish(ctx, t, n, l.stop(t))
	for _, d := range devices.devices {
		if d.Connects < 2 {
			t.Errorf("device of %s was never cut off", d.User)
		}
	}
	restartReplaysOnlyTheTail(ctx, t, n)
	must(t, n.Stop())
}

// behindLastEntry is where a store stands that has all of a log: behind its
// last entry. Markers behind that are read again.
func behindLastEntry(t *testing.T, log []e2e.Record) int {
	t.Helper()
	for i := len(log) - 1; i >= 0; i-- {
		var e schemas.Entry
		must(t, e.Decode(log[i].Value))
		if e.OplogID != 0 {
			return i + 1
		}
	}
	return 0
}

// restartReplaysOnlyTheTail ends the process in order, which makes its stores
// durable, and kills the next one after a little load: what stood in the oplog
// before that load is in the stores, and is not read again.
func restartReplaysOnlyTheTail(ctx context.Context, t *testing.T, n *e2e.Node) {
	t.Helper()
	must(t, n.Stop())
	start(ctx, t, n)
	before, _ := settled(ctx, t, n.Brokers(), prefix, nil)
	door := e2e.Door{URL: n.URL()}
	for i := range 40 {
		r := request("tail", i)
		_, err := door.Push(ctx, &r)
		must(t, err)
	}
	full := int64(0)
	must(t, n.Kill())
	start(ctx, t, n)
	after, _ := settled(ctx, t, n.Brokers(), prefix, nil)
	replayed, err := n.Replayed()
	must(t, err)
	if len(replayed) != len(after.Oplog) {
		t.Errorf("%d of %d partitions said what they replayed", len(replayed), len(after.Oplog))
	}
	for p, log := range after.Oplog {
		full += int64(len(log))
		if tail := int64(len(log) - behindLastEntry(t, before.Oplog[p])); replayed[int32(p)] > tail {
			t.Errorf("partition %d replayed %d records, its tail has %d of %d", p, replayed[int32(p)], tail, len(log))
		}
	}
	t.Logf("restart: replayed %v of %d records in all", replayed, full)
}
