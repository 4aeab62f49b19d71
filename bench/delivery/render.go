package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidemarkio/tidemark/bench/report"
)

// What Tidemark is built to reach on a real broker, as medians.
const (
	aimPush   = 6 * time.Millisecond
	aimAnswer = 8 * time.Millisecond
)

func plotFile(rate int) string { return fmt.Sprintf("latency-%d.svg", rate) }

// render writes the report and its plots.
func render(r *Results, dir string) error {
	files := map[string][]byte{reportFile: []byte(reportText(r))}
	for _, rate := range r.rates() {
		files[plotFile(rate)] = plot(r, rate)
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
	b.WriteString("# How soon a push is there\n\n")
	fmt.Fprintf(&b, "Written by `go run ./bench/delivery` from [%s](%s); every figure is from one run of it. How it measures: `bench/delivery/doc.go`.\n\n", resultsFile, resultsFile)
	if r.Quick {
		b.WriteString("**A quick run: it shows that the benchmark works, and nothing else.**\n\n")
	}
	fmt.Fprintf(&b, "- %s, took %s, commit %s\n", r.Began.UTC().Format("2006-01-02 15:04 MST"), r.Took.Round(time.Second), r.Commit)
	fmt.Fprintf(&b, "- %s\n", r.Machine)
	fmt.Fprintf(&b, "- Apache Kafka %s, one node, on the same machine, no fsync (its default); and the embedded broker\n", r.Kafka)
	fmt.Fprintf(&b, "- %d SSE clients, each a user with %d businesses; requests of %d bytes; open loop, timed from when a request was due\n", r.Clients, businesses, requestBytes)
	b.WriteString("- Every push arrived exactly once and in order, every call was answered SUCCESS: otherwise there would be no report\n")
	aimsText(&b, r)
	for _, rate := range r.rates() {
		fmt.Fprintf(&b, "\n## At %s requests/s, ms\n\n![latency](%s)\n\n%s", report.Count(int64(rate)), plotFile(rate), latencies(r, rate))
	}
	b.WriteString("\n## Cost\n\n" + costs(r))
	if r.Idle != nil {
		fmt.Fprintf(&b, "\n## Idle streams\n\n%s silent SSE streams on a fresh node: %s KiB of resident memory each (%s → %s MiB).\n",
			report.Count(int64(r.Idle.Streams)), report.Number(r.Idle.PerStream()/1024), mib(r.Idle.Before), mib(r.Idle.After))
	}
	return b.String()
}

func mib(n int64) string { return report.Number(float64(n) / (1 << 20)) }

func aimsText(b *strings.Builder, r *Results) {
	table := report.NewTable("aim, on Kafka", "measured p50, ms", "met")
	rows := 0
	for _, run := range r.Runs {
		if run.Broker != onKafka {
			continue
		}
		what, l, aim := "produced → at an SSE client", run.Pushes, aimPush
		if run.Door == httpDoor {
			what, l, aim = "HTTP call → answer", run.Answers, aimAnswer
		}
		met := "no"
		if l.At(50) <= aim {
			met = "yes"
		}
		table.Row(fmt.Sprintf("%s at %s/s: p50 at most %s ms", what, report.Count(int64(run.Rate)), report.Milliseconds(aim)), report.Milliseconds(l.At(50)), met)
		rows++
	}
	if rows > 0 {
		b.WriteString("\n## Aims\n\n" + table.String())
	}
}

// lines are all that was timed at a rate.
func lines(r *Results, rate int) []report.Curve {
	var all []report.Curve
	for _, run := range r.Runs {
		if run.Rate != rate {
			continue
		}
		all = append(all, report.Curve{Name: run.Broker + ": " + run.Door + " → SSE client", Latency: run.Pushes})
		if run.Answers != nil {
			all = append(all, report.Curve{Name: run.Broker + ": HTTP → answer", Latency: run.Answers})
		}
	}
	return all
}

func latencies(r *Results, rate int) string {
	table := report.NewTable("broker: from → to", "count", "p50", "p90", "p99", "p99.9", "max")
	for _, c := range lines(r, rate) {
		p := c.Latency.Percentiles()
		table.Row(c.Name, report.Count(p.Count), report.Milliseconds(p.P50), report.Milliseconds(p.P90), report.Milliseconds(p.P99),
			report.Milliseconds(p.P999), report.Milliseconds(p.Max))
	}
	return table.String()
}

func plot(r *Results, rate int) []byte {
	return report.PercentilePlot(fmt.Sprintf("Due → there, at %s requests/s", report.Count(int64(rate))), lines(r, rate))
}

func costs(r *Results) string {
	table := report.NewTable("broker, door, requests/s", "tidemark, % of a core", "Kafka, % of a core", "this program, % of a core", "RSS, MiB (peak)", "others, % of all cores", "sent late at worst, ms")
	for _, run := range r.Runs {
		share := func(d time.Duration) string { return report.Number(100 * d.Seconds() / run.Duration.Seconds()) }
		table.Row(fmt.Sprintf("%s, %s, %s", run.Broker, run.Door, report.Count(int64(run.Rate))), share(run.CPU), share(run.BrokerCPU), share(run.SelfCPU),
			mib(run.RSS)+" ("+mib(run.RSSPeak)+")", report.Number(100*run.Foreign), report.Milliseconds(run.SentLate))
	}
	return table.String()
}
