package main

import (
	"context"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/tidemarkio/tidemark/bench/child"
	"github.com/tidemarkio/tidemark/bench/progress"
)

// quietness is how much of other people's work a run may stand.
type quietness struct {
	share float64       // of all cores
	tries int           // runs of a program until one was quiet
	limit time.Duration // to wait for quiet before a run
}

// quietSample is how long the machine is listened to before a run.
const quietSample = time.Second

// wait returns when the machine is quiet, or after the limit.
func (q quietness) wait(ctx context.Context, prog *progress.Progress, known func() (time.Duration, error)) {
	deadline := time.Now().Add(q.limit)
	for told := false; time.Now().Before(deadline); {
		busy1, err1 := child.Busy()
		known1, err2 := known()
		began := time.Now()
		select {
		case <-ctx.Done():
			return
		case <-time.After(quietSample):
		}
		busy2, err3 := child.Busy()
		known2, err4 := known()
		if err1 != nil || err2 != nil || err3 != nil || err4 != nil {
			return // cannot tell
		}
		if shareOf((busy2-busy1)-(known2-known1), time.Since(began)) <= q.share {
			return
		}
		if !told {
			prog.Say("others use this machine: waiting up to %s for quiet", q.limit)
			told = true
		}
	}
}

// noise measures what others use from now on.
type noise struct {
	m           *measurer
	began       time.Time
	busy, known time.Duration
}

func (m *measurer) listen() (*noise, error) {
	busy, err := child.Busy()
	if err != nil {
		return nil, err
	}
	known, err := m.known()
	return &noise{m, time.Now(), busy, known}, err
}

// share of all cores that neither the program nor the broker nor we used,
// when the program has run all the while. 0 if it cannot be told.
func (n *noise) share(program *child.Child) float64 { return n.shareSince(program, 0) }

// shareSince is share when the program had used some CPU already.
func (n *noise) shareSince(program *child.Child, before time.Duration) float64 {
	busy, err1 := child.Busy()
	known, err2 := n.m.known()
	own, err3 := program.Usage()
	if err1 != nil || err2 != nil || err3 != nil {
		return 0
	}
	return shareOf((busy-n.busy)-(known-n.known)-(own.CPU-before), time.Since(n.began))
}

func shareOf(used, elapsed time.Duration) float64 {
	return max(0, float64(used)/(float64(elapsed)*float64(runtime.NumCPU())))
}

// loadAverage is the machine's, over 1, 5 and 15 minutes.
func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	f := strings.Fields(string(b))
	return strings.Join(f[:min(3, len(f))], " ")
}
