package quorum

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"time"
)

// Defaults and limits of a [Config].
const (
	DefaultID               = "registry-1"
	DefaultListen           = "127.0.0.1:0"
	DefaultHeartbeatTimeout = 500 * time.Millisecond
	DefaultSnapshotEvery    = 4096
	// ProposeTimeout bounds a proposal whose context has no deadline.
	ProposeTimeout = 30 * time.Second
	maxPeers       = 9
)

// Peer is a member of the quorum.
type Peer struct {
	ID      string
	Address string // host:port that other members reach it at
}

// Config of a [Node]. The zero value is a registry of one node, in memory of
// nobody else, on a free loopback port; only Dir and Topology must be given.
type Config struct {
	// ID names the node for ever; default "registry-1". A data directory
	// belongs to one ID.
	ID string
	// Dir holds log and snapshots. It is created if need be.
	Dir string
	// Listen is the address for other members; default 127.0.0.1:0, a free
	// port. A quorum needs fixed ones.
	Listen string
	// Advertise is what other members reach Listen at; default is Listen
	// itself.
	Advertise string
	// Peers are the first members, this node among them, told alike to each;
	// default this node alone. Only a node without data looks at it.
	Peers []Peer
	// Join are addresses of members to ask for admission, in place of Peers.
	Join []string
	// Restore is a backup file from which the registry is made, if there is
	// none yet.
	Restore string
	// TLS between members: certificate, roots, client roots. See [LoadTLS].
	// Without it only loopback addresses are taken.
	TLS *tls.Config
	// Topology is the frozen topology, canonical JSON (topology.Frozen). The
	// first node's is kept; a node with another one is refused.
	Topology []byte
	// Admin is the URL of this node's admin API, for others to find.
	Admin string

	// HeartbeatTimeout is how long a follower waits to hear from a leader
	// before it stands for election; default 500 ms. Less finds a dead leader
	// sooner, and takes a slow one for dead.
	HeartbeatTimeout time.Duration
	// SnapshotEvery is how many log entries make a snapshot; default 4096.
	// Less makes restarts shorter and writes more.
	SnapshotEvery uint64

	// Clock gives commands their time; default time.Now.
	Clock func() time.Time
	// Rand gives names and secrets their randomness; default crypto/rand.
	Rand io.Reader
	// Network is how members reach each other; default TCP.
	Network Network
	// Log is where the node writes; default slog.Default.
	Log *slog.Logger

	// stores replaces the disk, in tests.
	stores func(dir string) (*stores, error)
}

// Network is how members reach each other.
type Network interface {
	Listen(address string) (net.Listener, error)
	Dial(ctx context.Context, address string) (net.Conn, error)
}

// tcp is the network of the world.
type tcp struct{}

func (tcp) Listen(address string) (net.Listener, error) { return net.Listen("tcp", address) }

func (tcp) Dial(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}

// withDefaults fills in what was left out.
func (c Config) withDefaults() Config {
	if c.ID == "" {
		c.ID = DefaultID
	}
	if c.Listen == "" {
		c.Listen = DefaultListen
	}
	if c.HeartbeatTimeout == 0 {
		c.HeartbeatTimeout = DefaultHeartbeatTimeout
	}
	if c.SnapshotEvery == 0 {
		c.SnapshotEvery = DefaultSnapshotEvery
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Network == nil {
		c.Network = tcp{}
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}

// Validate names what is wrong with a config, by field.
func (c *Config) Validate() error {
	d := c.withDefaults()
	switch {
	case d.Dir == "" && d.stores == nil:
		return errors.New("registry config: Dir is missing")
	case len(d.Topology) == 0:
		return errors.New("registry config: Topology is missing")
	case len(d.Peers) > 0 && len(d.Join) > 0:
		return errors.New("registry config: Peers and Join are both set: a node founds a registry or joins one")
	case len(d.Peers) > maxPeers:
		return fmt.Errorf("registry config: %d Peers: at most %d; 3 or 5 is what helps", len(d.Peers), maxPeers)
	case len(d.Peers) > 0 && !slices.ContainsFunc(d.Peers, func(p Peer) bool { return p.ID == d.ID }):
		return fmt.Errorf("registry config: Peers does not name this node, %q", d.ID)
	case d.HeartbeatTimeout < 50*time.Millisecond || d.HeartbeatTimeout > time.Minute:
		return fmt.Errorf("registry config: HeartbeatTimeout %s: use 50ms to 1m", d.HeartbeatTimeout)
	case d.SnapshotEvery < 16:
		return fmt.Errorf("registry config: SnapshotEvery %d: at least 16", d.SnapshotEvery)
	}
	return d.validateTLS()
}

func (c *Config) validateTLS() error {
	if c.TLS == nil {
		if _, ours := c.Network.(tcp); ours && !loopback(c.Listen) {
			return fmt.Errorf("registry config: Listen %s is not loopback: set TLS", c.Listen)
		}
		return nil
	}
	if c.TLS.RootCAs == nil || c.TLS.ClientCAs == nil || len(c.TLS.Certificates) == 0 && c.TLS.GetCertificate == nil {
		return errors.New("registry config: TLS needs a certificate, RootCAs and ClientCAs: members prove themselves to each other")
	}
	return nil
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// LoadTLS reads a member's certificate and key, and the certificate of the
// authority that signs all members', from PEM files.
func LoadTLS(certFile, keyFile, authorityFile string) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("read registry certificate: %w", err)
	}
	authority, err := os.ReadFile(authorityFile)
	if err != nil {
		return nil, fmt.Errorf("read registry authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("read registry authority: no certificate in %s", authorityFile)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool, ClientCAs: pool}, nil
}
