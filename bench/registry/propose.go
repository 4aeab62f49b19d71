package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/tidemarkio/tidemark/bench/report"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// proposer takes changes.
type proposer struct {
	name    string
	propose func(context.Context) error
}

// propose measures the quorum and its ceiling in turns.
func (b *bench) propose(ctx context.Context) (err error) {
	l, err := openLocal(ctx, filepath.Join(b.dir, "propose"))
	if err != nil {
		return err
	}
	defer func() { err = closing(err, l.close) }()
	c, err := openCeiling(ctx, filepath.Join(b.dir, "ceiling"))
	if err != nil {
		return err
	}
	defer func() { err = closing(err, c.close) }()
	leader, follower := l.roles()
	command := func() registry.Command {
		return registry.Command{Actor: "bench", Ops: []registry.Op{registry.Login{Name: "bench", Method: "password"}}}
	}
	example := command()
	example.ID, example.Time = "0123456789abcdef01234567", time.Now().UnixMilli()
	entry, err := example.Append(nil)
	if err != nil {
		return err
	}
	all := []proposer{
		{"hashicorp/raft alone (the ceiling)", func(context.Context) error { return c.apply(entry) }},
		{"registry, at the leader", func(ctx context.Context) error { _, err := leader.Propose(ctx, command()); return err }},
		{"registry, through a follower", func(ctx context.Context) error { _, err := follower.Propose(ctx, command()); return err }},
	}
	return b.metered(partPropose, nobody, func() error {
		for _, callers := range []int{1, b.callers} {
			step := b.prog.Step(fmt.Sprintf("proposals, %d at once", callers), int64(len(all)))
			if callers == 1 {
				floor, err := syncs(filepath.Join(b.dir, "floor"), len(entry), b.duration/2)
				if err != nil {
					return err
				}
				b.r.Proposals = append(b.r.Proposals, floor)
			}
			for _, p := range all {
				run, err := p.run(ctx, callers, b.duration)
				if err != nil {
					return fmt.Errorf("%s: %w", p.name, err)
				}
				b.r.Proposals = append(b.r.Proposals, run)
				step.Add(1)
			}
			last := b.r.Proposals[len(b.r.Proposals)-1]
			step.End("%s: %s/s", last.Name, report.Number(last.PerSecond()))
		}
		return nil
	})
}

// run has callers propose one change after the other for a while.
func (p *proposer) run(ctx context.Context, callers int, d time.Duration) (Proposal, error) {
	run := Proposal{Name: p.name, Callers: callers, Latency: report.NewLatency()}
	for range 10 { // connections
		if err := p.propose(ctx); err != nil {
			return run, err
		}
	}
	began := time.Now()
	var err error
	run.CPU, err = cpuOf(func() error {
		var mu sync.Mutex
		var first error
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for at := time.Now(); at.Sub(began) < d; {
					if err := p.propose(ctx); err != nil {
						mu.Lock()
						first = err
						mu.Unlock()
						return
					}
					now := time.Now()
					run.Latency.Record(now.Sub(at))
					at = now
				}
			})
		}
		wg.Wait()
		return first
	})
	run.Took = time.Since(began)
	return run, err
}

// syncs is what the disk takes to have a few bytes more of a file.
func syncs(path string, size int, d time.Duration) (Proposal, error) {
	run := Proposal{Name: "append and fsync, one file", Callers: 1, Latency: report.NewLatency()}
	f, err := os.Create(path)
	if err != nil {
		return run, err
	}
	defer f.Close()
	began := time.Now()
	run.CPU, err = cpuOf(func() error {
		for at := began; at.Sub(began) < d; {
			if err := appendSynced(f, make([]byte, size)); err != nil {
				return err
			}
			now := time.Now()
			run.Latency.Record(now.Sub(at))
			at = now
		}
		return nil
	})
	run.Took = time.Since(began)
	return run, err
}

func appendSynced(f *os.File, b []byte) error {
	if _, err := f.Write(b); err != nil {
		return err
	}
	return f.Sync()
}
