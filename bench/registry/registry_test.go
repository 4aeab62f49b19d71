package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/bench/report"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology"
	"github.com/tidemarkio/tidemark/topology/registry"
	"github.com/tidemarkio/tidemark/topology/registry/configfile"
)

// Changes are spread evenly over the ways, in both directions in turns, so
// that each of them changes something.
func TestChangesAreSpreadOverTheWays(t *testing.T) {
	online, made := true, map[int][2]int{}
	for i := range 4 * 2 * ways {
		way, to := wayOf(i)
		if to == online {
			t.Errorf("change %d changes nothing", i)
		}
		online = to
		n := made[way]
		n[map[bool]int{true: 1}[to]]++
		made[way] = n
	}
	for way := range newWays() {
		if made[way] != [2]int{4, 4} {
			t.Errorf("way %d: %v offline and online", way, made[way])
		}
	}
}

func TestTokensLandInTheirPartition(t *testing.T) {
	topo, err := topology.New(topology.Config{Partitions: 8})
	if err != nil {
		t.Fatal(err)
	}
	for p, token := range tokensOf(topo) {
		r := schemas.Request{InstanceID: probeInstance, BizType: probeBusiness, LinkToken: token}
		if got := topo.Of(r.Key()); got != int32(p) {
			t.Errorf("%q is for partition %d and goes to %d", token, p, got)
		}
	}
}

// What is loaded is as many configs as asked for, in commands and in a file.
func TestLoadsAreWhole(t *testing.T) {
	for _, n := range []int{1, registry.MaxCommandOps, registry.MaxCommandOps + 1} {
		m, _ := (&registry.Model{}).Apply(registry.Command{ID: "c", Ops: []registry.Op{registry.Create{ID: "x", ClusterKey: registry.Hash{1}, Pepper: registry.Hash{2}, Topology: []byte(`{}`)}}})
		commands := fill(n, 2*n+1)
		if len(commands) < seedEvery {
			t.Errorf("%d commands make no snapshot", len(commands))
		}
		for i, c := range commands {
			c.ID, c.Time = strings.Repeat("d", i+1), 1
			if _, err := c.Append(nil); err != nil {
				t.Fatal(err)
			}
			var r registry.Result
			if m, r = m.Apply(c); r.Err() != nil {
				t.Fatal(r.Err())
			}
		}
		file, err := configfile.Parse(configFile("a_b", n))
		if err != nil {
			t.Fatal(err)
		}
		if m.AuditLen() < 2*n+1 {
			t.Errorf("%d records of the audit, want %d", m.AuditLen(), 2*n+1)
		}
		if m.SyncCount() != n || len(file.Instances) != 1 || len(file.Instances[0].Sync) != n {
			t.Errorf("want %d configs: %d by commands, %d in the file", n, m.SyncCount(), len(file.Instances[0].Sync))
		}
	}
}

// The prober asks each partition until that one tells of the change, and the
// slowest one counts.
func TestSettledWaitsForTheSlowestPartition(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	topo, err := topology.New(topology.Config{Partitions: 3})
	if err != nil {
		t.Fatal(err)
	}
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, topo.Requests.Name, topo.Results.Name))
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	const refusals = 4 // partition 1 accepts nothing before
	var seen [3]atomic.Int64
	task, err := kgo.NewClient(kgo.SeedBrokers(broker.ListenAddrs()...), kgo.ConsumeTopics(topo.Requests.Name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			task.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
				code := schemas.NotOnline // it is accepted for later
				if seen[r.Partition].Add(1) <= refusals && r.Partition == 1 {
					code = schemas.BizNotOnline
				}
				i := slices.IndexFunc(r.Headers, func(h kgo.RecordHeader) bool { return h.Key == schemas.HeaderRequestID })
				answer := schemas.Result{Code: code, RequestID: r.Headers[i].Value}
				task.Produce(ctx, &kgo.Record{Topic: topo.Results.Name, Partition: resultsPartition, Value: answer.AppendProto(nil)}, nil)
			})
		}
	}()
	p, err := newProber(broker.ListenAddrs(), topo)
	if err != nil {
		t.Fatal(err)
	}
	_, asked, err := p.settled(ctx, true)
	if err != nil || asked != 2+refusals+1 || seen[1].Load() != refusals+1 {
		t.Errorf("%d requests, %d of them to the slow partition: %v", asked, seen[1].Load(), err)
	}
	cancel()
	<-ended
	task.Close()
	p.close()
}

// An audience has heard when the last watcher has; one that is told of
// something old fails the benchmark.
func TestAudienceWaitsForItsLastWatcher(t *testing.T) {
	a := newTestAudience(2)
	a.told(0, 5, nil)
	done := make(chan time.Time)
	go func() {
		at, err := a.wait(5)
		if err != nil {
			t.Error(err)
		}
		done <- at
	}()
	a.told(1, 4, nil)
	select {
	case <-done:
		t.Error("one watcher stands at 4, and it is said that all stand at 5")
	default:
	}
	began := time.Now()
	a.told(1, 5, nil)
	if at := <-done; at.Before(began) {
		t.Error("the last watcher's time does not count")
	}
	if !a.told(1, 5, nil) {
		t.Error("a sign of life ends a watcher")
	}
	if a.told(1, 4, nil) {
		t.Error("a watcher that is told of something old goes on")
	}
	if _, err := a.wait(5); err == nil {
		t.Error("that is no error")
	}
}

// What a watch says is told by its ids, when an event is complete; a reset
// ends it.
func TestEventsOfAWatch(t *testing.T) {
	var got []int64
	note := func(revision int64) bool { got = append(got, revision); return true }
	text := "event: revision\nid: 7\ndata: {}\n\n: comment\n\nevent: change\nid: 8\ndata: {}\n\nid: 9\n"
	if err := followEvents(strings.NewReader(text), note); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a watch that is cut off: %v", err)
	}
	if !slices.Equal(got, []int64{7, 8}) {
		t.Errorf("told of %v", got)
	}
	for _, bad := range []string{"event: reset\nid: 7\ndata: {}\n\n", "event: end\nid: 7\n\n", "event: change\nid: x\n\n"} {
		if err := followEvents(strings.NewReader(bad), note); err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func newTestAudience(size int) *audience {
	a := &audience{at: make([]int64, size)}
	a.changed.L = &a.mu
	return a
}

func latency(ms ...int) *report.Latency {
	l := report.NewLatency()
	for _, n := range ms {
		l.Record(time.Duration(n) * time.Millisecond)
	}
	return l
}

func results() *Results {
	force := newWays()
	for i := range force {
		force[i].Call, force[i].After, force[i].Total = latency(20), latency(30), latency(50)
	}
	return &Results{
		Partitions: 8, Force: force,
		Takeovers: []Takeover{{Write: time.Second, Force: 2 * time.Second}},
		Load:      []Load{{Configs: aimLoaded, Open: latency(100), Ready: latency(200), Process: latency(300)}, {Configs: aimLoaded, Records: aimRecords, Open: latency(100), Ready: latency(200), Process: latency(300)}},
		Applied:   []Applied{{Via: "leader", Configs: 10, Committed: time.Second, Published: time.Second}},
		Watch:     &Watch{Watchers: aimWatchers, Reached: aimWatchers, Commit: latency(1), Told: latency(2), Total: latency(3), CPU: 3 * time.Second, CPUAlone: time.Second, Bytes: 5_000_000},
		Pages: &Pages{Configs: aimListed, Records: aimRecords, Each: []Page{
			{Path: "/a", Latency: latency(5)}, {Path: "/b", Latency: latency(50)}, {Path: "/file", Latency: latency(500), Export: true},
		}},
		Proposals: []Proposal{{Name: "registry", Callers: 64, Took: time.Second, Latency: latency(1, 2)}},
		Costs:     []Cost{{Part: "force", Took: time.Second, Tidemark: time.Second / 2}},
	}
}

func TestAims(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Results)
		want   string // of the six
	}{
		{"all met", func(*Results) {}, "PASS PASS PASS PASS PASS PASS"},
		{"one slow change in two hundred", func(r *Results) {
			for range 199 {
				r.Force[0].After.Record(time.Millisecond)
			}
			r.Force[0].After.Record(time.Second)
		}, "PASS PASS PASS PASS PASS PASS"},
		{"slow changes", func(r *Results) { r.Force[3].After.Record(251 * time.Millisecond) }, "MISSED PASS PASS PASS PASS PASS"},
		{"one slow takeover", func(r *Results) { r.Takeovers = append(r.Takeovers, Takeover{Write: 4 * time.Second}) }, "PASS MISSED PASS PASS PASS PASS"},
		{"one slow start", func(r *Results) { r.Load[0].Process.Record(2 * time.Second) }, "PASS PASS MISSED PASS PASS PASS"},
		{"a slow start with a long past", func(r *Results) { r.Load[1].Ready.Record(2 * time.Second) }, "PASS PASS PASS MISSED PASS PASS"},
		{"few configs", func(r *Results) { r.Load[0].Configs-- }, "PASS PASS too small a run PASS PASS PASS"},
		{"few watchers", func(r *Results) { r.Watch.Watchers--; r.Watch.Reached-- }, "PASS PASS PASS PASS too small a run PASS"},
		{"a watcher that was not told", func(r *Results) { r.Watch.Reached-- }, "PASS PASS PASS PASS MISSED PASS"},
		{"a slow page", func(r *Results) { r.Pages.Each[0].Latency = latency(101) }, "PASS PASS PASS PASS PASS MISSED"},
		{"few records", func(r *Results) { r.Pages.Records-- }, "PASS PASS PASS PASS PASS too small a run"},
	} {
		r := results()
		c.change(r)
		var got []string
		for _, a := range aims(r) {
			got = append(got, a.met)
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: %s, want %s", c.name, s, c.want)
		}
	}
}

// A report can be written again from its results, and has every part.
func TestReportOfResults(t *testing.T) {
	dir := t.TempDir()
	if err := results().save(dir); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(filepath.Join(dir, reportFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"## Aims", "all of 8 partitions", "SIGKILL", "snapshot of 10,000 configs and 100,000 records", "config file", "1,000 watchers", "`/b`", "`/file`", "## Proposals", "## Cost", "5,000 bytes"} {
		if !strings.Contains(string(first), part) {
			t.Errorf("the report lacks %q", part)
		}
	}
	r, err := report.ReadResults[Results](filepath.Join(dir, resultsFile))
	if err != nil {
		t.Fatal(err)
	}
	if again := reportText(r); again != string(first) {
		t.Errorf("written again it reads\n%s", again)
	}
}

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		args []string
		bad  string
	}{
		{nil, ""}, {[]string{"--quick"}, ""}, {[]string{"--only", "pages,watch"}, ""},
		{[]string{"--only", "all"}, "--only all"}, {[]string{"--kills", "0"}, "--kills 0"}, {[]string{"--records", "300000"}, "--records 300000"},
		{[]string{"--time", "1ms"}, "--time 1ms"},
	} {
		o := &options{}
		cmd := commandOf(o)
		if err := cmd.ParseFlags(c.args); err != nil {
			t.Fatal(err)
		}
		err := o.settle()
		if (err == nil) != (c.bad == "") || err != nil && !strings.Contains(err.Error(), c.bad) {
			t.Errorf("%v: %v", c.args, err)
		}
		if o.asks(partForce) && !slices.Contains(o.only, partForce) {
			t.Errorf("%v: asks for what it does not", c.args)
		}
	}
}
