package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tidemarkio/tidemark/bench/report"
)

// Files of a report, in one directory.
const (
	reportFile  = "REPORT.md"
	resultsFile = "results.json"
)

// Results are everything that a run measured: the report is a function of them.
type Results struct {
	Began   time.Time      `json:"began"`
	Took    time.Duration  `json:"tookNanos"`
	Machine report.Machine `json:"machine"`
	Kafka   string         `json:"kafka"`
	Commit  string         `json:"commit"`
	Quick   bool           `json:"quick,omitempty"`

	Partitions int        `json:"partitions,omitempty"`
	Force      []Way      `json:"force,omitempty"`
	Takeovers  []Takeover `json:"takeovers,omitempty"`
	Load       []Load     `json:"load,omitempty"` // with a short past, then with a long one
	Applied    []Applied  `json:"applied,omitempty"`
	Watch      *Watch     `json:"watch,omitempty"`
	Pages      *Pages     `json:"pages,omitempty"`
	Proposals  []Proposal `json:"proposals,omitempty"`
	Costs      []Cost     `json:"costs"`
}

// Way is how changes were made, and how long they took.
type Way struct {
	Name  string          `json:"name"`
	Wait  bool            `json:"wait"`  // answered when published
	Call  *report.Latency `json:"call"`  // call → answer
	After *report.Latency `json:"after"` // answer → in force on the slowest partition
	Total *report.Latency `json:"total"` // call → in force on the slowest partition
	// AtOnce counts the changes that the first request on every partition met.
	AtOnce int `json:"atOnce"`
}

// Takeover is what one kill of a leader did, timed from the signal.
type Takeover struct {
	Write time.Duration `json:"writeNanos"` // until both others have answered a change
	Force time.Duration `json:"forceNanos"` // until it is in force on every partition
}

// Load is a registry that starts with a snapshot.
type Load struct {
	Configs       int             `json:"configs"`
	Records       int             `json:"records"` // of the audit
	SnapshotBytes int64           `json:"snapshotBytes"`
	Open          *report.Latency `json:"open"`    // until its model is there
	Ready         *report.Latency `json:"ready"`   // until it answers a linearizable read
	Process       *report.Latency `json:"process"` // start of a process → /readyz
}

// Applied is a file of configs through the admin API.
type Applied struct {
	Via       string        `json:"via"`
	Configs   int           `json:"configs"`
	Bytes     int           `json:"bytes"`
	Committed time.Duration `json:"committedNanos"` // call → answer, wait=false
	Published time.Duration `json:"publishedNanos"` // call → in the log of every partition
}

// Watch is many watchers of one node.
type Watch struct {
	Watchers int             `json:"watchers"`
	Commit   *report.Latency `json:"commit"`        // call → answer
	Told     *report.Latency `json:"told"`          // answer → the last watcher told; 0 if it was told before
	Total    *report.Latency `json:"total"`         // call → the last watcher told
	Reached  int             `json:"reached"`       // watchers that were told of every change
	CPU      time.Duration   `json:"cpuNanos"`      // of the follower for the changes, with the watchers
	CPUAlone time.Duration   `json:"cpuAloneNanos"` // for as many changes without any
	Bytes    int64           `json:"bytes"`         // of the follower's memory (RSS) that the watchers take
}

// PerWatcher is the bytes that one takes.
func (w *Watch) PerWatcher() float64 { return float64(w.Bytes) / float64(w.Watchers) }

// PerTold is the CPU time that telling one watcher of one change takes.
func (w *Watch) PerTold() time.Duration {
	return (w.CPU - w.CPUAlone) / time.Duration(int64(w.Watchers)*max(1, w.Total.Count()))
}

// Pages are the console's.
type Pages struct {
	Configs int           `json:"configs"`
	Records int           `json:"records"`
	Filled  time.Duration `json:"filledNanos"`
	Each    []Page        `json:"each"`
}

// Page is one address, got many times.
type Page struct {
	Path    string          `json:"path"`
	Bytes   int             `json:"bytes"`
	Latency *report.Latency `json:"latency"`
	Export  bool            `json:"export,omitempty"` // a file, and no page
}

// Proposal is changes of a kind against something that takes them.
type Proposal struct {
	Name    string          `json:"name"`
	Callers int             `json:"callers"`
	Took    time.Duration   `json:"tookNanos"`
	CPU     time.Duration   `json:"cpuNanos"` // all three nodes and the callers
	Latency *report.Latency `json:"latency"`
}

// PerSecond is the rate.
func (p *Proposal) PerSecond() float64 { return float64(p.Latency.Count()) / p.Took.Seconds() }

// Cost is what a part took of the machine.
type Cost struct {
	Part     string        `json:"part"`
	Took     time.Duration `json:"tookNanos"`
	Tidemark time.Duration `json:"tidemarkCpuNanos"`
	Kafka    time.Duration `json:"kafkaCpuNanos"`
	Self     time.Duration `json:"selfCpuNanos"`
	Foreign  float64       `json:"foreign"` // share of all cores that others used
}

// save writes results and report.
func (r *Results) save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode results: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, resultsFile), append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return render(r, dir)
}
