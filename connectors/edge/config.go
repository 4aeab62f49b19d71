package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/state"
	"github.com/tidemarkio/tidemark/topology"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// Defaults and limits of a [Config].
const (
	DefaultEdgeID          = "edge"
	DefaultConnectionsMax  = 100_000
	DefaultHandshakesMax   = 256 // per processor
	DefaultTailBytes       = 4 << 20
	DefaultKeepAlive       = 20 * time.Second
	DefaultHeartbeat       = 30 * time.Second
	DefaultStallTimeout    = 90 * time.Second
	DefaultHelloTimeout    = 5 * time.Second
	DefaultAckTimeout      = 10 * time.Second
	DefaultValidateTimeout = 3 * time.Second
	DefaultDrainSpread     = 5 * time.Second

	// LeaseEvery and LeaseLength: an edge says every so often that its
	// sessions live, and is believed for so long.
	LeaseEvery  = time.Second
	LeaseLength = 5 * time.Second
	// AnnounceEvery is when every session is announced again: well within the
	// retention of the presence topic.
	AnnounceEvery = 20 * time.Minute

	// sendBufferBytes bounds what the kernel holds for a client that does not
	// read (it doubles the number).
	sendBufferBytes = 32 << 10
	// controlBytesMax bounds answers that wait for a client to read.
	controlBytesMax = 64 << 10
	// producerBufferedMax bounds acks and presence records on their way.
	producerBufferedMax = 100_000
	// pollRecordsMax bounds one batch: about a megabyte, far from a memtable.
	pollRecordsMax = 4096
	// inlineMax is how many records a poll may bring, and how many clients they
	// may be for, to be written to by the reader of the topics itself.
	inlineMax = 4
	// backlogMax is how many clients may wait for a flusher before the topics
	// are read on: what is not read yet waits in Kafka, not in memory.
	backlogMax = 8192
	// validationsMax bounds calls of Config.ValidateSession under way for one
	// instance: a tenant that does not answer makes no other one wait.
	validationsMax = 64
	// validateRetryMin and validateRetryMax bound the pause, in seconds, before
	// a tenant is asked again that did not answer; each is twice the one before,
	// and by chance down to half of it.
	validateRetryMin = 2
	validateRetryMax = 60
	// tokenMax bounds a sessionId, in characters, where it is a token (JWT).
	tokenMax = 4 << 10
	// sweepKeys is how many keys a sweep looks at each second.
	sweepKeys = 2000
	// flushQuietEvery is how often a quiet view is asked to flush.
	flushQuietEvery = time.Minute
)

// ErrLater is for errors that are no fault of the client's, and pass: a tenant
// that does not answer, a topic that cannot be written.
var ErrLater = errors.New("try again later")

// Login is a user's session as the tenant is asked about it.
type Login struct {
	InstanceID string
	UserID     string
	SessionID  string
}

// Config of a [Server]. The zero value of each optional field is usable.
type Config struct {
	// Client reaches the brokers: seed brokers, TLS, SASL, a dialer. Required.
	Client []kgo.Opt
	// Topology is the map. Required.
	Topology *topology.Topology
	// Shared is what all stores of the process have in common. Required.
	Shared *state.Shared
	// Dir is where the views live, a directory each. Required.
	Dir string
	// FS is the file system; default the operating system's.
	FS vfs.FS
	// Settings gives the registry's current settings. Required.
	Settings func() *registry.Settings
	// SettingsChanged gets a token when Settings has changed; several changes
	// may make one token. Nil: settings are looked at when clients connect.
	SettingsChanged <-chan struct{}

	// Authenticate checks an instance's client key, in constant time. Required.
	Authenticate func(instanceID, clientKey string) bool
	// ValidateSession asks the tenant whether a user's session is valid. It is
	// called at connect and bind, with a time-out in its context; an error
	// counts as not valid. After one that is [ErrLater] it is called again
	// while the client is connected and something hangs on the answer. Nil:
	// nobody is asked, and businesses with the consistency switch are not
	// pushed.
	ValidateSession func(ctx context.Context, l Login) (valid bool, err error)
	// AdmitUser checks the proof that a client is its user: the token is in
	// SessionID. It is called before a user is bound, with a time-out in its
	// context. The user is unbound when the proof ends, at until; zero: it does
	// not. An error refuses the client, which is told its text, or with
	// [ErrLater] to come back. Nil: clients are who they say.
	AdmitUser func(ctx context.Context, l Login) (until time.Time, err error)
	// UsesTokens reports that an instance's users are proven by tokens: then a
	// sessionId may be as long as one. Nil: none are.
	UsesTokens func(instanceID string) bool
	// AdmitDevice checks a device's credential, or issues one at its first
	// connect. An error refuses the device, as with AdmitUser. Nil: devices are
	// what they say.
	AdmitDevice func(ctx context.Context, instanceID, deviceID, credential string) (issued string, err error)

	// EdgeID names this process in the presence topic; default "edge". It
	// must be unique among edges, and should outlive a restart.
	EdgeID string
	// Native accepts native sessions over TCP; the caller puts TLS around it.
	// Nil: none.
	Native net.Listener
	// PublicAddress and NativeAddress are what GET /route tells clients.
	PublicAddress, NativeAddress string

	// ConnectionsMax bounds the connections; default 100,000. One more is
	// refused, none is closed for it.
	ConnectionsMax int
	// HandshakesMax bounds connections being set up; default 256 per
	// processor. Past it a client is told when to come back: more at once
	// would make everybody wait, not go faster.
	HandshakesMax int
	// TailBytes bounds the newest entries kept in memory, per partition;
	// default 4 MiB. Less means reading the view for clients that are a bit
	// behind, and a shorter memory for non-persistent entries.
	TailBytes int
	// KeepAlive is how long an SSE stream stays silent; default 20 s.
	KeepAlive time.Duration
	// Heartbeat is how long a native client stays silent; default 30 s. After
	// two and a half times as long it is closed.
	Heartbeat time.Duration
	// StallTimeout is how long a client's socket may take nothing; default
	// 90 s, which rides out a tunnel.
	StallTimeout time.Duration
	// HelloTimeout is how long a native client may take for its hello; default 5 s.
	HelloTimeout time.Duration
	// AckTimeout is how long POST /sync/ack waits for the acks topic; default 10 s.
	AckTimeout time.Duration
	// ValidateTimeout bounds a call of ValidateSession; default 3 s.
	ValidateTimeout time.Duration
	// DrainSpread is over how long clients are told to reconnect when the
	// server stops; default 5 s.
	DrainSpread time.Duration

	// Trace begins the spans of pushes and acknowledgements; nil: none.
	Trace Trace
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Log is where to report; default slog.Default().
	Log *slog.Logger
	// Metrics receives the metrics; nil: none are registered.
	Metrics prometheus.Registerer
}

func (c Config) withDefaults() Config {
	setDefault(&c.EdgeID, DefaultEdgeID)
	setDefault(&c.ConnectionsMax, DefaultConnectionsMax)
	setDefault(&c.HandshakesMax, DefaultHandshakesMax*runtime.GOMAXPROCS(0))
	setDefault(&c.TailBytes, DefaultTailBytes)
	setDefault(&c.KeepAlive, DefaultKeepAlive)
	setDefault(&c.Heartbeat, DefaultHeartbeat)
	setDefault(&c.StallTimeout, DefaultStallTimeout)
	setDefault(&c.HelloTimeout, DefaultHelloTimeout)
	setDefault(&c.AckTimeout, DefaultAckTimeout)
	setDefault(&c.ValidateTimeout, DefaultValidateTimeout)
	setDefault(&c.DrainSpread, DefaultDrainSpread)
	setDefault(&c.FS, vfs.Default)
	setDefault(&c.Log, slog.Default())
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate names the first thing that is wrong.
func (c *Config) Validate() error {
	switch {
	case len(c.Client) == 0:
		return errors.New("edge: Client is missing: say how to reach the brokers")
	case c.Topology == nil:
		return errors.New("edge: Topology is missing")
	case c.Shared == nil:
		return errors.New("edge: Shared is missing: make one with state.NewShared")
	case c.Dir == "":
		return errors.New("edge: Dir is missing: views need a directory")
	case c.Settings == nil:
		return errors.New("edge: Settings is missing")
	case c.Authenticate == nil:
		return errors.New("edge: Authenticate is missing: say which client keys are right")
	}
	for name, d := range map[string]time.Duration{
		"KeepAlive": c.KeepAlive, "Heartbeat": c.Heartbeat, "StallTimeout": c.StallTimeout, "HelloTimeout": c.HelloTimeout,
		"AckTimeout": c.AckTimeout, "ValidateTimeout": c.ValidateTimeout, "DrainSpread": c.DrainSpread,
	} {
		if d < 0 {
			return fmt.Errorf("edge: %s of %s cannot be negative", name, d)
		}
	}
	if c.ConnectionsMax < 0 || c.HandshakesMax < 0 || c.TailBytes < 0 {
		return errors.New("edge: ConnectionsMax, HandshakesMax and TailBytes cannot be negative")
	}
	return nil
}
