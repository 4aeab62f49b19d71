// Package progress tells the person at the terminal what a long program does:
// a bar with an ETA for each step on a terminal, a line for each elsewhere.
package progress

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// Progress of a program in steps.
type Progress struct {
	w     io.Writer
	live  bool
	total int // steps
	done  int
}

// New is the progress of so many steps, told to w.
func New(w io.Writer, total int) *Progress {
	f, ok := w.(*os.File)
	return &Progress{w: w, live: ok && term.IsTerminal(int(f.Fd())), total: total}
}

// Say prints a line.
func (p *Progress) Say(format string, args ...any) { fmt.Fprintf(p.w, format+"\n", args...) }

// Step begins the next step, of so many units of work.
func (p *Progress) Step(name string, units int64) *Step {
	p.done++
	s := &Step{p: p, name: fmt.Sprintf("[%d/%d] %s", min(p.done, p.total), p.total, name), began: time.Now()}
	if p.live {
		s.bar = progressbar.NewOptions64(units, progressbar.OptionSetWriter(p.w), progressbar.OptionSetDescription(s.name),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetPredictTime(true),
			progressbar.OptionThrottle(200*time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(20))
	}
	return s
}

// Step is one long piece of work. Safe for concurrent use.
type Step struct {
	p     *Progress
	name  string
	bar   *progressbar.ProgressBar
	began time.Time
}

// Errors of drawing a bar are nobody's business.

// Add counts units of work as done.
func (s *Step) Add(n int) {
	if s.bar != nil {
		_ = s.bar.Add(n)
	}
}

// Set says how many units of work are done in all.
func (s *Step) Set(n int64) {
	if s.bar != nil {
		_ = s.bar.Set64(n)
	}
}

// End finishes the step with a line that stays.
func (s *Step) End(format string, args ...any) {
	if s.bar != nil {
		_ = s.bar.Clear()
		_ = s.bar.Exit()
	}
	s.p.Say("%s: %s (%s)", s.name, fmt.Sprintf(format, args...), time.Since(s.began).Round(100*time.Millisecond))
}
