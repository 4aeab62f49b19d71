package node

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/connectors/console"
	"github.com/tidemarkio/tidemark/connectors/ingress"
	"github.com/tidemarkio/tidemark/connectors/tenant"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology"
)

// Default addresses of a node.
const (
	DefaultHTTP   = "127.0.0.1:8080"
	DefaultAdmin  = "127.0.0.1:8081"
	DefaultNative = "127.0.0.1:8443"
	DefaultKafka  = "127.0.0.1:9092"
)

// Defaults of a [PushConfig].
const (
	// DefaultSignaturesMax is how many signatures of calls are remembered.
	DefaultSignaturesMax = ingress.DefaultReplaysMax
	// DefaultInFlightMax bounds the calls under way, DefaultBodyBytesMax the
	// bytes of their bodies, DefaultBodyTimeout how long one takes to arrive.
	DefaultInFlightMax  = ingress.DefaultInFlightMax
	DefaultBodyBytesMax = ingress.DefaultBodyBytesMax
	DefaultBodyTimeout  = ingress.DefaultBodyTimeout
)

// PushConfig says who may push and how much at once. The zero value of each
// field is its default.
type PushConfig struct {
	// Open lets callers from other machines push to instances without API keys;
	// else only who is on this one may.
	Open bool
	// InFlightMax, BodyBytesMax, BodyTimeout: see [ingress.Config].
	InFlightMax  int
	BodyBytesMax int64
	BodyTimeout  time.Duration
}

// Validate names the first thing that is wrong.
func (c *PushConfig) Validate() error {
	switch {
	case c.InFlightMax < 0:
		return errors.New("--push-in-flight-max cannot be negative")
	case c.BodyTimeout < 0:
		return errors.New("--push-body-timeout cannot be negative")
	case c.BodyBytesMax != 0 && c.BodyBytesMax < schemas.MaxRequestBytes:
		return fmt.Errorf("--push-body-bytes-max is %d: one body may have %d", c.BodyBytesMax, schemas.MaxRequestBytes)
	}
	return nil
}

// Config of a [Node]: `tidemark dev`, everything in one process.
type Config struct {
	// DataDir holds all state: broker, registry, stores, keys. Required.
	DataDir string
	// ConfigFile is applied at every start, without pruning; empty: none.
	ConfigFile string

	// HTTP is the public door, Admin the operators', Native the framed
	// protocol over TLS, Kafka the embedded broker. Port 0 takes a free one.
	HTTP, Admin, Native, Kafka string
	// Brokers uses that Kafka instead of the embedded broker.
	Brokers []string
	// Fsync makes the embedded broker survive a power cut, not only kill -9.
	Fsync bool

	// Registry is this node's place in the registry's quorum.
	Registry RegistryConfig
	// RegistryOnly runs the registry, its control records and the console, and
	// neither sync tasks nor doors: `tidemark registry run`. It needs Brokers.
	RegistryOnly bool
	// Topology is the map; its zero value the default one.
	Topology topology.Config
	// AdminToken is asked of every call of the admin API; empty: the API is
	// open, and then Admin must be loopback.
	AdminToken string
	// AdminPassword is the first console user's, where there is no user yet and
	// AdminToken is set; empty: one is thought of and shown once.
	AdminPassword string
	// OIDC is where console users may log in; nil: with passwords only.
	OIDC *console.OIDC
	// SecureCookies is for a proxy in front of Admin that ends TLS.
	SecureCookies bool
	// WatchersMax and RestoreMax are limits of the admin API; see
	// [console.Config].
	WatchersMax int
	RestoreMax  int64
	// Zone is where the console's dates are; default UTC.
	Zone *time.Location
	// PublicPlaintext allows plaintext HTTP on other addresses than loopback:
	// for a proxy in front that ends TLS.
	PublicPlaintext bool

	// Push is the push door.
	Push PushConfig
	// SignaturesMax bounds the signatures of calls that are remembered, and so
	// the signed calls in ten minutes; 0: [DefaultSignaturesMax].
	SignaturesMax int

	// DeviceCredentials is what devices have to show: off, issue (default: the
	// first connect gets a credential, a wrong one is refused, none is let in)
	// or require (none is refused too, once one was issued).
	DeviceCredentials tenant.Mode

	// CacheBytes is for the blocks of all stores; default as in package state.
	CacheBytes int64
	// MemoryBudget refuses to start when the stores may need more; 0: no
	// budget.
	MemoryBudget int64
	// CheckpointEvery, SweepEvery: see package runtime; zero: its defaults.
	CheckpointEvery, SweepEvery time.Duration
	// SessionTimeout of the consumer group; zero: default.
	SessionTimeout time.Duration
	// TickEvery is how often time is written to partitions with input; zero:
	// the publisher's default.
	TickEvery time.Duration

	// Trace says where traces of requests go.
	Trace TraceConfig

	// as says how a role reaches the broker, in tests of their rights; nil: all
	// roles as one.
	as func(role string) []kgo.Opt
	// bodyTimeout is how long bodies of calls may take to arrive where nothing
	// else is said; default [defaultBodyTimeout].
	bodyTimeout time.Duration

	// Version of the program, for metrics; default "dev".
	Version string
	// Now is the clock of health, metrics and the edge; default time.Now.
	Now func() time.Time
	// Log is where to report; default slog.Default().
	Log *slog.Logger
}

func (c *Config) setDefaults() {
	for _, d := range []struct {
		to    *string
		value string
	}{{&c.HTTP, DefaultHTTP}, {&c.Admin, DefaultAdmin}, {&c.Native, DefaultNative}, {&c.Kafka, DefaultKafka}} {
		if *d.to == "" {
			*d.to = d.value
		}
	}
	if c.DeviceCredentials == "" {
		c.DeviceCredentials = tenant.Issue
	}
	if c.Version == "" {
		c.Version = "dev"
	}
	if c.bodyTimeout == 0 {
		c.bodyTimeout = defaultBodyTimeout
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
	if c.DataDir == "" {
		return errors.New("data directory is missing: say --data-dir")
	}
	if err := c.Registry.Validate(); err != nil {
		return err
	}
	if c.RegistryOnly && len(c.Brokers) == 0 {
		return errors.New("a registry without sync tasks publishes to a Kafka that others share: say --brokers")
	}
	if c.Registry.shared() && len(c.Brokers) == 0 {
		return errors.New("several nodes share a registry, so they must share a Kafka: say --brokers")
	}
	if c.AdminToken == "" && !loopback(c.Admin) {
		return fmt.Errorf("admin address %s is not loopback: set --admin-token", c.Admin)
	}
	if !c.PublicPlaintext && (!loopback(c.HTTP) || !loopback(c.Admin)) {
		return fmt.Errorf("plaintext HTTP on %s or %s would leave this machine: listen on loopback behind a proxy that ends TLS, or say --plaintext", c.HTTP, c.Admin)
	}
	if err := c.Trace.Validate(); err != nil {
		return err
	}
	if c.SignaturesMax < 0 {
		return errors.New("--signatures-max cannot be negative")
	}
	if err := c.Push.Validate(); err != nil {
		return err
	}
	return c.DeviceCredentials.Check()
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

func (c *Config) dir(parts ...string) string {
	return filepath.Join(append([]string{c.DataDir}, parts...)...)
}

// brokerOpts reach an outside Kafka.
func (c *Config) brokerOpts() []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers(c.Brokers...)}
}

// Brokers takes a comma-separated list apart.
func Brokers(list string) []string {
	var all []string
	for b := range strings.SplitSeq(list, ",") {
		if b = strings.TrimSpace(b); b != "" {
			all = append(all, b)
		}
	}
	return all
}
