package demo

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/tidemarkio/tidemark/cmd/node/flights"
)

// progress shows how far the play is. Safe for concurrent use.
type progress interface {
	add() // one request more is done
	end()
}

// newProgress draws a bar on a terminal. Elsewhere, where each redraw would
// stay, it prints a line now and then.
func newProgress(w io.Writer, total int) progress {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return newBar(w, total)
	}
	return newLines(w, total)
}

type bar struct {
	w io.Writer
	*progressbar.ProgressBar
}

func newBar(w io.Writer, total int) bar {
	return bar{w, progressbar.NewOptions(total, progressbar.OptionSetWriter(w), progressbar.OptionSetWidth(30),
		progressbar.OptionSetDescription("playing "+flights.Date), progressbar.OptionShowCount(), progressbar.OptionShowIts(),
		progressbar.OptionSetItsString("requests"), progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(100*time.Millisecond))}
}

func (b bar) add() { b.Add(1) } //nolint:errcheck // a bar that cannot be drawn stops nothing
func (b bar) end() { fmt.Fprintln(b.w) }

// lineEvery is how often a line says how far the play is.
const lineEvery = 3 * time.Second

type lines struct {
	w     io.Writer
	total int
	began time.Time

	mu   sync.Mutex
	done int
	last time.Time // of a line
}

func newLines(w io.Writer, total int) *lines {
	now := time.Now()
	return &lines{w: w, total: total, began: now, last: now}
}

func (l *lines) add() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done++
	if now := time.Now(); now.Sub(l.last) >= lineEvery {
		l.last = now
		left := time.Duration(float64(now.Sub(l.began)) / float64(l.done) * float64(l.total-l.done))
		fmt.Fprintf(l.w, "playing %s: %d of %d requests, about %s left\n", flights.Date, l.done, l.total, left.Round(time.Second))
	}
}

func (l *lines) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.w, "played %s: %d of %d requests in %s\n", flights.Date, l.done, l.total, time.Since(l.began).Round(100*time.Millisecond))
}
