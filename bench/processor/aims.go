package main

import (
	"fmt"
	"strings"

	"github.com/tidemarkio/tidemark/bench/report"
)

// What Tidemark is built to reach, as measured in the same run.
const (
	aimOfCeiling  = 0.5 // of the plain pipe's rate
	aimOverPeer   = 10  // times the rate of Kafka Streams' faster variant
	aimCPU        = 8   // CPU seconds for a million requests, at most
	aimRSS        = 300 // MB at most
	aimOfLatency  = 2   // times the plain pipe's percentiles, at most
	bytesInMB     = 1e6
	tidemarkName  = "tidemark"
	ceilingName   = "pipe"
	streamsPrefix = "streams"
)

// aim is one thing to reach and how it went.
type aim struct {
	what, measured string
	met            bool
}

// aims that the results can be held against; none without Tidemark in them.
func aims(r *Results) []aim {
	var all []aim
	median := func(name string, figure func(Run) float64) float64 {
		return report.Collect(r.runsOf(name), figure).Median
	}
	if own := r.runsOf(tidemarkName); len(own) > 0 {
		rate := median(tidemarkName, Run.PerSecond)
		if len(r.runsOf(ceilingName)) > 0 {
			share := rate / median(ceilingName, Run.PerSecond)
			all = append(all, aim{"at least half of the ceiling's rate", report.Number(share), share >= aimOfCeiling})
		}
		if peer := fastestPeer(r); peer > 0 {
			times := rate / peer
			all = append(all, aim{fmt.Sprintf("at least %d times the faster Kafka Streams", aimOverPeer), report.Number(times), times >= aimOverPeer})
		}
		cpu := median(tidemarkName, Run.CPUPerMillion)
		all = append(all, aim{fmt.Sprintf("at most %d CPU-s per million", aimCPU), report.Number(cpu), cpu <= aimCPU})
		rss := median(tidemarkName, func(r Run) float64 { return float64(r.RSSPeak) / bytesInMB })
		all = append(all, aim{fmt.Sprintf("under %d MB", aimRSS), report.Number(rss) + " MB", rss < aimRSS})
	}
	for _, rate := range r.rates() {
		all = append(all, latencyAims(r, rate)...)
	}
	return all
}

func fastestPeer(r *Results) float64 {
	var best float64
	for _, s := range r.Scenario {
		if runs := r.runsOf(s.Name); strings.HasPrefix(s.Name, streamsPrefix) && len(runs) > 0 {
			best = max(best, report.Collect(runs, Run.PerSecond).Median)
		}
	}
	return best
}

func latencyAims(r *Results, rate int) []aim {
	own, pipe := r.latencyOf(tidemarkName, rate), r.latencyOf(ceilingName, rate)
	if len(own) == 0 || len(pipe) == 0 {
		return nil
	}
	var all []aim
	for _, p := range []float64{50, 90, 99, 99.9} {
		times := at(own, p).Median / at(pipe, p).Median
		all = append(all, aim{
			fmt.Sprintf("at %s requests/s, p%v at most %d times the pipe's", report.Count(int64(rate)), p, aimOfLatency),
			report.Number(times), times <= aimOfLatency,
		})
	}
	return all
}

// aimsText is the table of aims, if there is anything to say.
func aimsText(b *strings.Builder, r *Results) {
	all := aims(r)
	if len(all) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## Aims\n\n")
	table := report.NewTable("Tidemark's aim", "measured", "met")
	for _, a := range all {
		met := "no"
		if a.met {
			met = "yes"
		}
		table.Row(a.what, a.measured, met)
	}
	b.WriteString(table.String())
}
