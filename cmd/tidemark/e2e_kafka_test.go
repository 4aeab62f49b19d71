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

// zombieSession is the session time-out of the processors in zombie rounds:
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
	n := startDev(ctx, t, b.Addrs())
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

// ready counts the tasks that a processor has said to own since its start.
func ready(t *testing.T, p *e2e.Node) int {
	t.Helper()
	lines, err := p.Log("task ready")
	must(t, err)
	return len(lines)
}

// takenOver waits until the processor has taken a task more than it had.
func takenOver(ctx context.Context, t *testing.T, had int, p *e2e.Node) {
	t.Helper()
	for ready(t, p) <= had {
		if ctx.Err() != nil {
			t.Fatal(p.Explain(ctx.Err()))
		}
		pause(ctx, 50*time.Millisecond)
	}
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
	takenOver(ctx, t, 0, one)
	takenOver(ctx, t, 0, two)
	for round := range zombieRounds {
		zombie, heir := one, two
		if round%2 == 1 {
			zombie, heir = two, one
		}
		had := ready(t, heir)
		must(t, zombie.Pause())
		takenOver(ctx, t, had, heir)
		pause(ctx, 300*time.Millisecond) // the heir writes what the zombie will
		had = ready(t, zombie)
		must(t, zombie.Resume())
		takenOver(ctx, t, had, zombie) // it is given tasks again
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
