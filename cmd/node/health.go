package node

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

// stopStuckAfter is how long a node may take to stop before that counts as
// stuck: every part has had its time then, and a drain with it.
const stopStuckAfter = 2 * stopTimeout

// lifeline remembers what a node's health hangs on.
type lifeline struct {
	now func() time.Time

	mu      sync.Mutex
	failure error     // a part ended by itself
	stopped time.Time // when the stop began
}

// fail says that a part ended by itself. The first one counts.
func (l *lifeline) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure == nil {
		l.failure = err
	}
}

func (l *lifeline) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = l.now()
}

// check is not nil when a part has failed, or a stop does not come to its end.
func (l *lifeline) check() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure != nil {
		return fmt.Errorf("a part has failed: %w", l.failure)
	}
	if l.stopped.IsZero() {
		return nil
	}
	if took := l.now().Sub(l.stopped); took > stopStuckAfter {
		return fmt.Errorf("stopping for %s: look at /debug/pprof/goroutine?debug=2", took.Round(time.Second))
	}
	return nil
}

// Health is not nil when only a new process would help: a part has failed, a
// task or the edge does not come back from its own work, a stop does not end.
// What waits (for brokers, a leader, an operator at a parked partition) is
// healthy and not ready: see [Node.Ready].
func (n *Node) Health() error {
	if err := n.life.check(); err != nil {
		return err
	}
	if !n.running.Load() || n.cfg.RegistryOnly {
		return nil
	}
	if err := n.tasks.Stuck(); err != nil {
		return err
	}
	return n.edge.Stuck()
}

func (n *Node) serveHealth(w http.ResponseWriter, _ *http.Request) { answerHealth(w, n.Health()) }

func answerHealth(w http.ResponseWriter, err error) {
	if err != nil {
		plain(w, http.StatusServiceUnavailable, err.Error()+"\n")
		return
	}
	plain(w, http.StatusOK, "alive\n")
}
