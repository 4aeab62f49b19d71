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
	switch {
	case r.Stores > 1:
		return fmt.Sprintf("%s, %d stores, %s keys", r.Layout, r.Stores, report.Count(r.Keys))
	case r.Keys == largeKeys:
		return fmt.Sprintf("%s, %s keys", r.Layout, report.Count(r.Keys))
	}
	return r.Layout
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
	t := report.NewTable("layout", "RSS, MiB (peak)", "Go heap, MiB", "filters, MiB", "disk, MiB", "bytes a key", "open after a crash, s (CPU)", "open after close, s (CPU)", "expiry: call, ms", "expiry: CPU, s", "disk after, MiB")
	mib := func(n int64) string { return report.Number(float64(n) / (1 << 20)) }
	for _, r := range results {
		keys := r.Put.Ops + r.Mix.Ops*95/100
		t.Row(name(r), mib(r.RSSBytes)+" ("+mib(r.RSSPeakBytes)+")", mib(r.HeapBytes), mib(r.OwnBytes), mib(r.DiskBytes), report.Number(float64(r.DiskBytes)/float64(keys)),
			r.OpenCrash.String(), r.OpenClean.String(),
			report.Number(r.ExpireMillis), report.Number(r.ExpireCPU), mib(r.DiskAfter))
	}
	return t.String()
}

func (s span) String() string { return report.Number(s.Clock) + " (" + report.Number(s.CPU) + ")" }

const intro = `Written by ` + "`make bench-dedupe`" + ` (` + "`go run ./bench/dedupe`" + `); see doc.go for how it measures. Keys are hashes in
two buckets of time; a look-up asks three, as a window of two buckets does. Costs are CPU time of the
whole process, flushes and compactions included; a *request* is one look-up and, if it is new, one put.
The block cache has 96 MiB, memtables included.

`

const choice = `**runs**. Nearly every look-up is a miss, and a miss must not leave memory: that takes filters of our own, because
` + "`Get`" + ` does not read those of the last level, where nearly all keys are, and an iterator that does costs several times
a cache line, even if it is kept. What is left is the put. As a key of Pebble each is put into a skip list, flushed,
and written again by every level that it passes; as a part of a page it is copied. Runs need no more look-ups for it
than a filter per bucket does, and no knowledge of how many keys are to come.

What it costs: merges of our own (state/merge.go), some ten filters to ask instead of one per bucket, and a start that
reads the pages (flat keys behind a filter would have to be read too, one by one). Past the memory limit every run
without a filter costs each look-up a page.
`
