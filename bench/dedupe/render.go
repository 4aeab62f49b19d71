package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tidemarkio/tidemark/bench/report"
)

// render writes the report.
func render(ctx context.Context, o options, results []result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Dedupe layouts at %s keys\n\n", report.Count(o.keys))
	fmt.Fprintf(&b, "%s, commit %s, %s.\n\n", time.Now().UTC().Format("2006-01-02"), report.Commit(ctx), report.ThisMachine(ctx))
	b.WriteString(intro)
	for _, l := range layouts {
		fmt.Fprintf(&b, "- **%s**: %s\n", l.name, l.what)
	}
	b.WriteString("\n## Cost in CPU time, µs\n\n" + costs(results))
	b.WriteString("\n## Single calls by the clock, µs: p50 / p99 / p99.9\n\n" + calls(results))
	b.WriteString("\n## Memory, disk, opening, expiry of half the keys\n\n" + sizes(results))
	b.WriteString("\n## What was chosen\n\n" + choice)
	return b.String()
}

func name(r result) string {
	if r.Stores == 1 {
		return r.Layout
	}
	return fmt.Sprintf("%s, %d stores, %s keys", r.Layout, r.Stores, report.Count(r.Keys))
}

func costs(results []result) string {
	t := report.NewTable("layout", "miss", "hit", "put", "request (95 % new)", "bytes written / bytes put")
	for _, r := range results {
		t.Row(name(r), report.Number(r.Miss.CPUMicros), report.Number(r.Hit.CPUMicros), report.Number(r.Put.CPUMicros),
			report.Number(r.Mix.CPUMicros), report.Number(r.WriteAmplification))
	}
	return t.String()
}

func calls(results []result) string {
	t := report.NewTable("layout", "miss", "hit", "put, a key of a batch of 1,000")
	three := func(c cost) string {
		return report.Number(c.P50) + " / " + report.Number(c.P99) + " / " + report.Number(c.P999)
	}
	for _, r := range results {
		t.Row(name(r), three(r.Miss), three(r.Hit), three(r.Put))
	}
	return t.String()
}

func sizes(results []result) string {
	t := report.NewTable("layout", "RSS, MiB (peak)", "filters, MiB", "disk, MiB", "bytes a key", "open after a crash, s", "open after close, s", "close, s", "expiry: call, ms", "CPU, s", "disk after, MiB")
	mib := func(n int64) string { return report.Number(float64(n) / (1 << 20)) }
	for _, r := range results {
		keys := r.Put.Ops + r.Mix.Ops*95/100
		t.Row(name(r), mib(r.RSSBytes)+" ("+mib(r.RSSPeakBytes)+")", mib(r.OwnBytes), mib(r.DiskBytes), report.Number(float64(r.DiskBytes)/float64(keys)),
			report.Number(r.OpenCrash), report.Number(r.OpenClean), report.Number(r.Close),
			report.Number(r.ExpireMillis), report.Number(r.ExpireCPU), mib(r.DiskAfter))
	}
	return t.String()
}

const intro = `Written by ` + "`make bench-dedupe`" + ` (` + "`go run ./bench/dedupe`" + `); see doc.go for how it measures. Keys are hashes in
two buckets of time; a look-up asks three, as a window of two buckets does. Costs are CPU time of the
whole process, flushes and compactions included; a *request* is one look-up and, if it is new, one put.
The block cache has 128 MiB, memtables included.

`

const choice = `TODO
`
