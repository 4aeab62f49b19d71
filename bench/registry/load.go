package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidemarkio/tidemark/bench/child"
	"github.com/tidemarkio/tidemark/bench/report"
	"github.com/tidemarkio/tidemark/topology/registry"
	"github.com/tidemarkio/tidemark/topology/registry/quorum"
)

const (
	// seedEvery is the fewest entries that a registry can be told to take a
	// snapshot for.
	seedEvery = 16
	// snapshotLimit is how long Raft may take to find that it has to.
	snapshotLimit = 2 * time.Minute
	// openings in this process, and starts of a process.
	openings, starts = 10, 5
)

// seed is a registry of one node that is to have all configs in a snapshot.
type seed struct {
	dir     string // the node's, as `tidemark registry run --data-dir` has it
	node    *quorum.Node
	configs int
	records int // of the audit, at least
}

// seeds are a registry with the configs alone, and one with a long past.
type seeds []*seed

func newSeeds(ctx context.Context, dir string, configs, records int) (seeds, error) {
	var all seeds
	for i, records := range []int{0, records} {
		s, err := newSeed(ctx, filepath.Join(dir, fmt.Sprint(i)), configs, records)
		if err != nil {
			return nil, errors.Join(err, all.close())
		}
		all = append(all, s)
	}
	return all, nil
}

func (all seeds) close() (err error) {
	for _, s := range all {
		err = errors.Join(err, s.close())
	}
	return err
}

// newSeed fills the registry. Its snapshot comes later.
func newSeed(ctx context.Context, dir string, configs, records int) (*seed, error) {
	cfg, err := quorumConfig("", filepath.Join(dir, "registry"))
	if err != nil {
		return nil, err
	}
	cfg.SnapshotEvery = seedEvery
	s := &seed{dir: dir, configs: configs, records: records}
	if s.node, err = quorum.Open(cfg); err != nil {
		return nil, err
	}
	if err := s.fill(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("fill a registry: %w", err), s.close())
	}
	return s, nil
}

func (s *seed) fill(ctx context.Context) error {
	if err := s.node.Ready(ctx); err != nil {
		return err
	}
	for _, c := range fill(s.configs, s.records) {
		if _, err := s.node.Propose(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// fill is the commands that make an instance with so many configs and at least
// so many records of the audit; at least as many commands as make a snapshot.
func fill(configs, records int) []registry.Command {
	all := []registry.Command{{Actor: "bench", Ops: []registry.Op{registry.CreateInstance{ID: probeInstance}}}}
	var ops []registry.Op
	for i := range configs {
		ops = append(ops, registry.CreateSync{Sync: registry.Sync{
			InstanceID: probeInstance, BizType: fmt.Sprintf("BIZ-%05d", i), Scope: "specified", Target: "user", Persistent: true,
			Repush: &registry.Repush{Mode: "queue"}, Online: true, Description: fmt.Sprintf("config %d of the benchmark", i),
		}})
		if len(ops) == registry.MaxCommandOps || i == configs-1 {
			all = append(all, registry.Command{Actor: "bench", Ops: ops})
			ops = nil
		}
	}
	for made := configs; made < records; {
		ops = nil
		for range min(registry.MaxCommandOps, records-made) {
			ops = append(ops, registry.SetOnline{InstanceID: probeInstance, BizType: fmt.Sprintf("BIZ-%05d", made%configs), Online: made/configs%2 == 0})
			made++
		}
		all = append(all, registry.Command{Actor: "bench", Ops: ops})
	}
	for i := range 2 * seedEvery {
		all = append(all, registry.Command{Actor: "bench", Ops: []registry.Op{registry.SetSignature{On: i%2 == 0}}})
	}
	return all
}

// snapshot waits for it and closes the node. It gives the file's size.
func (s *seed) snapshot(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, snapshotLimit)
	defer cancel()
	for s.node.Status().SnapshotIndex == 0 {
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("no snapshot after %s: %w", snapshotLimit, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
	if err := s.close(); err != nil {
		return 0, err
	}
	files, err := filepath.Glob(filepath.Join(s.dir, "registry", "snapshots", "*", "state.bin"))
	if err != nil || len(files) == 0 {
		return 0, errors.Join(errors.New("the snapshot's file is not there"), err)
	}
	st, err := os.Stat(files[len(files)-1])
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func (s *seed) close() error { return s.node.Close() }

// load opens the seeds' directories again and again.
func (b *bench) load(ctx context.Context, all seeds, kafka []string) error {
	for i, s := range all {
		step := b.prog.Step("starts with a snapshot", openings+starts)
		size, err := s.snapshot(ctx)
		if err != nil {
			return err
		}
		l := Load{Configs: b.configs, SnapshotBytes: size, Open: report.NewLatency(), Ready: report.NewLatency(), Process: report.NewLatency()}
		for range openings {
			if err := s.open(ctx, &l); err != nil {
				return err
			}
			step.Add(1)
		}
		for j := range starts + 1 {
			took, err := s.run(ctx, b.tidemark, kafka, fmt.Sprintf("seed-%d.", i))
			if err != nil {
				return err
			}
			if j > 0 { // the first makes topics and publishes
				l.Process.Record(took)
				step.Add(1)
			}
		}
		step.End("%s records: readable after %s ms, as a process after %s ms", report.Count(int64(l.Records)), report.Milliseconds(l.Ready.At(50)), report.Milliseconds(l.Process.At(50)))
		b.r.Load = append(b.r.Load, l)
	}
	return nil
}

func (s *seed) open(ctx context.Context, l *Load) error {
	cfg, err := quorumConfig("", filepath.Join(s.dir, "registry"))
	if err != nil {
		return err
	}
	began := time.Now()
	n, err := quorum.Open(cfg)
	if err != nil {
		return err
	}
	opened, have := time.Now(), n.Model().SyncCount()
	m, err := n.Read(ctx)
	ready := time.Now()
	if err := errors.Join(err, n.Close()); err != nil {
		return err
	}
	if have != s.configs || m.SyncCount() != s.configs {
		return fmt.Errorf("%d configs when opened and %d when ready: want %d", have, m.SyncCount(), s.configs)
	}
	l.Records = m.AuditLen()
	l.Open.Record(opened.Sub(began))
	l.Ready.Record(ready.Sub(began))
	return nil
}

// run starts a registry node as a process until it is ready, and ends it.
func (s *seed) run(ctx context.Context, program string, kafka []string, prefix string) (time.Duration, error) {
	at, err := localAddresses(1)
	if err != nil {
		return 0, err
	}
	c, err := child.Start(child.Config{Name: "tidemark registry run", Path: program, LogFile: filepath.Join(s.dir, "log"), Args: []string{
		"registry", "run", "--brokers", strings.Join(kafka, ","), "--data-dir", s.dir, "--admin", at[0], "--topic-prefix", prefix,
	}})
	if err != nil {
		return 0, err
	}
	a := newAdmin("http://"+at[0], "")
	err = a.waitReady(ctx, c)
	took := time.Since(c.Began())
	if err == nil {
		err = a.calm(ctx) // the next start shall find nothing to do
	}
	return took, errors.Join(err, c.Stop(stopGrace), c.Err())
}

// calm waits until all settings are published.
func (a *admin) calm(ctx context.Context) error {
	for {
		var s registry.Status
		err := a.call(ctx, http.MethodGet, "/registry/status", "", nil, &s)
		if err == nil && s.Publication.Pending == 0 && s.Publication.Topic != "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%d control records wait: %w", s.Publication.Pending, ctx.Err()), err)
		case <-time.After(readyPoll):
		}
	}
}

// apply puts a file of configs through the admin API, once through the leader
// and once through a follower.
func (b *bench) apply(ctx context.Context, c *cluster) error {
	leader, followers, err := c.roles(ctx)
	if err != nil {
		return err
	}
	step := b.prog.Step("files of configs", 2)
	return b.metered(partLoad, c.used, func() error {
		for i, m := range []*member{leader, followers[0]} {
			via := []string{"leader", "follower"}[i]
			text := configFile("bench_"+strings.ToUpper(via), b.configs)
			began := time.Now()
			if err := m.call(ctx, http.MethodPut, "/config?wait=false", "application/yaml", text, nil); err != nil {
				return err
			}
			a := Applied{Via: via, Configs: b.configs, Bytes: len(text), Committed: time.Since(began)}
			if err := leader.calm(ctx); err != nil {
				return err
			}
			a.Published = time.Since(began)
			b.r.Applied = append(b.r.Applied, a)
			step.Add(1)
		}
		step.End("through the leader: committed after %s ms, published after %s ms", report.Milliseconds(b.r.Applied[0].Committed), report.Milliseconds(b.r.Applied[0].Published))
		return nil
	})
}

// configFile is one with an instance of so many configs.
func configFile(instance string, configs int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "instances:\n  - id: %s\n    sync:\n", instance)
	for i := range configs {
		fmt.Fprintf(&b, "      - {bizType: BIZ-%05d, scope: specified, target: user, description: config %d of the benchmark}\n", i, i)
	}
	return b.Bytes()
}
