package sim

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/tidemarkio/tidemark/processor"
)

// DefaultSchedules is how many schedules a run has by default.
const DefaultSchedules = 1000

// DefaultShrinkMax bounds how often a failing schedule is tried again to make
// it shorter: about a second.
const DefaultShrinkMax = 800

// Options of [Run]. The zero value runs [DefaultSchedules] schedules.
type Options struct {
	// Seed of the first schedule; schedule i has Seed + i.
	Seed uint64
	// Schedules to run; default [DefaultSchedules].
	Schedules int
	// Fault is planted into every task (NoPrevCheck: into the reader); default none.
	Fault processor.Fault
	// ShrinkMax bounds how often a failing schedule is tried again to make it
	// shorter; default [DefaultShrinkMax]. More gives a shorter transcript.
	ShrinkMax int
	// Progress is called after each schedule with how many are done.
	Progress func(done int)

	outside bool // do not look into stores: only consequences count
}

// faultNames are what a command line calls the faults.
var faultNames = []string{
	processor.NoFault: "none", processor.NoPrevCheck: "no-prev-check", processor.EarlyApply: "early-apply",
	processor.WallClock: "wall-clock", processor.EarlyResult: "early-result", processor.WrongPosition: "wrong-position",
}

// FaultNames lists the names that [ParseFault] knows, "none" first.
func FaultNames() []string { return slices.Clone(faultNames) }

// ParseFault finds a fault by its name.
func ParseFault(name string) (processor.Fault, error) {
	i := slices.Index(faultNames, name)
	if i < 0 {
		return 0, fmt.Errorf("no fault %q: use one of %s", name, strings.Join(faultNames, ", "))
	}
	return processor.Fault(i), nil
}

// Report says what a run went through.
type Report struct {
	Schedules int
	Counts    Counts
}

// Violation is a broken invariant, with the schedule that broke it.
type Violation struct {
	Seed       uint64
	Invariant  Invariant
	What       string
	Transcript []string // of the shortest schedule found that breaks the same invariant
	Steps      int      // choices in it
	From       int      // choices in the schedule of the seed
}

// Error prints the transcript whole: it is what one wants to read.
func (v *Violation) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d breaks %s: %s\n", v.Seed, v.Invariant, v.What)
	fmt.Fprintf(&b, "transcript (%d choices, cut down from %d):\n", v.Steps, v.From)
	for _, line := range v.Transcript {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	return b.String()
}

// Run plays schedules until one breaks an invariant or all are done. The error
// is a [*Violation].
func Run(o Options) (Report, error) {
	if o.Schedules == 0 {
		o.Schedules = DefaultSchedules
	}
	if o.ShrinkMax == 0 {
		o.ShrinkMax = DefaultShrinkMax
	}
	var rep Report
	for i := range o.Schedules {
		seed := o.Seed + uint64(i)
		t := record(seed)
		counts, err := schedule(t, &o, nil)
		rep.Schedules++
		rep.Counts.add(&counts)
		if err != nil {
			return rep, explain(seed, t.used(), &o, err)
		}
		if o.Progress != nil {
			o.Progress(rep.Schedules)
		}
	}
	return rep, nil
}

// schedule plays one schedule.
func schedule(t *tape, o *Options, trace func(string)) (c Counts, err error) {
	w := newWorld(t, o, trace)
	defer func() {
		c = w.counts
		if r := recover(); r != nil {
			err = violated(Crashed, "%v\n%s", r, debug.Stack())
		}
	}()
	return c, w.run()
}

// explain cuts a failing schedule down and writes its transcript.
func explain(seed uint64, draws []uint16, o *Options, first error) error {
	var b *breach
	if !errors.As(first, &b) {
		return first
	}
	small := shrink(draws, o.ShrinkMax, func(draws []uint16) bool {
		_, err := schedule(play(draws), o, nil)
		var again *breach
		return errors.As(err, &again) && again.invariant == b.invariant
	})
	v := &Violation{Seed: seed, Steps: len(small), From: len(draws)}
	_, err := schedule(play(small), o, func(line string) { v.Transcript = append(v.Transcript, line) })
	errors.As(err, &b)
	v.Invariant, v.What = b.invariant, b.what
	return v
}
