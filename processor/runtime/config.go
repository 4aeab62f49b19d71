package runtime

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/state"
	"github.com/tidemarkio/tidemark/topology"
)

// Defaults and limits of a [Config].
const (
	DefaultGroup            = "processor" // behind the topic prefix
	DefaultStandbys         = 1
	DefaultAcceptableLag    = 1000
	DefaultCommitEvery      = 100 * time.Millisecond
	DefaultMarkerAfter      = time.Second
	DefaultFlushEvery       = 45 * time.Second
	DefaultCheckpointEvery  = 15 * time.Second
	DefaultSweepEvery       = 6 * time.Hour
	DefaultDrainTimeout     = 10 * time.Second
	DefaultSessionTimeout   = 10 * time.Second
	DefaultQueueBytesMax    = 2 << 20
	DefaultReadAheadBytes   = 4 << 20
	DefaultProducerBuffered = 20_000
)

// Config of a [Runtime]. The zero value of each optional field is usable.
type Config struct {
	// Client reaches the brokers: seed brokers, TLS, SASL, a dialer. Required.
	Client []kgo.Opt
	// Topology is the map. Required.
	Topology *topology.Topology
	// ClusterKey authenticates control records. Required (a zero key is a key).
	ClusterKey schemas.ClusterKey
	// Open opens the store of a partition; see [state.OpenTask]. Required.
	Open func(partition int32) (Store, error)
	// SetAside puts a partition's store away, unharmed, because it is older
	// than what the topics still hold; the next Open makes a new one. Required.
	SetAside func(partition int32) error

	// Group is the consumer group; default topic prefix + "processor".
	Group string
	// Member names this process to people and in balancing; default: the
	// client's own.
	Member string
	// Standbys is how many other members keep a partition's state warm;
	// default 1, -1 for none.
	Standbys int
	// AcceptableLag is how many positions a standby may be behind and still be
	// given a partition whose owner lives; default 1000.
	AcceptableLag int64
	// CommitEvery moves the group's offsets; default 100 ms.
	CommitEvery time.Duration
	// MarkerAfter is how long input rests before a progress marker; default 1 s.
	MarkerAfter time.Duration
	// FlushEvery flushes quiet stores; default 45 s.
	FlushEvery time.Duration
	// CheckpointEvery writes the partition's base; default 15 s.
	CheckpointEvery time.Duration
	// SweepEvery is how often changed counters go to the changelog; it must be
	// well within the oplog's retention; default 6 h.
	SweepEvery time.Duration
	// DrainTimeout bounds the wait for a warm standby when leaving; default 10 s.
	DrainTimeout time.Duration
	// SessionTimeout of the group: how fast a dead process is noticed; default
	// 10 s, at least the broker's minimum (6 s).
	SessionTimeout time.Duration
	// QueueBytesMax bounds the requests read ahead for one partition; default 2 MiB.
	// One that stands still is not read on past it.
	QueueBytesMax int
	// ReadAheadBytesMax bounds the requests read ahead for all partitions that
	// are not at their own bound, as long as no runner is without work; default
	// 4 MiB.
	ReadAheadBytesMax int

	// Now is the clock of presence and status; default time.Now. It decides
	// nothing that is written to the log.
	Now func() time.Time
	// Log is where to report; default slog.Default().
	Log *slog.Logger
	// Metrics receives the metrics; nil: none are registered.
	Metrics prometheus.Registerer
}

// Store is what a runner needs of a task's store; [state.Task] is one.
type Store interface {
	Position() state.Position
	Settings() []schemas.Change
	Original(key state.Hash, oldest, newest int64) (int64, error)
	Last(hash state.Hash, key []byte) (int64, error)
	Apply(*state.Batch) error

	// Restored reports whether the store is whole; a restore that was
	// interrupted left it in pieces, and must be begun again.
	Restored() bool
	// Restore begins a restore into the empty store.
	Restore() (Feed, error)
	// Swept is how far counters are saved in the changelog; SetSwept notes it.
	Swept() state.Sweep
	SetSwept(state.Sweep) error
	// SweepCounters visits up to max counters behind the key from that changed
	// after the position; next is nil at the end.
	SweepCounters(from []byte, max int, changedAfter int64, visit func(state.CounterPut) error) (next []byte, err error)
	Flush() error
	Close() error
}

// Feed takes the records of a restore, in any order but the end. Nothing
// counts before Finish has returned.
type Feed interface {
	Dedupe(state.DedupePut) error
	Counter(state.CounterPut) error // the largest id counts
	Finish(state.Position, []schemas.Change) error
}

func (c *Config) setDefaults() {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.CommitEvery, DefaultCommitEvery)
	def(&c.MarkerAfter, DefaultMarkerAfter)
	def(&c.FlushEvery, DefaultFlushEvery)
	def(&c.CheckpointEvery, DefaultCheckpointEvery)
	def(&c.SweepEvery, DefaultSweepEvery)
	def(&c.DrainTimeout, DefaultDrainTimeout)
	def(&c.SessionTimeout, DefaultSessionTimeout)
	if c.Standbys == 0 {
		c.Standbys = DefaultStandbys
	}
	c.Standbys = max(0, c.Standbys)
	if c.AcceptableLag == 0 {
		c.AcceptableLag = DefaultAcceptableLag
	}
	if c.QueueBytesMax == 0 {
		c.QueueBytesMax = DefaultQueueBytesMax
	}
	if c.ReadAheadBytesMax == 0 {
		c.ReadAheadBytesMax = DefaultReadAheadBytes
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
}

// Validate names the first thing that is wrong.
func (c *Config) Validate() error {
	switch {
	case len(c.Client) == 0:
		return errors.New("processor: Client is missing: say how to reach the brokers")
	case c.Topology == nil:
		return errors.New("processor: Topology is missing")
	case c.Open == nil || c.SetAside == nil:
		return errors.New("processor: Open or SetAside is missing: say where stores live")
	case c.SweepEvery > c.Topology.Window/2:
		return fmt.Errorf("processor: SweepEvery %s is over half of the dedupe window %s: counters could expire with the oplog before they are saved", c.SweepEvery, c.Topology.Window)
	}
	return nil
}
