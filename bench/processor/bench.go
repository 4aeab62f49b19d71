package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tidemarkio/tidemark/bench/broker"
	"github.com/tidemarkio/tidemark/bench/progress"
	"github.com/tidemarkio/tidemark/bench/report"
)

// Time limits of what surrounds the runs.
const (
	buildLimit = 10 * time.Minute
	loadLimit  = 5 * time.Minute
)

// throughputPrefix of the topics of the throughput part: all programs read the
// same requests.
const throughputPrefix = "tidemark."

// benchmark does all of it and writes the report.
func benchmark(ctx context.Context, o *options) (err error) {
	if err := o.settle(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.limit)
	defer cancel()
	picked, err := chosen(o.scenarios)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tidemark-bench-")
	if err != nil {
		return err
	}
	defer func() {
		if err == nil {
			err = os.RemoveAll(dir)
		} else {
			err = fmt.Errorf("%w\nlogs of the programs are kept in %s", err, dir)
		}
	}()
	prog := progress.New(os.Stderr, steps(o, picked))
	jar, err := buildPeer(ctx, o, picked, prog)
	if err != nil {
		return err
	}
	b, err := broker.Start(ctx, broker.Config{HeapMiB: o.heapMiB})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Stop()) }()
	prog.Say("%s", b)
	m, err := newMeasurer(o, b, dir, jar, prog)
	if err != nil {
		return err
	}
	defer m.k.close()
	results := &Results{
		Began: time.Now(), Machine: report.ThisMachine(ctx), Kafka: broker.Version, Commit: report.Commit(ctx),
		PeerArgs: o.peerArgs, Work: o.work, Heap: o.heapMiB, Limit: o.quiet.share, WarmUp: o.latency.warmUp,
	}
	for _, s := range picked {
		results.Scenario = append(results.Scenario, Title{s.Name(), s.Title()})
		if s.Name() == "tidemark" {
			results.Command = o.tidemark
		}
	}
	if err := m.everything(ctx, o, picked, results); err != nil {
		return err
	}
	results.Took = time.Since(results.Began)
	return m.report(o, results)
}

// report writes results and report, and shows where.
func (m *measurer) report(o *options, r *Results) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	if err := r.write(filepath.Join(o.out, resultsFile)); err != nil {
		return err
	}
	if err := render(r, o.out); err != nil {
		return err
	}
	m.prog.Say("report: %s", filepath.Join(o.out, reportFile))
	return nil
}

func newMeasurer(o *options, b *broker.Broker, dir, jar string, prog *progress.Progress) (*measurer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	keyFile := o.keyFile
	if keyFile == "" {
		keyFile = filepath.Join(dir, "cluster.key")
	}
	key, err := clusterKey(keyFile)
	if err != nil {
		return nil, err
	}
	k, err := connect(b.Addrs())
	if err != nil {
		return nil, err
	}
	env := &Env{
		Brokers: b.Addrs(), Work: &o.work, Key: key, KeyFile: keyFile, Self: self, PeerJar: jar, PeerArgs: strings.Fields(o.peerArgs),
		Tidemark: o.tidemark, TidemarkGroup: o.tidemarkGroup,
	}
	return &measurer{k: k, env: env, dir: dir, broker: b.Usage, prog: prog, limit: o.runLimit, quiet: o.quiet}, nil
}

// everything is both parts, round by round, the programs in turns. Each round
// begins with another program, so that none always follows the same.
func (m *measurer) everything(ctx context.Context, o *options, picked []Scenario, r *Results) error {
	drained := slices.DeleteFunc(slices.Clone(picked), Scenario.LatencyOnly)
	if o.rounds > 0 && len(drained) > 0 {
		if err := m.load(ctx, o); err != nil {
			return err
		}
	}
	for round := range o.rounds {
		for i := range drained {
			run, err := m.throughput(ctx, drained[(i+round)%len(drained)], round+1, throughputPrefix)
			if err != nil {
				return err
			}
			r.Runs = append(r.Runs, run)
		}
	}
	m.env.Want = nil
	for round := range o.latencyRounds {
		for i := range picked {
			runs, err := m.latency(ctx, picked[(i+round)%len(picked)], round+1, o.latency)
			if err != nil {
				return err
			}
			r.Latency = append(r.Latency, runs...)
		}
	}
	return nil
}

// load puts settings and requests into the topic, and warms the broker with
// runs that do not count.
func (m *measurer) load(ctx context.Context, o *options) error {
	limited, cancel := context.WithTimeout(ctx, loadLimit)
	defer cancel()
	topic := throughputPrefix + "requests"
	if err := m.k.createTopics(limited, o.work.Partitions, topic); err != nil {
		return err
	}
	if err := publishSettings(limited, m.k, topic, &o.work, m.env.Key, time.Now()); err != nil {
		return err
	}
	step := m.prog.Step("load requests", int64(o.work.Requests))
	m.env.Want = o.work.expect()
	if err := publishLoad(limited, m.k, topic, &o.work, step); err != nil {
		return err
	}
	step.End("%d requests, %d of them unique", o.work.Requests, m.env.Want.unique)
	m.prog.Say("runs that do not count, to warm the broker:")
	for _, s := range warmers() {
		id := "warm." + s.Name()
		if _, err := m.drain(ctx, s, Job{ID: id, Prefix: throughputPrefix, Dir: filepath.Join(m.dir, id)}); err != nil {
			return err
		}
	}
	return nil
}

// warmers are the programs that the broker is warmed with: what it does for
// the others, it does for them.
func warmers() []Scenario { return scenarios()[:2] }

// steps that will be shown, repeated runs aside.
func steps(o *options, picked []Scenario) int {
	drained := len(slices.DeleteFunc(slices.Clone(picked), Scenario.LatencyOnly))
	n := o.rounds*drained + o.latencyRounds*len(picked)*(1+len(o.latency.rates))
	if o.rounds > 0 && drained > 0 {
		n += 1 + len(warmers())
	}
	return n
}

// buildPeer builds the Kafka Streams peer if it is wanted and not up to date.
func buildPeer(ctx context.Context, o *options, picked []Scenario, prog *progress.Progress) (string, error) {
	jar, err := filepath.Abs(filepath.Join(o.peerDir, "target", "kafka-streams-peer.jar"))
	if err != nil {
		return "", err
	}
	wanted := slices.ContainsFunc(picked, func(s Scenario) bool { return strings.HasPrefix(s.Name(), "streams") })
	if !wanted || upToDate(jar, o.peerDir, filepath.Join(o.peerDir, "..", "..", "..", "schemas", "tidemark.proto")) {
		return jar, nil
	}
	prog.Say("building %s (the first time Maven fetches about 100 MB)", o.peerDir)
	ctx, cancel := context.WithTimeout(ctx, buildLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, "mvn", "-q", "-B", "-f", filepath.Join(o.peerDir, "pom.xml"), "package", "-DskipTests").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the Kafka Streams peer: %w\n%s", err, out)
	}
	return jar, nil
}

// upToDate says whether a built file is newer than a directory's files, apart
// from what is built there, and than another source.
func upToDate(built, dir, source string) bool {
	at, err := os.Stat(built)
	if err != nil {
		return false
	}
	if st, err := os.Stat(source); err == nil && st.ModTime().After(at.ModTime()) {
		return false
	}
	newer := errors.New("newer")
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == "target" {
				return filepath.SkipDir
			}
			return nil
		}
		if st, err := d.Info(); err != nil || st.ModTime().After(at.ModTime()) {
			return newer
		}
		return nil
	})
	return err == nil
}
