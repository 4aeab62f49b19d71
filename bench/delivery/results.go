package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	Clients int            `json:"clients"`
	WarmUp  time.Duration  `json:"warmUpNanos"`
	Quick   bool           `json:"quick"`
	Runs    []Run          `json:"runs"`
	Idle    *Idle          `json:"idle,omitempty"`
}

// Run is one door at one rate on one broker.
type Run struct {
	Broker    string          `json:"broker"`
	Door      string          `json:"door"`
	Rate      int             `json:"ratePerSecond"`
	Pushes    *report.Latency `json:"pushes"`            // due → event read
	Answers   *report.Latency `json:"answers,omitempty"` // due → answer read; HTTP only
	Duration  time.Duration   `json:"durationNanos"`
	CPU       time.Duration   `json:"cpuNanos"` // of tidemark
	BrokerCPU time.Duration   `json:"brokerCPUNanos"`
	SelfCPU   time.Duration   `json:"selfCPUNanos"`
	RSS       int64           `json:"rssBytes"`
	RSSPeak   int64           `json:"rssPeakBytes"`
	SentLate  time.Duration   `json:"sentLateMaxNanos"` // by us, at worst
	Foreign   float64         `json:"foreign"`          // share of all cores that others used
}

// rates that were offered, ascending.
func (r *Results) rates() []int {
	var rates []int
	for _, run := range r.Runs {
		rates = append(rates, run.Rate)
	}
	slices.Sort(rates)
	return slices.Compact(rates)
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
	if err := render(r, dir); err != nil {
		return err
	}
	say("report: %s", filepath.Join(dir, reportFile))
	return nil
}
