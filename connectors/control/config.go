package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/topology"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// Defaults of a [Config].
const (
	DefaultTick    = 10 * time.Second
	DefaultTickAll = time.Hour
)

// Registry is what the publisher needs of a registry node.
type Registry interface {
	// Now is the model as it is, and a channel that is closed when it changes.
	Now() (*registry.Model, <-chan struct{})
	// Leading reports whether this node leads, and gives a channel that is
	// closed when that changes.
	Leading() (bool, <-chan struct{})
	// Propose has a command applied.
	Propose(context.Context, registry.Command) (registry.Result, error)
}

// Config of a [Publisher]. Registry, Topology and Kafka must be given.
type Config struct {
	Registry Registry
	Topology *topology.Topology
	// Kafka says how to reach the brokers: seeds, TLS, SASL, dialer.
	Kafka []kgo.Opt
	// Tick is how often partitions that had input are told the time; default
	// 10 s. Less lets dedupe keys expire more exactly, which nobody needs.
	Tick time.Duration
	// TickAll is how often all partitions are; default an hour.
	TickAll time.Duration
	// Clock is where time comes from; default time.Now.
	Clock func() time.Time
	// Log is where the publisher writes; default slog.Default.
	Log *slog.Logger
}

// Validate names what is wrong with a config, by field.
func (c *Config) Validate() error {
	switch {
	case c.Registry == nil:
		return errors.New("control config: Registry is missing")
	case c.Topology == nil:
		return errors.New("control config: Topology is missing")
	case c.Tick < 0 || c.Tick > time.Hour:
		return fmt.Errorf("control config: Tick %s: up to an hour", c.Tick)
	case c.TickAll < 0 || c.TickAll > 0 && c.Tick > 0 && c.TickAll < c.Tick:
		return fmt.Errorf("control config: TickAll %s: not less than Tick, %s", c.TickAll, c.Tick)
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.Tick == 0 {
		c.Tick = DefaultTick
	}
	if c.TickAll == 0 {
		c.TickAll = max(DefaultTickAll, c.Tick)
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}
