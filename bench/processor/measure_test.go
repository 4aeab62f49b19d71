package main

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/tidemarkio/tidemark/bench/child"
	"github.com/tidemarkio/tidemark/bench/progress"
	"github.com/tidemarkio/tidemark/schemas"
)

// withFake gives a measurer whose broker is the fake one, in this process.
func withFake(t *testing.T, w *workload) *measurer {
	t.Helper()
	fake, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	k, err := connect(fake.ListenAddrs())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.close)
	return &measurer{
		k: k, dir: t.TempDir(), prog: progress.New(io.Discard, 1), limit: time.Minute, quiet: quietness{share: 1, tries: 1},
		env:    &Env{Brokers: fake.ListenAddrs(), Work: w, Want: w.expect(), Key: schemas.ClusterKey{1}, Self: os.Args[0]},
		broker: func() (child.Usage, error) { return child.Usage{}, nil },
	}
}

func (m *measurer) fill(ctx context.Context, t *testing.T, prefix string) {
	t.Helper()
	if err := m.k.createTopics(ctx, m.env.Work.Partitions, prefix+"requests"); err != nil {
		t.Fatal(err)
	}
	if err := publishSettings(ctx, m.k, prefix+"requests", m.env.Work, m.env.Key, time.Unix(1e9, 0)); err != nil {
		t.Fatal(err)
	}
	if err := publishLoad(ctx, m.k, prefix+"requests", m.env.Work, m.prog.Step("", 0)); err != nil {
		t.Fatal(err)
	}
}

// Both pipes, as processes of their own, copy every request once and in order,
// and the measurer sees it.
func TestPipesAreMeasuredAndChecked(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m := withFake(t, small())
	m.fill(ctx, t, "t.")
	for _, s := range scenarios()[:2] {
		run, err := m.throughput(ctx, s, 1, "t.")
		if err != nil {
			t.Fatal(err)
		}
		if run.Requests != 5000 || run.Drain <= 0 || run.StartUp <= 0 || run.RSSPeak == 0 || !strings.HasPrefix(run.Check, "5000 copies") {
			t.Errorf("%s: %+v", s.Name(), run)
		}
	}
	left, err := m.k.admin.ListTopics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if names := left.Names(); len(names) != 1 {
		t.Errorf("topics left behind: %v", names)
	}
}

func TestLatencyIsMeasuredForEveryRequest(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m := withFake(t, small())
	m.env.Want = nil
	lp := latencyPlan{rates: []int{100, 200}, duration: time.Second, warmUp: time.Second}
	runs, err := m.latency(ctx, scenarios()[0], 1, lp)
	if err != nil {
		t.Fatal(err)
	}
	if len(runs) != 2 {
		t.Fatalf("%d runs", len(runs))
	}
	for i, r := range runs {
		if r.Rate != lp.rates[i] || r.Latency.Count() != int64(r.Rate) || r.Latency.At(50) <= 0 {
			t.Errorf("%+v: %+v", r, r.Latency.Percentiles())
		}
	}
}

// A program that ends early, and one that writes what is not right, fail the
// benchmark with a reason.
func TestBadProgramsFailTheBenchmark(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m := withFake(t, small())
	m.fill(ctx, t, "t.")
	m.env.Tidemark, m.env.TidemarkGroup = "sh -c exit", "g"
	_, err := m.throughput(ctx, tidemarkScenario{}, 1, "t.")
	if err == nil || !strings.Contains(err.Error(), "the program ended before: first output") {
		t.Errorf("a program that ends: %v", err)
	}
	other := small()
	other.Seed++
	m.env.Want = other.expect()
	_, err = m.throughput(ctx, scenarios()[0], 2, "t.")
	if err == nil || !strings.Contains(err.Error(), "check of the output") {
		t.Errorf("a wrong output: %v", err)
	}
}

// Settings reach each partition signed and readable.
func TestSettingsArePublished(t *testing.T) {
	w := small()
	c := schemas.Control{Partition: 3, Time: 5, Revision: 1, Changes: w.settings()}
	key := schemas.ClusterKey{1, 2}
	var back schemas.Control
	if err := back.Decode(c.Append(nil, key), key); err != nil {
		t.Fatal(err)
	}
	if len(back.Changes) != 1+w.Businesses || back.Changes[4].Sync.BizType != "BIZ_D" || !back.Changes[4].Sync.Online {
		t.Errorf("%+v", back.Changes)
	}
}
