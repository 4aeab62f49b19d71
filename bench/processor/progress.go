package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress tells the person at the terminal what is going on: a bar with an
// ETA per step on a terminal, a line per step elsewhere.
type progress struct {
	w     io.Writer
	live  bool
	total int // steps
	done  int
}

func newProgress(total int) *progress {
	return &progress{w: os.Stderr, live: term.IsTerminal(int(os.Stderr.Fd())), total: total}
}

// say prints a line.
func (p *progress) say(format string, args ...any) { fmt.Fprintf(p.w, format+"\n", args...) }

// step begins the next step, of so many units of work.
func (p *progress) step(name string, units int64) *step {
	p.done++
	s := &step{p: p, name: fmt.Sprintf("[%d/%d] %s", min(p.done, p.total), p.total, name), began: time.Now()}
	if p.live {
		s.bar = progressbar.NewOptions64(units, progressbar.OptionSetWriter(p.w), progressbar.OptionSetDescription(s.name),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetPredictTime(true),
			progressbar.OptionThrottle(200*time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(20))
	}
	return s
}

// step is one long piece of work. Safe for concurrent use.
type step struct {
	p     *progress
	name  string
	bar   *progressbar.ProgressBar
	began time.Time
}

// Errors of drawing a bar are nobody's business.

func (s *step) add(n int) {
	if s.bar != nil {
		_ = s.bar.Add(n)
	}
}

func (s *step) set(n int64) {
	if s.bar != nil {
		_ = s.bar.Set64(n)
	}
}

// end finishes the step with a line that stays.
func (s *step) end(format string, args ...any) {
	if s.bar != nil {
		_ = s.bar.Clear()
		_ = s.bar.Exit()
	}
	s.p.say("%s: %s (%s)", s.name, fmt.Sprintf(format, args...), time.Since(s.began).Round(100*time.Millisecond))
}
