//go:build kafka

package main

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/bench/broker"
	"github.com/tidemarkio/tidemark/cmd/internal/e2e"
)

// kafkaRounds kill the process and the broker by turns, zombieRounds pause an
// owner past its session time-out.
const kafkaRounds, zombieRounds = 20, 10

// zombieSession is the session time-out that is waited for after each kill:
// the least that a broker allows by default.
const zombieSession = 6 * time.Second

func startBroker(ctx context.Context, t *testing.T) *broker.Broker {
	t.Helper()
	b, err := broker.Start(ctx, broker.Config{})
	must(t, err)
	t.Cleanup(func() {
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// TM-5 on a real broker, which dies as often as we do.
func TestTM5OnKafkaKilledByTurns(t *testing.T) {
	ctx, random := within(t), seeded(t)
	b := startBroker(ctx, t)
	n := startDev(ctx, t, b.Addrs(), "--session-timeout", zombieSession.String())
	devices := listen(ctx, n, user(0), user(1))
	l := startLoad(ctx, t, n, "turns")
	for round := range kafkaRounds {
		if round%2 == 0 {
			killAtRandom(ctx, t, n, random)
			continue
		}
		pause(ctx, time.Duration(random.IntN(600))*time.Millisecond)
		must(t, b.Kill())
		must(t, b.Restart(ctx))
		must(t, n.WaitReady(ctx))
	}
	devices.finish(ctx, t, n, l.stop(t))
	must(t, n.Stop())
}

// startProcessor runs a `tidemark processor` beside a dev that has the registry,
// the doors and the devices.
func startProcessor(ctx context.Context, t *testing.T, b *broker.Broker, key string, args ...string) *e2e.Node {
	t.Helper()
	p, err := e2e.NewNode(e2e.Config{Program: e2e.Self(), Role: "processor", Dir: t.TempDir(), Brokers: b.Addrs(),
		Args: append([]string{"--cluster-key-file", key, "--session-timeout", zombieSession.String()}, args...)})
	must(t, err)
	start(ctx, t, p)
	t.Cleanup(func() { _ = p.Kill() })
	return p
}

// owners gives, per partition, the process that has said last to own its task.
func owners(t *testing.T, nodes ...*e2e.Node) map[float64]*e2e.Node {
	t.Helper()
	latest, owner := make(map[float64]time.Time), make(map[float64]*e2e.Node)
	for _, n := range nodes {
		lines, err := n.Log("task ready")
		must(t, err)
		for _, l := range lines {
			p, _ := l["partition"].(float64)
			text, _ := l["time"].(string)
			at, err := time.Parse(time.RFC3339Nano, text)
			must(t, err)
			if at.After(latest[p]) {
				latest[p], owner[p] = at, n
			}
		}
	}
	return owner
}

// A zombie: an owner is stopped under load past its session time-out, another
// takes over, the first goes on. Both have written; readers see one log.
func TestZombieOwnersWriteTheSame(t *testing.T) {
	ctx := within(t)
	b := startBroker(ctx, t)
	n := startDev(ctx, t, b.Addrs(), "--session-timeout", zombieSession.String())
	key := filepath.Join(n.DataDir(), "cluster.key")
	one, two := startProcessor(ctx, t, b, key), startProcessor(ctx, t, b, key)
	l := startLoad(ctx, t, n, "zombie")
	for round := range zombieRounds {
		zombie := []*e2e.Node{one, two}[round%2]
		var owned []float64
		until(ctx, t, "a task is the zombie's", func() bool {
			for p, owner := range owners(t, n, one, two) {
				if owner == zombie {
					owned = append(owned, p)
				}
			}
			return len(owned) > 0
		})
		must(t, zombie.Pause())
		pause(ctx, zombieSession)
		until(ctx, t, "others have taken over", func() bool {
			now := owners(t, n, one, two)
			for _, p := range owned {
				if now[p] == zombie {
					return false
				}
			}
			return true
		})
		pause(ctx, 300*time.Millisecond) // the heirs write what the zombie will
		must(t, zombie.Resume())
	}
	asked := l.stop(t)
	settled(ctx, t, n.Brokers(), prefix, asked)
	var wg sync.WaitGroup
	for _, p := range []*e2e.Node{one, two, n} {
		wg.Go(func() {
			if err := p.Stop(); err != nil {
				t.Error(p.Explain(err))
			}
		})
	}
	wg.Wait()
}

// A broker that is away and comes back with the client connected.
func TestBrokerRestartsUnderAConnectedDevice(t *testing.T) {
	ctx := within(t)
	b := startBroker(ctx, t)
	n := startDev(ctx, t, b.Addrs())
	devices := listen(ctx, n, user(0))
	l := startLoad(ctx, t, n, "away")
	pause(ctx, 500*time.Millisecond)
	must(t, b.Kill())
	must(t, b.Restart(ctx))
	must(t, n.WaitReady(ctx))
	pause(ctx, 500*time.Millisecond)
	devices.finish(ctx, t, n, l.stop(t))
	must(t, n.Stop())
}
