package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidemarkio/tidemark/bench/report"
)

// Files of a report, in one directory.
const (
	reportFile     = "REPORT.md"
	resultsFile    = "results.json"
	throughputPlot = "throughput.svg"
)

func latencyPlot(rate int) string { return fmt.Sprintf("latency-%d.svg", rate) }

// render writes the report and its plots.
func render(r *Results, dir string) error {
	files := map[string][]byte{reportFile: []byte(reportText(r))}
	if len(r.Runs) > 0 {
		files[throughputPlot] = plotThroughput(r)
	}
	for _, rate := range r.rates() {
		files[latencyPlot(rate)] = plotLatency(r, rate)
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
	}
	return nil
}

func reportText(r *Results) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# What a sync request costs\n\n")
	fmt.Fprintf(&b, "Written by `go run ./bench/processor` from [%s](%s); every figure is from one run of it. How it measures: `bench/processor/doc.go`.\n\n", resultsFile, resultsFile)
	fmt.Fprintf(&b, "- %s, took %s, commit %s\n", r.Began.UTC().Format("2006-01-02 15:04 MST"), r.Took.Round(time.Second), r.Commit)
	fmt.Fprintf(&b, "- %s\n", r.Machine)
	fmt.Fprintf(&b, "- Apache Kafka %s, one node, on the same machine, Java heap %d MiB, no fsync (its default)\n", r.Kafka, r.Heap)
	w := r.Work
	fmt.Fprintf(&b, "- %s requests of %d bytes over %s link tokens and %d businesses, %s %% duplicates, %d partitions\n",
		report.Count(int64(w.Requests)), w.Bytes, report.Count(int64(w.Tokens)), w.Businesses, report.Number(100*w.Duplicates), w.Partitions)
	if r.Command != "" {
		fmt.Fprintf(&b, "- Tidemark's command line: `%s`\n", r.Command)
	}
	if r.PeerArgs != "" {
		fmt.Fprintf(&b, "- More arguments for the Kafka Streams peer: `%s`\n", r.PeerArgs)
	}
	fmt.Fprintf(&b, "\nMedian over the runs (smallest–largest). The broker, the harness and the program share the cores.\n")
	aimsText(&b, r)
	if len(r.Runs) > 0 {
		throughputText(&b, r)
	}
	for _, rate := range r.rates() {
		latencyText(&b, r, rate)
	}
	noiseText(&b, r)
	return b.String()
}

func throughputText(b *strings.Builder, r *Results) {
	fmt.Fprintf(b, "\n## Throughput and cost\n\n![requests per second](%s)\n\n", throughputPlot)
	cost := report.NewTable("program", "runs", "1,000 requests/s", "of the ceiling", "CPU-s per million", "broker's CPU-s per million", "peak RSS, MiB")
	start := report.NewTable("program", "start-up, s", "CPU-s in it", "drained in, s")
	ceiling := report.Collect(r.runsOf(ceilingName), Run.PerSecond).Median
	for _, s := range r.Scenario {
		runs := r.runsOf(s.Name)
		if len(runs) == 0 {
			continue
		}
		rate := report.Collect(runs, Run.PerSecond)
		cost.Row(s.Title, fmt.Sprint(len(runs)), rate.Scaled(1e-3).String(), report.Number(100*rate.Median/ceiling)+" %",
			report.Collect(runs, Run.CPUPerMillion).String(), report.Collect(runs, Run.BrokerCPUPerMillion).String(),
			report.Collect(runs, func(r Run) float64 { return float64(r.RSSPeak) / (1 << 20) }).String())
		start.Row(s.Title, report.Collect(runs, func(r Run) float64 { return r.StartUp.Seconds() }).String(),
			report.Collect(runs, func(r Run) float64 { return r.StartUpCPU.Seconds() }).String(),
			report.Collect(runs, func(r Run) float64 { return r.Drain.Seconds() }).String())
	}
	b.WriteString(cost.String())
	b.WriteString("\nStart-up is from exec to the first output in the broker; it is not part of the figures above.\n\n")
	b.WriteString(start.String())
	b.WriteString("\nWhat the outputs were found to hold, read back after each run:\n\n")
	for _, s := range r.Scenario {
		for _, line := range checkLines(r.runsOf(s.Name)) {
			fmt.Fprintf(b, "- %s: %s\n", s.Title, line)
		}
	}
}

// checkLines are the different findings of a scenario's runs.
func checkLines(runs []Run) []string {
	var lines []string
	times := make(map[string]int)
	for _, run := range runs {
		if times[run.Check] == 0 {
			lines = append(lines, run.Check)
		}
		times[run.Check]++
	}
	for i, line := range lines {
		lines[i] = fmt.Sprintf("%s (%d of %d runs)", line, times[line], len(runs))
	}
	return lines
}

func plotThroughput(r *Results) []byte {
	var bars []report.Bar
	for _, s := range r.Scenario {
		if runs := r.runsOf(s.Name); len(runs) > 0 {
			bars = append(bars, report.Bar{Name: s.Title, Value: report.Collect(runs, Run.PerSecond).Scaled(1e-3)})
		}
	}
	return report.BarPlot("Requests per second, drained from a full topic", "k/s", bars)
}

func latencyText(b *strings.Builder, r *Results, rate int) {
	fmt.Fprintf(b, "\n## Latency at %s requests/s\n\n", report.Count(int64(rate)))
	fmt.Fprintf(b, "Milliseconds from when a request was due to when a read_committed reader has its output; open loop.\n\n![latency](%s)\n\n", latencyPlot(rate))
	table := report.NewTable("program", "runs", "p50", "p90", "p99", "p99.9", "max", "p50 of the pipe's", "p99 of the pipe's", "CPU, % of a core")
	pipe50, pipe99 := at(r.latencyOf(ceilingName, rate), 50).Median, at(r.latencyOf(ceilingName, rate), 99).Median
	for _, s := range r.Scenario {
		runs := r.latencyOf(s.Name, rate)
		if len(runs) == 0 {
			continue
		}
		table.Row(s.Title, fmt.Sprint(len(runs)), at(runs, 50).String(), at(runs, 90).String(), at(runs, 99).String(), at(runs, 99.9).String(), at(runs, 100).String(),
			"x"+report.Number(at(runs, 50).Median/pipe50), "x"+report.Number(at(runs, 99).Median/pipe99),
			report.Collect(runs, func(r LatencyRun) float64 { return 100 * r.CPU.Seconds() / r.Duration.Seconds() }).String())
	}
	b.WriteString(table.String())
}

// at is a percentile over runs, in milliseconds.
func at(runs []LatencyRun, percentile float64) report.Spread {
	return report.Collect(runs, func(r LatencyRun) float64 { return r.Latency.At(percentile).Seconds() * 1000 })
}

func plotLatency(r *Results, rate int) []byte {
	var curves []report.Curve
	for _, s := range r.Scenario {
		all := report.NewLatency()
		for _, run := range r.latencyOf(s.Name, rate) {
			all.Merge(run.Latency)
		}
		if all.Count() > 0 {
			curves = append(curves, report.Curve{Name: s.Title, Latency: all})
		}
	}
	return report.PercentilePlot(fmt.Sprintf("Due → visible at %s requests/s, all runs", report.Count(int64(rate))), curves)
}

// noiseText says how trustworthy the runs are.
func noiseText(b *strings.Builder, r *Results) {
	fmt.Fprintf(b, "\n## Noise\n\nShare of all cores that processes outside the benchmark used; runs above %s %% were repeated, and the quietest was kept.\n\n", report.Number(100*r.Limit))
	table := report.NewTable("program", "others, % while draining", "others, % in the latency part", "repeated", "sent late at worst, ms")
	for _, s := range r.Scenario {
		var live []LatencyRun
		for _, rate := range r.rates() {
			live = append(live, r.latencyOf(s.Name, rate)...)
		}
		runs := r.runsOf(s.Name)
		if len(runs)+len(live) == 0 {
			continue
		}
		repeated := 0
		for _, run := range runs {
			repeated += run.Tries - 1
		}
		for i, run := range live {
			if i < len(live)/max(1, len(r.rates())) {
				repeated += run.Tries - 1
			}
		}
		table.Row(s.Title, report.Collect(runs, func(r Run) float64 { return 100 * r.Foreign }).String(),
			report.Collect(live, func(r LatencyRun) float64 { return 100 * r.Foreign }).String(), fmt.Sprint(repeated),
			report.Collect(live, func(r LatencyRun) float64 { return r.SentLate.Seconds() * 1000 }).String())
	}
	b.WriteString(table.String())
	if n := len(r.Runs); n > 0 {
		fmt.Fprintf(b, "\nLoad average before the first throughput run %s, after the last %s.\n", r.Runs[0].LoadBefore, r.Runs[n-1].LoadAfter)
	}
}
