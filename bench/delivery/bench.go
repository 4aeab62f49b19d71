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
	"github.com/tidemarkio/tidemark/bench/report"
)

// Brokers that are measured.
const (
	onKafka    = "kafka"
	onEmbedded = "embedded"
)

// catchUpLimit is how long after a phase its pushes may take; what is not there
// by then is lost and fails the benchmark.
const catchUpLimit = 30 * time.Second

// say tells the person at the terminal what was found.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// benchmark does all of it and writes the report.
func benchmark(ctx context.Context, o *options) (err error) {
	if err := o.settle(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.limit)
	defer cancel()
	dir, err := os.MkdirTemp("", "tidemark-delivery-")
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
	r := &Results{
		Began: time.Now(), Machine: report.ThisMachine(ctx), Kafka: broker.Version, Commit: report.Commit(ctx),
		Clients: o.clients, WarmUp: o.warmUp, Quick: o.quick,
	}
	if o.only != onEmbedded {
		if err := measureKafka(ctx, o, dir, r); err != nil {
			return err
		}
	}
	if o.only != onKafka {
		if err := measure(ctx, o, filepath.Join(dir, onEmbedded), onEmbedded, nil, noBroker, r); err != nil {
			return err
		}
	}
	if o.idle > 0 {
		if r.Idle, err = weighIdle(ctx, o, dir); err != nil {
			return err
		}
		say("idle: %s KiB for each of %d streams", report.Number(r.Idle.PerStream()/1024), r.Idle.Streams)
	}
	r.Took = time.Since(r.Began)
	return r.save(o.out)
}

func noBroker() (child.Usage, error) { return child.Usage{}, nil }

func measureKafka(ctx context.Context, o *options, dir string, r *Results) (err error) {
	b, err := broker.Start(ctx, broker.Config{HeapMiB: o.heapMiB})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Stop()) }()
	return measure(ctx, o, filepath.Join(dir, onKafka), onKafka, b.Addrs(), b.Usage, r)
}

// measure goes through all phases on one broker.
func measure(ctx context.Context, o *options, dir, name string, brokers []string, usage func() (child.Usage, error), r *Results) (err error) {
	n, err := startNode(ctx, o.tidemark, dir, brokers)
	if err != nil {
		return err
	}
	defer func() {
		stop := n.stop()
		if err == nil {
			err = stop
		} else {
			err = n.child.Explain(err)
		}
	}()
	phases := o.phases()
	heard, err := listen(ctx, n.url, o.clients, phases)
	if err != nil {
		return err
	}
	defer heard.stop()
	l, err := newLoad(n, o.clients)
	if err != nil {
		return err
	}
	defer l.close()
	for i, p := range phases {
		run, err := play(ctx, n, usage, l, heard, p)
		if err != nil {
			return fmt.Errorf("%s, %s door at %d/s: %w", name, p.door, p.rate, err)
		}
		run.Broker = name
		say("%s, %s door at %d/s%s: push p50 %s ms, p99 %s ms; others used %.0f %%", name, p.door, p.rate, map[bool]string{true: ", warm-up"}[i < warmUps],
			report.Milliseconds(p.pushes.At(50)), report.Milliseconds(p.pushes.At(99)), 100*run.Foreign)
		if i >= warmUps {
			r.Runs = append(r.Runs, run)
		}
	}
	return nil
}

// warmUps are the first phases, one for each door, that do not count.
const warmUps = 2

func (o *options) phases() []*phase {
	var all []*phase
	add := func(rate int, d time.Duration) {
		for _, door := range []string{kafkaDoor, httpDoor} {
			all = append(all, newPhase(len(all), door, rate, d))
		}
	}
	add(o.rates[len(o.rates)-1], o.warmUp)
	for _, rate := range o.rates {
		add(rate, o.duration)
	}
	return all
}

// play offers one phase and waits for its pushes.
func play(ctx context.Context, n *node, broker func() (child.Usage, error), l *load, heard *audience, p *phase) (Run, error) {
	before, err := look(n, broker)
	if err != nil {
		return Run{}, err
	}
	p.begin(time.Now().Add(10 * time.Millisecond))
	late, err := l.offer(ctx, p)
	if err != nil {
		return Run{}, err
	}
	limit := time.NewTimer(catchUpLimit)
	defer limit.Stop()
	select {
	case <-p.complete:
	case err := <-heard.failed:
		return Run{}, err
	case <-n.child.Done():
		return Run{}, errors.New("tidemark ended under load")
	case <-ctx.Done():
		return Run{}, ctx.Err()
	case <-limit.C:
		return Run{}, fmt.Errorf("%d of %d pushes have not arrived after %s", p.missing(), p.count, catchUpLimit)
	}
	after, err := look(n, broker)
	if err != nil {
		return Run{}, err
	}
	run := Run{
		Door: p.door, Rate: p.rate, Pushes: p.pushes, SentLate: late, Duration: after.at.Sub(before.at),
		CPU: after.node.CPU - before.node.CPU, BrokerCPU: after.broker - before.broker, SelfCPU: after.self - before.self,
		RSS: after.node.RSS, RSSPeak: after.node.RSSPeak,
	}
	if p.door == httpDoor {
		run.Answers = p.answers
	}
	others := (after.busy - before.busy) - run.CPU - run.BrokerCPU - run.SelfCPU
	run.Foreign = max(0, float64(others)/(float64(run.Duration)*float64(runtime.NumCPU())))
	return run, nil
}

// usages at one moment.
type usages struct {
	at                 time.Time
	node               child.Usage
	broker, self, busy time.Duration
}

func look(n *node, broker func() (child.Usage, error)) (usages, error) {
	node, err1 := n.child.Usage()
	kafka, err2 := broker()
	self, err3 := child.Of(os.Getpid())
	busy, err4 := child.Busy()
	return usages{time.Now(), node, kafka.CPU, self.CPU, busy}, errors.Join(err1, err2, err3, err4)
}
