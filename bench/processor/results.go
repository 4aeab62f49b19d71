package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/tidemarkio/tidemark/bench/report"
)

// Results are everything that a run of the benchmark measured: the report is a
// function of them.
type Results struct {
	Began    time.Time      `json:"began"`
	Took     time.Duration  `json:"tookNanos"`
	Machine  report.Machine `json:"machine"`
	Kafka    string         `json:"kafka"`
	Commit   string         `json:"commit"`
	Command  string         `json:"command"` // Tidemark's command line, if it was measured
	PeerArgs string         `json:"peerArgs"`
	Work     workload       `json:"workload"`
	Heap     int            `json:"brokerHeapMiB"`
	Limit    float64        `json:"foreignLimit"`
	WarmUp   time.Duration  `json:"warmUpNanos"`
	Scenario []Title        `json:"scenarios"` // in the report's order
	Runs     []Run          `json:"runs"`
	Latency  []LatencyRun   `json:"latency"`
}

// Title names a scenario in the report.
type Title struct {
	Name  string `json:"name"`
	Title string `json:"title"`
}

// runsOf are the throughput runs of a scenario.
func (r *Results) runsOf(name string) []Run {
	return slices.DeleteFunc(slices.Clone(r.Runs), func(run Run) bool { return run.Scenario != name })
}

// latencyOf are the latency runs of a scenario at a rate.
func (r *Results) latencyOf(name string, rate int) []LatencyRun {
	return slices.DeleteFunc(slices.Clone(r.Latency), func(run LatencyRun) bool { return run.Scenario != name || run.Rate != rate })
}

// rates that were offered, ascending.
func (r *Results) rates() []int {
	var rates []int
	for _, run := range r.Latency {
		rates = append(rates, run.Rate)
	}
	slices.Sort(rates)
	return slices.Compact(rates)
}

func (r *Results) write(file string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode results: %w", err)
	}
	if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}
