package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tidemarkio/tidemark/bench/report"
)

// ways in which a change is made: through whom, and what it waits for.
const ways = 4

// wayOf spreads changes over the ways; each gets both directions in turns.
func wayOf(i int) (way int, online bool) { return i / 2 % ways, i%2 == 1 }

func newWays() []Way {
	var all []Way
	for _, wait := range []bool{true, false} {
		for _, via := range []string{"leader", "follower"} {
			name := "through the " + via + ", answered when published"
			if !wait {
				name = "through the " + via + ", answered when committed"
			}
			all = append(all, Way{Name: name, Wait: wait, Call: report.NewLatency(), After: report.NewLatency(), Total: report.NewLatency()})
		}
	}
	return all
}

// force times changes until they are in force on every partition.
func (b *bench) force(ctx context.Context, c *cluster) error {
	b.r.Partitions, b.r.Force = int(c.topo.Partitions), newWays()
	leader, followers, err := c.roles(ctx)
	if err != nil {
		return err
	}
	via := []*member{leader, followers[0]}
	step := b.prog.Step("changes until they are in force", int64(b.changes))
	change := func(w *Way, m *member, online bool) error {
		began := time.Now()
		if err := m.setOnline(ctx, online, w.Wait); err != nil {
			return err
		}
		answered := time.Now()
		last, asked, err := c.prober.settled(ctx, online)
		if err != nil {
			return err
		}
		w.Call.Record(answered.Sub(began))
		w.After.Record(last.Sub(answered))
		w.Total.Record(last.Sub(began))
		if asked == b.r.Partitions {
			w.AtOnce++
		}
		step.Add(1)
		return nil
	}
	for i, w := range newWays() { // connections and caches, uncounted
		for _, online := range []bool{false, true} {
			if err := change(&w, via[i%2], online); err != nil {
				return err
			}
		}
	}
	err = b.metered(partForce, c.used, func() error {
		for i := range b.changes {
			way, online := wayOf(i)
			if err := change(&b.r.Force[way], via[way%2], online); err != nil {
				return fmt.Errorf("change %d, %s: %w", i, b.r.Force[way].Name, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	all := b.r.after()
	step.End("p50 %s ms, p99 %s ms after the answer", report.Milliseconds(all.At(50)), report.Milliseconds(all.At(99)))
	return c.prober.restore(ctx, via[0])
}

// restore has the config online, however many changes there were.
func (p *prober) restore(ctx context.Context, m *member) error {
	if err := m.setOnline(ctx, true, true); err != nil {
		return err
	}
	_, _, err := p.settled(ctx, true)
	return err
}

// after is the time from answer to force over all ways.
func (r *Results) after() *report.Latency {
	all := report.NewLatency()
	for _, w := range r.Force {
		all.Merge(w.After)
	}
	return all
}

// takeover kills leaders.
func (b *bench) takeover(ctx context.Context, c *cluster) error {
	step := b.prog.Step("leaders killed", int64(b.kills))
	err := b.metered(partTakeover, c.used, func() error {
		for i := range b.kills {
			t, err := killLeader(ctx, c, i%2 == 1)
			if err != nil {
				return fmt.Errorf("kill %d: %w", i, err)
			}
			b.r.Takeovers = append(b.r.Takeovers, t)
			step.Add(1)
		}
		return nil
	})
	if err != nil {
		return err
	}
	write := report.Collect(b.r.Takeovers, Takeover.writeMillis)
	step.End("writes resume after %s ms", write)
	return c.prober.restore(ctx, c.members[0])
}

func (t Takeover) writeMillis() float64 { return float64(t.Write) / float64(time.Millisecond) }
func (t Takeover) forceMillis() float64 { return float64(t.Force) / float64(time.Millisecond) }

// killLeader measures one takeover and brings the killed node back.
func killLeader(ctx context.Context, c *cluster, online bool) (t Takeover, err error) {
	leader, others, err := c.roles(ctx)
	if err != nil {
		return t, err
	}
	began := time.Now()
	if err := leader.child.Kill(); err != nil {
		return t, err
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, m := range others {
		wg.Go(func() {
			e := m.setOnline(ctx, online, false)
			mu.Lock()
			defer mu.Unlock()
			t.Write, err = max(t.Write, time.Since(began)), errors.Join(err, e)
		})
	}
	wg.Wait()
	if err != nil {
		return t, err
	}
	last, _, err := c.prober.settled(ctx, online)
	if err != nil {
		return t, err
	}
	t.Force = last.Sub(began)
	if err := c.launch(leader); err != nil {
		return t, err
	}
	return t, leader.waitReady(ctx, leader.child)
}
