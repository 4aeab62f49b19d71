package main

import (
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/bench/report"
)

// What the registry is built to reach.
const (
	aimForce    = 250 * time.Millisecond // p99, from the answer to the slowest partition
	aimTakeover = 3 * time.Second        // at most
	aimLoad     = time.Second            // at most
	aimLoaded   = 10_000                 // configs
	aimWatchers = 1000                   // all told of each change
	aimPage     = 100 * time.Millisecond // p95
	aimListed   = 1000                   // configs
	aimRecords  = 100_000                // of the audit
)

// aim is one thing to reach and how it went.
type aim struct{ what, measured, met string }

// aims that the results can be held against. A run with smaller sizes than an
// aim's own says nothing about it.
func aims(r *Results) []aim {
	var all []aim
	add := func(sized, met bool, measured, what string, args ...any) {
		word := "MISSED"
		switch {
		case !sized:
			word = "too small a run"
		case met:
			word = "PASS"
		}
		all = append(all, aim{fmt.Sprintf(what, args...), measured, word})
	}
	if len(r.Force) > 0 {
		p99 := r.after().At(99)
		add(true, p99 <= aimForce, report.Milliseconds(p99)+" ms", "a change is in force on every partition: p99 at most %s ms after the answer", report.Milliseconds(aimForce))
	}
	if len(r.Takeovers) > 0 {
		var most time.Duration
		for _, t := range r.Takeovers {
			most = max(most, t.Write)
		}
		add(true, most <= aimTakeover, report.Milliseconds(most)+" ms", "writes resume at most %s ms after the leader was killed", report.Milliseconds(aimTakeover))
	}
	for i := range r.Load {
		l := &r.Load[i]
		most := max(l.Ready.At(100), l.Process.At(100))
		add(l.Configs >= aimLoaded, most <= aimLoad, report.Milliseconds(most)+" ms", "a registry of %s configs, with %s records of the audit, is loaded at most %s ms after its start",
			report.Count(aimLoaded), report.Count(int64(l.Records)), report.Milliseconds(aimLoad))
	}
	if w := r.Watch; w != nil {
		add(w.Watchers >= aimWatchers, w.Reached == w.Watchers, report.Count(int64(w.Reached))+", p99 "+report.Milliseconds(w.Total.At(99))+" ms", "%s watchers are told of every change", report.Count(aimWatchers))
	}
	if p := r.Pages; p != nil {
		slowest := p.slowest()
		p95 := slowest.Latency.At(95)
		add(p.Configs >= aimListed && p.Records >= aimRecords, p95 <= aimPage, report.Milliseconds(p95)+" ms",
			"every console page with %s configs and %s records: p95 at most %s ms", report.Count(aimListed), report.Count(aimRecords), report.Milliseconds(aimPage))
	}
	return all
}
