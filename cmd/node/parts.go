package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// stopTimeout is how long a part may take to stop before that is reported.
// Waiting goes on: a part that is cut off loses what it could have saved.
const stopTimeout = 30 * time.Second

// parts starts services one after the other and stops them in reverse.
type parts struct {
	log     *slog.Logger
	failed  chan error // one slot: the first part that ended by itself
	started []*part
}

type part struct {
	name string
	stop context.CancelFunc
	done chan struct{}
	err  error
}

func newParts(log *slog.Logger) *parts { return &parts{log: log, failed: make(chan error, 1)} }

// start runs a service that ends only when its context does.
func (p *parts) start(name string, run func(context.Context) error) {
	ctx, stop := context.WithCancel(context.Background())
	s := &part{name: name, stop: stop, done: make(chan struct{})}
	p.started = append(p.started, s)
	go func() {
		defer close(s.done)
		s.err = run(ctx)
		if ctx.Err() != nil {
			return
		}
		if s.err == nil {
			s.err = errors.New("it ended by itself")
		}
		select {
		case p.failed <- fmt.Errorf("%s: %w", name, s.err):
		default:
		}
	}()
}

// stop ends all parts, the last started first, and reports what went wrong
// beside what was said already.
func (p *parts) stop(said error) error {
	var errs []error
	for i := len(p.started) - 1; i >= 0; i-- {
		s := p.started[i]
		s.stop()
		late := time.AfterFunc(stopTimeout, func() { p.log.Warn("still stopping", "part", s.name, "after", stopTimeout) })
		<-s.done
		late.Stop()
		if s.err != nil && !errors.Is(s.err, context.Canceled) && (said == nil || !strings.Contains(said.Error(), s.err.Error())) {
			errs = append(errs, fmt.Errorf("%s: %w", s.name, s.err))
		}
	}
	return errors.Join(errs...)
}

// readiness collects what the node still waits for.
type readiness struct {
	mu      sync.Mutex
	waiting string // what is being started; empty: all runs
}

func (r *readiness) waitFor(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = what
}

func (r *readiness) get() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting
}
