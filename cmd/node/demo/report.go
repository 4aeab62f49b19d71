package demo

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Report is what a play has shown.
type Report struct {
	Requests map[string]int // by door
	Codes    map[string]int // answers of the HTTP door
	Entries  int            // added to the oplog, as an independent reader counts
	Clients  int
	Received int // pushes at clients, repeats not counted
	Repeated int // pushes that a client got more than once: none, if all is well
	Missing  int // pushes that should have arrived and did not
	Took     time.Duration

	answers *hdrhistogram.Histogram // µs, HTTP call due → answer
	pushes  *hdrhistogram.Histogram // µs, request due → at the client
}

func newReport() *Report {
	return &Report{
		Requests: make(map[string]int), Codes: make(map[string]int),
		answers: hdrhistogram.New(1, time.Minute.Microseconds(), 3), pushes: hdrhistogram.New(1, time.Minute.Microseconds(), 3),
	}
}

func (r *Report) answered(door, code string, took time.Duration) {
	r.Requests[door]++
	if code != "" {
		r.Codes[code]++
		r.answers.RecordValue(took.Microseconds()) //nolint:errcheck // over a minute: shows as a minute
	}
}

func (r *Report) received(took time.Duration) {
	r.Received++
	r.pushes.RecordValue(took.Microseconds()) //nolint:errcheck // over a minute: shows as a minute
}

// Total is how many requests were sent.
func (r *Report) Total() (n int) {
	for _, c := range r.Requests {
		n += c
	}
	return n
}

// Duplicates is how many requests made no entry: the oplog topic does not have
// them, whatever the doors answered.
func (r *Report) Duplicates() int { return r.Total() - r.Entries }

// Print writes the table.
func (r *Report) Print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(tw, "requests\t%d\t%d over HTTP, %d straight to Kafka, in %s\n", r.Total(), r.Requests["HTTP"], r.Requests["Kafka"], r.Took.Round(100*time.Millisecond))
	fmt.Fprintf(tw, "oplogs\t%d\tas a reader of the oplog topic counts them\n", r.Entries)
	fmt.Fprintf(tw, "duplicates\t%d\tsent twice, stored once\n", r.Duplicates())
	fmt.Fprintf(tw, "pushes\t%d\tat %d clients; missing: %d, more than once: %d\n", r.Received, r.Clients, r.Missing, r.Repeated)
	for _, code := range slices.Sorted(maps.Keys(r.Codes)) {
		fmt.Fprintf(tw, "  %s\t%d\tHTTP answers\n", code, r.Codes[code])
	}
	fmt.Fprintf(tw, "\np50\tp90\tp99\tmax\tlatency, ms\n")
	for _, l := range []struct {
		h    *hdrhistogram.Histogram
		what string
	}{{r.answers, "HTTP call due → answer (the oplog has it)"}, {r.pushes, "request due → at the client"}} {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", ms(l.h.ValueAtQuantile(50)), ms(l.h.ValueAtQuantile(90)), ms(l.h.ValueAtQuantile(99)), ms(l.h.Max()), l.what)
	}
	return tw.Flush()
}

func ms(us int64) string { return fmt.Sprintf("%.1f", float64(us)/1000) }
