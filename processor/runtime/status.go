package runtime

import (
	"sync"
	"time"

	"github.com/tidemarkio/tidemark/state"
)

// State of a partition on this node.
type State string

// The states of a partition.
const (
	StateOpening   State = "opening"   // its store is being opened
	StateRestoring State = "restoring" // its store is rebuilt from the topics
	StateReplaying State = "replaying" // it reads the log's tail before it runs
	StateStandby   State = "standby"   // it follows the log, somebody else runs
	StateRunning   State = "running"   // it decides and appends
	StateDraining  State = "draining"  // it finishes what is in flight, to leave
	StateParked    State = "parked"    // it waits for an operator; see Reason
)

// Status is what operators see of one partition on this node.
type Status struct {
	Partition int32          `json:"partition"`
	State     State          `json:"state"`
	Reason    string         `json:"reason,omitempty"` // why it is parked
	Position  state.Position `json:"position"`         // what the store holds
	Decided   int64          `json:"decided"`          // last request decided
	InFlight  int            `json:"inFlight"`         // decided and not complete
	Lag       int64          `json:"lag"`              // requests not yet decided; -1: not known yet
	// Progress of a restore or replay.
	Done    int64         `json:"done,omitempty"`
	Total   int64         `json:"total,omitempty"`
	Started time.Time     `json:"started,omitzero"`
	ETA     time.Duration `json:"eta,omitempty"` // 0: not known
	Since   time.Time     `json:"since"`         // of this state

	// Checkpoint is when the changelog last had all that the store has; zero:
	// not yet while it runs here.
	Checkpoint time.Time `json:"checkpoint,omitzero"`
}

// statusCell holds a runner's status for whoever asks.
type statusCell struct {
	now func() time.Time
	mu  sync.Mutex
	s   Status
}

func (c *statusCell) get() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.s
}

func (c *statusCell) change(f func(*Status)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.s)
}

func (c *statusCell) set(s State) {
	c.change(func(st *Status) {
		if st.State != s {
			st.State, st.Since, st.Started, st.Done, st.Total, st.ETA = s, c.now(), time.Time{}, 0, 0, 0
		}
		if s != StateParked {
			st.Reason = ""
		}
	})
}

func (c *statusCell) park(reason string) {
	c.set(StateParked)
	c.change(func(s *Status) { s.Reason = reason })
}

func (c *statusCell) replay(next, end int64) { c.count(StateReplaying, next, end) }

// count says how far a long piece of work is.
func (c *statusCell) count(state State, done, total int64) {
	c.set(state)
	c.change(func(s *Status) {
		if s.Started.IsZero() {
			s.Started = c.now()
		}
		s.Done, s.Total = done, total
		if took := c.now().Sub(s.Started); done > 0 && total > done {
			s.ETA = time.Duration(float64(took) / float64(done) * float64(total-done)).Round(time.Second)
		}
	})
}

// progress copies the task's own figures.
func (c *statusCell) progress(r *runner) {
	position, decided, inFlight, lag := r.task.Applied(), r.task.Decided(), r.task.InFlight(), r.in.lag(r.task.Decided())
	c.change(func(s *Status) { s.Position, s.Decided, s.InFlight, s.Lag = position, decided, inFlight, lag })
}

// checkpoint says that the changelog has what the store had then.
func (c *statusCell) checkpoint(at time.Time) {
	c.change(func(s *Status) { s.Checkpoint = at })
}
