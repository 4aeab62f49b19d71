package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/bench/child"
	"github.com/tidemarkio/tidemark/bench/progress"
	"github.com/tidemarkio/tidemark/schemas"
)

// Polls and graces of a run.
const (
	watchPoll  = 10 * time.Millisecond // so fast can start and end be seen
	stopGrace  = 20 * time.Second
	checkLimit = 2 * time.Minute
)

// Run is one measured run of one program, drained from a full topic.
type Run struct {
	Scenario   string        `json:"scenario"`
	Round      int           `json:"round"`
	Requests   int64         `json:"requests"`
	StartUp    time.Duration `json:"startUpNanos"`    // exec to first output
	StartUpCPU time.Duration `json:"startUpCPUNanos"` // of the program
	Drain      time.Duration `json:"drainNanos"`      // first output to all committed
	CPU        time.Duration `json:"cpuNanos"`        // of the program while draining
	BrokerCPU  time.Duration `json:"brokerCPUNanos"`  // of the broker while draining
	RSSPeak    int64         `json:"rssPeakBytes"`
	Foreign    float64       `json:"foreign"` // share of all cores that others used
	Tries      int           `json:"tries"`   // how often it was run for this
	LoadBefore string        `json:"loadBefore"`
	LoadAfter  string        `json:"loadAfter"`
	Check      string        `json:"check"`
}

// PerSecond is the rate of requests.
func (r Run) PerSecond() float64 { return float64(r.Requests) / r.Drain.Seconds() }

// CPUPerMillion is CPU seconds for a million requests.
func (r Run) CPUPerMillion() float64 { return r.CPU.Seconds() / float64(r.Requests) * 1e6 }

// BrokerCPUPerMillion is the broker's CPU seconds for a million requests.
func (r Run) BrokerCPUPerMillion() float64 { return r.BrokerCPU.Seconds() / float64(r.Requests) * 1e6 }

// measurer runs programs.
type measurer struct {
	k      *kafka
	env    *Env
	dir    string
	broker func() (child.Usage, error)
	prog   *progress.Progress
	limit  time.Duration // of one run
	quiet  quietness
}

// throughput measures one program once: a run in noise is repeated, and the
// quietest is kept.
func (m *measurer) throughput(ctx context.Context, s Scenario, round int, prefix string) (Run, error) {
	var best Run
	for try := 1; try <= m.quiet.tries; try++ {
		m.quiet.wait(ctx, m.prog, m.known)
		id := fmt.Sprintf("bench.%s.%d.%d", s.Name(), round, try)
		run, err := m.drain(ctx, s, Job{ID: id, Prefix: prefix, Dir: filepath.Join(m.dir, id)})
		if err != nil {
			return Run{}, fmt.Errorf("%s, round %d: %w", s.Name(), round, err)
		}
		if try == 1 || run.Foreign < best.Foreign {
			best = run
		}
		best.Round, best.Tries = round, try
		if best.Foreign <= m.quiet.share {
			break
		}
	}
	return best, nil
}

// known is the CPU of all processes that take part, apart from a program.
func (m *measurer) known() (time.Duration, error) {
	broker, err := m.broker()
	if err != nil {
		return 0, err
	}
	self, err := child.Of(os.Getpid())
	return broker.CPU + self.CPU, err
}

// drain runs a program until everything is committed, and checks what it did.
func (m *measurer) drain(ctx context.Context, s Scenario, job Job) (Run, error) {
	ctx, cancel := context.WithTimeout(ctx, m.limit)
	defer cancel()
	plan, err := m.prepare(ctx, s, job)
	if err != nil {
		return Run{}, err
	}
	ends, err := m.k.ends(ctx, job.Requests())
	if err != nil {
		return Run{}, err
	}
	step := m.prog.Step(s.Name(), sum(ends))
	run := Run{Scenario: s.Name(), Requests: int64(m.env.Work.Requests), LoadBefore: loadAverage()}
	noise, err := m.listen()
	if err != nil {
		return Run{}, err
	}
	program, err := child.Start(plan.Program)
	if err != nil {
		return Run{}, err
	}
	err = m.watch(ctx, program, plan, job, ends, step, &run)
	run.Foreign = noise.share(program)
	run.LoadAfter = loadAverage()
	if stop := program.Stop(stopGrace); err == nil {
		err = stop
	}
	if err != nil {
		return Run{}, program.Explain(err)
	}
	step.End("%.0f requests/s, %.2f CPU-s per million, %d MiB, others used %.0f %%", run.PerSecond(), run.CPUPerMillion(), run.RSSPeak>>20, 100*run.Foreign)
	if run.Check, err = m.check(ctx, plan); err != nil {
		return Run{}, err
	}
	return run, m.clean(ctx, plan, job)
}

// prepare makes the job's directory and topics.
func (m *measurer) prepare(ctx context.Context, s Scenario, job Job) (Plan, error) {
	plan, err := s.Plan(m.env, job)
	if err != nil {
		return plan, err
	}
	if err := os.MkdirAll(job.Dir, 0o755); err != nil {
		return plan, err
	}
	plan.Program.LogFile = filepath.Join(m.dir, job.ID+".log")
	return plan, m.k.createTopics(ctx, m.env.Work.Partitions, plan.Topics...)
}

// watch fills in the times and costs of a run.
func (m *measurer) watch(ctx context.Context, program *child.Child, plan Plan, job Job, ends map[int32]int64, step *progress.Step, run *Run) error {
	err := m.until(ctx, program, "first output", func() (bool, error) {
		out, err := m.k.ends(ctx, plan.Output)
		return sum(out) > 0, err
	})
	if err != nil {
		return err
	}
	began := time.Now()
	own1, broker1, err := m.usage(program)
	if err != nil {
		return err
	}
	err = m.until(ctx, program, "all requests committed", func() (bool, error) {
		at, err := m.k.committed(ctx, plan.Group, job.Requests())
		step.Set(sum(at))
		return sum(at) >= sum(ends), err
	})
	if err != nil {
		return err
	}
	run.Drain = time.Since(began)
	own2, broker2, err := m.usage(program)
	run.StartUp, run.StartUpCPU = began.Sub(program.Began()), own1.CPU
	run.CPU, run.BrokerCPU, run.RSSPeak = own2.CPU-own1.CPU, broker2.CPU-broker1.CPU, own2.RSSPeak
	return err
}

func (m *measurer) usage(program *child.Child) (own, broker child.Usage, err error) {
	own, err1 := program.Usage()
	broker, err2 := m.broker()
	return own, broker, errors.Join(err1, err2)
}

// until polls a condition as long as the program lives and there is time.
// Errors that the broker calls passing are waited out.
func (m *measurer) until(ctx context.Context, program *child.Child, what string, met func() (bool, error)) error {
	for {
		ok, err := met()
		if err != nil && !kerr.IsRetriable(err) && ctx.Err() == nil {
			return err
		}
		if err == nil && ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		case <-program.Done():
			return fmt.Errorf("the program ended before: %s", what)
		case <-time.After(watchPoll):
		}
	}
}

// check reads back all outputs.
func (m *measurer) check(ctx context.Context, plan Plan) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	var found string
	for topic, c := range plan.Checks {
		err := m.k.readAll(ctx, topic, func(r *kgo.Record) error {
			if isControl(r) {
				return nil
			}
			return c.record(r.Partition, r.Value)
		})
		if err != nil {
			return "", fmt.Errorf("check of the output: %w", err)
		}
		line, err := c.finish()
		if err != nil {
			return "", fmt.Errorf("check of the output %s: %w", topic, err)
		}
		if topic == plan.Output {
			found = line
		}
	}
	return found, nil
}

// isControl finds the copies that pipes make of control records.
func isControl(r *kgo.Record) bool {
	for _, h := range r.Headers {
		if h.Key == schemas.HeaderControl {
			return true
		}
	}
	return false
}

// clean removes what a job left behind. A group that is named after the job
// comes to nobody's way: Kafka Streams does not leave its group when it ends,
// and waiting for its session to end takes longer than most runs.
func (m *measurer) clean(ctx context.Context, plan Plan, job Job) error {
	group := plan.Group
	if group == job.ID {
		group = ""
	}
	if err := m.k.forget(ctx, group, append(plan.Topics, plan.Others...)...); err != nil {
		return err
	}
	return os.RemoveAll(job.Dir)
}
