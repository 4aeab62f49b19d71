package console

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// Defaults of a [Config].
const (
	DefaultPublishTimeout = 10 * time.Second
	DefaultProposeTimeout = 15 * time.Second
)

// Registry is what the console needs of a registry node.
type Registry interface {
	// Now is the model as this node has it, and a channel that is closed when
	// it gets a newer one.
	Now() (*registry.Model, <-chan struct{})
	// Read gives a model that holds all that was answered before.
	Read(context.Context) (*registry.Model, error)
	// Propose has a command applied.
	Propose(context.Context, registry.Command) (registry.Result, error)
	// QuorumStatus asks every member how it is.
	QuorumStatus(context.Context) registry.Status
}

// Config of a [Console]. Registry must be given.
type Config struct {
	Registry Registry
	// Members changes the quorum; nil: not from here.
	Members Members
	// WaitPublished waits until settings of a revision are in the log of every
	// partition; default: changes answer without waiting.
	WaitPublished func(ctx context.Context, revision int64) error
	// Authorize says who calls without a login session, or why they may not;
	// default [OpenOnLoopback].
	Authorize Authorize
	// Stats, Sender, Redeliverer, Tail and Live reach the rest of the node; nil: what needs
	// them answers 503.
	Stats       Stats
	Sender      Sender
	Redeliverer Redeliverer
	Tail        Tail
	Live        Live
	// OIDC lets users log in at an OpenID Connect provider; nil: with a
	// password only.
	OIDC *OIDC
	// SecureCookies marks cookies for TLS even where TLS ends in a proxy.
	SecureCookies bool
	// Zone is where dates in filters and exports are; default UTC (spec D28).
	Zone *time.Location
	// PublishTimeout is how long a change waits to be in force before the
	// answer is 202; default 10 s.
	PublishTimeout time.Duration
	// ProposeTimeout is how long a change may take in the registry; default 15 s.
	ProposeTimeout time.Duration
	// WatchersMax bounds the watchers that are open at the same time; default
	// [DefaultWatchersMax]. Each takes a connection and a goroutine.
	WatchersMax int
	// RestoreMax bounds a backup that is restored over the API, bytes; default,
	// and at most, [registry.MaxRestoreBytes].
	RestoreMax int64
	// Clock is where time comes from; default time.Now.
	Clock func() time.Time
	// Rand gives commands their names; default crypto/rand.
	Rand io.Reader
	// Log is where the console writes; default slog.Default.
	Log *slog.Logger
}

// Validate names what is wrong with a config, by field.
func (c *Config) Validate() error {
	switch {
	case c.Registry == nil:
		return errors.New("console config: Registry is missing")
	case c.PublishTimeout < 0 || c.ProposeTimeout < 0:
		return errors.New("console config: PublishTimeout and ProposeTimeout are not negative")
	case c.WatchersMax < 0:
		return errors.New("console config: WatchersMax is not negative")
	case c.RestoreMax < 0 || c.RestoreMax > registry.MaxRestoreBytes:
		return fmt.Errorf("console config: RestoreMax is 0 to %d", registry.MaxRestoreBytes)
	}
	if c.OIDC != nil {
		return c.OIDC.Validate()
	}
	return nil
}

// Console is the admin API and the operators' pages.
type Console struct {
	cfg      Config
	handler  http.Handler
	throttle *throttle
	failed   budget        // of records
	hashing  chan struct{} // one slot for each password being hashed
	over     *overSessions
	tails    chan struct{}   // one slot for each open stream of figures or entries
	watchers chan struct{}   // one slot for each open watch
	moving   chan struct{}   // one slot for each backup or restore under way
	stopping context.Context // ended by Close
	stop     func()

	heartbeat   time.Duration // of watchers; tests have less
	streamWrite time.Duration // how long an event may take to leave; tests have less
}

// New makes a console.
func New(cfg Config) (*Console, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Authorize == nil {
		cfg.Authorize = OpenOnLoopback
	}
	if cfg.WaitPublished == nil {
		cfg.WaitPublished = func(context.Context, int64) error { return nil }
	}
	if cfg.PublishTimeout == 0 {
		cfg.PublishTimeout = DefaultPublishTimeout
	}
	if cfg.ProposeTimeout == 0 {
		cfg.ProposeTimeout = DefaultProposeTimeout
	}
	if cfg.WatchersMax == 0 {
		cfg.WatchersMax = DefaultWatchersMax
	}
	if cfg.RestoreMax == 0 {
		cfg.RestoreMax = registry.MaxRestoreBytes
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Zone == nil {
		cfg.Zone = time.UTC
	}
	c := &Console{
		cfg: cfg, throttle: newThrottle(), hashing: make(chan struct{}, hashesMax), over: newOverSessions(),
		tails: make(chan struct{}, StreamsMax), watchers: make(chan struct{}, cfg.WatchersMax), moving: make(chan struct{}, transfersMax),
		heartbeat: watchHeartbeat, streamWrite: streamWrite,
	}
	c.stopping, c.stop = context.WithCancel(context.Background())
	mux := http.NewServeMux()
	for _, r := range c.routes() {
		mux.HandleFunc(r.Method+" "+r.Path, c.serve(r))
	}
	c.addPages(mux)
	c.handler = guardHeaders(http.NewCrossOriginProtection().Handler(mux))
	return c, nil
}

// Close ends the streams that are open; the handler goes on to answer.
func (c *Console) Close() { c.stop() }

// Handler serves everything under /api/, and the pages.
func (c *Console) Handler() http.Handler { return c.handler }
