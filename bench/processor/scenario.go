package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemarkio/tidemark/bench/child"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology"
)

// Scenario is one of the programs that are compared.
type Scenario interface {
	// Name is what flags and topics call it.
	Name() string
	// Title is what the report calls it.
	Title() string
	// LatencyOnly scenarios are left out of the throughput part.
	LatencyOnly() bool
	// Plan says what to run for a job. It does no IO beyond the job's directory.
	Plan(env *Env, job Job) (Plan, error)
}

// Env is what all scenarios share.
type Env struct {
	Brokers []string
	Work    *workload
	Want    *expectation // nil in the latency part, where nothing is checked by content
	Key     schemas.ClusterKey
	KeyFile string
	Self    string // path of this program
	PeerJar string // path of the Kafka Streams peer
	// PeerArgs go behind the peer's own arguments.
	PeerArgs []string
	// Tidemark is a command line with {placeholders}; see tidemarkScenario.
	Tidemark      string
	TidemarkGroup string
}

// Job is one run of one program.
type Job struct {
	ID     string // unique in this run of the benchmark
	Prefix string // of topic names; the requests are in Prefix + "requests"
	Dir    string // the program's own, empty
}

// Requests is the topic that the program reads.
func (j Job) Requests() string { return j.Prefix + "requests" }

// Plan is what a scenario does in a job.
type Plan struct {
	Program child.Config
	// Group's committed offsets in the requests topic say how far the program
	// is, side effects included.
	Group string
	// Output is the topic that the results of requests become visible in.
	Output string
	// Topics to make before the program starts, Output among them, and to
	// delete after.
	Topics []string
	// Others are topics that the program makes itself, to delete after.
	Others []string
	// Checks by topic: what each must hold after the program is done.
	Checks map[string]checker
}

// scenarios in the order of the report.
func scenarios() []Scenario {
	return []Scenario{
		pipeScenario{name: "pipe", title: "pipe: franz-go, plain"},
		pipeScenario{name: "txpipe", title: "pipe: franz-go, transactions", tx: true},
		tidemarkScenario{},
		streamsScenario{name: "streams-window", title: "Kafka Streams, window store", dedupe: "window", commitMillis: 100},
		streamsScenario{name: "streams-kv", title: "Kafka Streams, key-value store", dedupe: "kv", commitMillis: 100},
		streamsScenario{
			name: "streams-10ms", title: "Kafka Streams, 10 ms commits", dedupe: "kv", commitMillis: 10, latencyOnly: true,
			more: []string{"--set", "poll.ms=5"},
		},
	}
}

// chosen picks scenarios by name.
func chosen(names []string) ([]Scenario, error) {
	all := scenarios()
	var found []Scenario
	for _, name := range names {
		before := len(found)
		for _, s := range all {
			if s.Name() == name {
				found = append(found, s)
			}
		}
		if len(found) == before {
			return nil, fmt.Errorf("no scenario %q: there are %s", name, strings.Join(scenarioNames(), ", "))
		}
	}
	return found, nil
}

func scenarioNames() []string {
	var names []string
	for _, s := range scenarios() {
		names = append(names, s.Name())
	}
	return names
}

// pipeScenario is this program again, as a child.
type pipeScenario struct {
	name, title string
	tx          bool
}

func (s pipeScenario) Name() string      { return s.name }
func (s pipeScenario) Title() string     { return s.title }
func (s pipeScenario) LatencyOnly() bool { return false }

func (s pipeScenario) Plan(env *Env, job Job) (Plan, error) {
	out, second := job.ID+".out", job.ID+".second"
	p := Plan{Group: job.ID, Output: out, Topics: []string{out}}
	args := []string{"pipe", "--brokers", strings.Join(env.Brokers, ","), "--requests", job.Requests(), "--group", p.Group, "--output", out}
	if s.tx {
		args = append(args, "--second", second)
		p.Topics = append(p.Topics, second)
	}
	if env.Want != nil {
		p.Checks = map[string]checker{out: newCopyCheck(env.Want)}
		if s.tx {
			p.Checks[second] = &countCheck{want: int64(env.Work.Requests)}
		}
	}
	p.Program = child.Config{Name: s.name, Path: env.Self, Args: args}
	return p, nil
}

// streamsScenario is the peer in bench/peers/kafka-streams.
type streamsScenario struct {
	name, title  string
	dedupe       string
	commitMillis int
	more         []string
	latencyOnly  bool
}

func (s streamsScenario) Name() string      { return s.name }
func (s streamsScenario) Title() string     { return s.title }
func (s streamsScenario) LatencyOnly() bool { return s.latencyOnly }

// streamsHeapMiB is the peer's Java heap; RocksDB's memory comes on top.
const streamsHeapMiB = 512

func (s streamsScenario) Plan(env *Env, job Job) (Plan, error) {
	out := job.ID + ".entries"
	heap := strconv.Itoa(streamsHeapMiB)
	p := Plan{
		Group: job.ID, Output: out, Topics: []string{out},
		Others: []string{job.ID + "-dedupe-changelog", job.ID + "-counters-changelog"},
	}
	p.Program = child.Config{
		Name: s.name, Path: "java",
		Args: append([]string{
			"-Xms" + heap + "m", "-Xmx" + heap + "m", "-cp", env.PeerJar + ":" + filepath.Join(filepath.Dir(env.PeerJar), "lib", "*"), "io.tidemark.peer.Peer",
			"--brokers", strings.Join(env.Brokers, ","), "--requests", job.Requests(), "--entries", out, "--application-id", job.ID,
			"--state-dir", filepath.Join(job.Dir, "state"), "--dedupe", s.dedupe, "--commit-ms", strconv.Itoa(s.commitMillis),
		}, append(slices.Clone(s.more), env.PeerArgs...)...),
	}
	if env.Want != nil {
		p.Checks = map[string]checker{out: newEntryCheck(env.Work, env.Want, false)}
	}
	return p, nil
}

// tidemarkScenario runs the command line that it is given, with placeholders
// filled in: {brokers}, {prefix} of topic names, {partitions}, {data} for a
// directory of its own, {key} for a file with the cluster key in hexadecimal.
// The settings are in the requests topic already, as control records signed
// with that key. The program is done when its consumer group has committed the
// end of the requests.
type tidemarkScenario struct{}

func (tidemarkScenario) Name() string      { return "tidemark" }
func (tidemarkScenario) Title() string     { return "Tidemark" }
func (tidemarkScenario) LatencyOnly() bool { return false }

func (tidemarkScenario) Plan(env *Env, job Job) (Plan, error) {
	if env.Tidemark == "" {
		return Plan{}, errors.New("no command line for Tidemark: build bin/tidemark or use --tidemark")
	}
	topo, err := topology.New(topology.Config{Prefix: job.Prefix, Partitions: env.Work.Partitions})
	if err != nil {
		return Plan{}, err
	}
	words := strings.Fields(env.Tidemark)
	fill := strings.NewReplacer("{brokers}", strings.Join(env.Brokers, ","), "{prefix}", job.Prefix,
		"{partitions}", strconv.Itoa(int(env.Work.Partitions)), "{data}", filepath.Join(job.Dir, "data"), "{key}", env.KeyFile)
	for i := range words {
		words[i] = fill.Replace(words[i])
	}
	p := Plan{
		Group: fill.Replace(env.TidemarkGroup), Output: topo.Oplog.Name,
		Program: child.Config{Name: "tidemark", Path: words[0], Args: words[1:]},
	}
	for _, t := range topo.Topics() {
		if t.Name != topo.Requests.Name {
			p.Topics = append(p.Topics, t.Name)
		}
	}
	if env.Want != nil {
		p.Checks = map[string]checker{p.Output: newEntryCheck(env.Work, env.Want, true)}
	}
	return p, nil
}

// defaultTidemark is the command line when bin/tidemark is there.
const defaultTidemark = "bin/tidemark processor --brokers {brokers} --topic-prefix {prefix} --partitions {partitions} --data-dir {data} --cluster-key-file {key}"

// findTidemark gives the default command line if its program is there.
func findTidemark() string {
	if st, err := os.Stat("bin/tidemark"); err != nil || st.IsDir() {
		return ""
	}
	return defaultTidemark
}
