package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidemarkio/tidemark/bench/report"
)

// render writes the report.
func render(r *Results, dir string) error {
	if err := os.WriteFile(filepath.Join(dir, reportFile), []byte(reportText(r)), 0o644); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

func reportText(r *Results) string {
	var b strings.Builder
	b.WriteString("# What the registry does\n\n")
	fmt.Fprintf(&b, "Written by `go run ./bench/registry` from [%s](%s); every figure is from one run of it. How it measures: `bench/registry/doc.go`.\n\n", resultsFile, resultsFile)
	if r.Quick {
		b.WriteString("**A quick run: it shows that the benchmark works, and nothing else.**\n\n")
	}
	fmt.Fprintf(&b, "- %s, took %s, commit %s\n", r.Began.UTC().Format("2006-01-02 15:04 MST"), r.Took.Round(time.Second), r.Commit)
	fmt.Fprintf(&b, "- %s\n", r.Machine)
	fmt.Fprintf(&b, "- Apache Kafka %s, one node; three registry nodes; all on the same machine, over loopback, on one disk\n", r.Kafka)
	if all := aims(r); len(all) > 0 {
		table := report.NewTable("aim", "measured", "result")
		for _, a := range all {
			table.Row(a.what, a.measured, a.met)
		}
		b.WriteString("\n## Aims\n\n" + table.String())
	}
	for _, section := range []func(*strings.Builder, *Results){forceText, takeoverText, loadText, watchText, pagesText, proposeText, costText} {
		section(&b, r)
	}
	return b.String()
}

// row is a histogram's figures.
func row(name string, l *report.Latency) []string {
	p := l.Percentiles()
	return []string{name, report.Count(p.Count), report.Milliseconds(p.P50), report.Milliseconds(p.P90), report.Milliseconds(p.P99), report.Milliseconds(p.P999), report.Milliseconds(p.Max)}
}

func newTable(first string) *report.Table {
	return report.NewTable(first, "count", "p50", "p90", "p99", "p99.9", "max")
}

func forceText(b *strings.Builder, r *Results) {
	if len(r.Force) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## A change until it is in force on all of %d partitions, ms\n\n", r.Partitions)
	b.WriteString("Each partition is asked by a request through Kafka; the time until that is answered is part of the figures.\n\n")
	table := newTable("change")
	for _, w := range r.Force {
		table.Row(row(w.Name+": call → answer", w.Call)...)
		table.Row(row(w.Name+": answer → in force", w.After)...)
		table.Row(row(w.Name+": call → in force", w.Total)...)
	}
	b.WriteString(table.String() + "\n")
	for _, w := range r.Force {
		fmt.Fprintf(b, "- %s: the first request to every partition met the change in %d of %d\n", w.Name, w.AtOnce, w.Total.Count())
	}
}

func takeoverText(b *strings.Builder, r *Results) {
	if len(r.Takeovers) == 0 {
		return
	}
	var each []string
	for _, t := range r.Takeovers {
		each = append(each, report.Number(t.writeMillis()))
	}
	fmt.Fprintf(b, "\n## The leader killed with SIGKILL, %d times, ms\n\n", len(r.Takeovers))
	table := report.NewTable("from the signal until", "median (min–max)")
	table.Row("both other nodes have answered a change", report.Collect(r.Takeovers, Takeover.writeMillis).String())
	table.Row("that change is in force on every partition", report.Collect(r.Takeovers, Takeover.forceMillis).String())
	b.WriteString(table.String() + "\nWrites, each: " + strings.Join(each, ", ") + ".\n")
}

func loadText(b *strings.Builder, r *Results) {
	for _, l := range r.Load {
		fmt.Fprintf(b, "\n## Start with a snapshot of %s configs and %s records of the audit (%s KiB), ms\n\n", report.Count(int64(l.Configs)), report.Count(int64(l.Records)), report.Count(l.SnapshotBytes>>10))
		table := newTable("one node, from its start until")
		table.Row(row("its model is there", l.Open)...)
		table.Row(row("it answers a linearizable read", l.Ready)...)
		table.Row(row("as a process: /readyz says 200, Kafka's topics checked", l.Process)...)
		b.WriteString(table.String())
	}
	if len(r.Applied) > 0 {
		b.WriteString("\n## A config file through the admin API of three nodes, ms\n\n")
		table := report.NewTable("through the", "configs", "file, KiB", "committed", "in the log of every partition")
		for _, a := range r.Applied {
			table.Row(a.Via, report.Count(int64(a.Configs)), report.Count(int64(a.Bytes>>10)), report.Milliseconds(a.Committed), report.Milliseconds(a.Published))
		}
		b.WriteString(table.String())
	}
}

func watchText(b *strings.Builder, r *Results) {
	w := r.Watch
	if w == nil {
		return
	}
	fmt.Fprintf(b, "\n## %s watchers of a follower, ms\n\n", report.Count(int64(w.Watchers)))
	b.WriteString("By `GET /api/v1/watch`, each over a connection of its own, at a process; changes are made through the leader. The aim asks that each was told of each change.\n\n")
	table := newTable("one change at a time")
	table.Row(row("call → answer", w.Commit)...)
	table.Row(row("answer → the last watcher told (0: told before)", w.Told)...)
	table.Row(row("call → the last watcher told", w.Total)...)
	fmt.Fprintf(b, "%s\nA watcher takes %s bytes of the follower's memory while it waits, and %s µs of its CPU to be told of a change.\n", table, report.Count(int64(w.PerWatcher())), report.Number(float64(w.PerTold())/float64(time.Microsecond)))
}

func pagesText(b *strings.Builder, r *Results) {
	p := r.Pages
	if p == nil {
		return
	}
	fmt.Fprintf(b, "\n## Console with %s configs and %s records of the audit, ms\n\n", report.Count(int64(p.Configs)), report.Count(int64(p.Records)))
	fmt.Fprintf(b, "One logged-in person, one page after the other. The registry keeps up to 200,000 records; these came through the admin API in %s.\n\n", p.Filled.Round(100*time.Millisecond))
	table := report.NewTable("page", "visits", "KiB", "p50", "p95", "max")
	add := func(e *Page) {
		table.Row("`"+e.Path+"`", report.Count(e.Latency.Count()), report.Number(float64(e.Bytes)/1024), report.Milliseconds(e.Latency.At(50)), report.Milliseconds(e.Latency.At(95)), report.Milliseconds(e.Latency.At(100)))
	}
	for i := range p.Each {
		if !p.Each[i].Export {
			add(&p.Each[i])
		}
	}
	b.WriteString(table.String() + "\nFiles, for which there is no aim:\n\n")
	table = report.NewTable("file", "visits", "KiB", "p50", "p95", "max")
	for i := range p.Each {
		if p.Each[i].Export {
			add(&p.Each[i])
		}
	}
	b.WriteString(table.String())
}

func proposeText(b *strings.Builder, r *Results) {
	if len(r.Proposals) == 0 {
		return
	}
	b.WriteString("\n## Proposals to three nodes in this process\n\n")
	table := report.NewTable("what takes them", "at once", "per second", "p50, ms", "p90, ms", "p99, ms", "p99.9, ms", "max, ms", "CPU-µs each")
	for i := range r.Proposals {
		p := &r.Proposals[i]
		cells := append([]string{p.Name, report.Count(int64(p.Callers)), report.Number(p.PerSecond())}, row("", p.Latency)[2:]...)
		table.Row(append(cells, report.Number(float64(p.CPU.Microseconds())/float64(max(1, p.Latency.Count()))))...)
	}
	b.WriteString(table.String())
	b.WriteString("\nThe CPU is that of all three nodes and the callers. There is no etcd beside them: it is no dependency of ours.\n")
}

func costText(b *strings.Builder, r *Results) {
	if len(r.Costs) == 0 {
		return
	}
	b.WriteString("\n## Cost\n\n")
	table := report.NewTable("part", "took, s", "tidemark, % of a core", "Kafka, % of a core", "this program, % of a core", "others, % of all cores")
	for _, c := range r.Costs {
		share := func(d time.Duration) string { return report.Number(100 * d.Seconds() / c.Took.Seconds()) }
		table.Row(c.Part, report.Number(c.Took.Seconds()), share(c.Tidemark), share(c.Kafka), share(c.Self), report.Number(100*c.Foreign))
	}
	b.WriteString(table.String())
}
