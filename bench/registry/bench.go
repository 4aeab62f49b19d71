package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/tidemarkio/tidemark/bench/broker"
	"github.com/tidemarkio/tidemark/bench/child"
	"github.com/tidemarkio/tidemark/bench/progress"
	"github.com/tidemarkio/tidemark/bench/report"
)

// bench is one run of the benchmark.
type bench struct {
	*options
	dir  string
	prog *progress.Progress
	r    *Results
}

// benchmark does all of it and writes the report.
func benchmark(ctx context.Context, o *options) (err error) {
	if err := o.settle(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.limit)
	defer cancel()
	dir, err := os.MkdirTemp("", "tidemark-registry-")
	if err != nil {
		return err
	}
	defer func() {
		if err == nil {
			err = os.RemoveAll(dir)
		} else {
			err = fmt.Errorf("%w\nlogs are kept in %s", err, dir)
		}
	}()
	b := &bench{options: o, dir: dir, prog: progress.New(os.Stderr, o.steps()), r: &Results{
		Began: time.Now(), Machine: report.ThisMachine(ctx), Kafka: broker.Version, Commit: report.Commit(ctx), Quick: o.quick,
	}}
	if err := b.everything(ctx); err != nil {
		return err
	}
	b.r.Took = time.Since(b.r.Began)
	if err := b.r.save(o.out); err != nil {
		return err
	}
	b.prog.Say("report: %s", filepath.Join(o.out, reportFile))
	return nil
}

// steps counts those of the progress.
func (o *options) steps() (n int) {
	for _, p := range o.only {
		n += map[string]int{partForce: 1, partTakeover: 1, partLoad: 3, partWatch: 1, partPages: 2, partPropose: 2}[p]
	}
	return n
}

func (b *bench) everything(ctx context.Context) error {
	var s seeds
	if b.asks(partLoad) {
		var err error
		if s, err = newSeeds(ctx, filepath.Join(b.dir, "seeds"), b.configs, b.records); err != nil {
			return err
		}
		defer s.close() //nolint:errcheck // closed before unless something failed
	}
	if b.asks(partForce, partTakeover, partWatch, partLoad) {
		if err := b.onKafka(ctx, s); err != nil {
			return err
		}
	}
	for _, p := range []struct {
		name    string
		measure func(context.Context) error
	}{{partPages, b.pages}, {partPropose, b.propose}} {
		if b.asks(p.name) {
			if err := p.measure(ctx); err != nil {
				return fmt.Errorf("part %s: %w", p.name, err)
			}
		}
	}
	return nil
}

// onKafka runs the parts that need a Kafka.
func (b *bench) onKafka(ctx context.Context, s seeds) (err error) {
	kafka, err := broker.Start(ctx, broker.Config{HeapMiB: b.heapMiB})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kafka.Stop()) }()
	c, err := startCluster(ctx, b.tidemark, filepath.Join(b.dir, "cluster"), kafka)
	if err != nil {
		return err
	}
	defer func() {
		stop := c.stop()
		if err == nil {
			err = stop
		}
	}()
	for _, p := range []struct {
		name    string
		measure func(context.Context, *cluster) error
	}{{partForce, b.force}, {partTakeover, b.takeover}, {partWatch, b.watch}, {partLoad, b.apply}} {
		if b.asks(p.name) {
			if err := p.measure(ctx, c); err != nil {
				return fmt.Errorf("part %s: %w", p.name, err)
			}
		}
	}
	if !b.asks(partLoad) {
		return nil
	}
	if err := c.stop(); err != nil {
		return err
	}
	return b.load(ctx, s, kafka.Addrs())
}

// meter measures what a part costs.
type meter struct {
	part                        string
	began                       time.Time
	busy, self, kafka, tidemark time.Duration
	used                        func() (kafka, tidemark time.Duration, err error)
}

// nobody is the meter's source where there are no other processes.
func nobody() (kafka, tidemark time.Duration, err error) { return 0, 0, nil }

func newMeter(part string, used func() (kafka, tidemark time.Duration, err error)) (*meter, error) {
	m := &meter{part: part, used: used}
	var err error
	m.began, m.busy, m.self, m.kafka, m.tidemark, err = m.look()
	return m, err
}

func (m *meter) look() (at time.Time, busy, self, kafka, tidemark time.Duration, err error) {
	busy, err1 := child.Busy()
	u, err2 := child.Of(os.Getpid())
	kafka, tidemark, err3 := m.used()
	return time.Now(), busy, u.CPU, kafka, tidemark, errors.Join(err1, err2, err3)
}

// cost since the meter began.
func (m *meter) cost() (Cost, error) {
	at, busy, self, kafka, tidemark, err := m.look()
	c := Cost{Part: m.part, Took: at.Sub(m.began), Self: self - m.self, Kafka: kafka - m.kafka, Tidemark: tidemark - m.tidemark}
	others := busy - m.busy - c.Self - c.Kafka - c.Tidemark
	c.Foreign = max(0, float64(others)/(float64(c.Took)*float64(runtime.NumCPU())))
	return c, err
}

// metered runs a part and keeps what it cost.
func (b *bench) metered(part string, used func() (kafka, tidemark time.Duration, err error), f func() error) error {
	m, err := newMeter(part, used)
	if err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	c, err := m.cost()
	b.r.Costs = append(b.r.Costs, c)
	return err
}
