package embedded

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/tidemarkio/tidemark/cmd/node/embedded/guard"
	"github.com/tidemarkio/tidemark/topology"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// DefaultAddr is where Kafka's clients look first.
const DefaultAddr = "127.0.0.1:9092"

// Limits of the broker.
const (
	// MaxPartitions bounds the partitions that clients may create, all topics
	// together; the topics of the map come on top.
	MaxPartitions = 10_000
	// MaxGroups bounds the consumer groups that join or commit while the
	// process lives.
	MaxGroups = 10_000
	// MaxGroupMembers bounds one group.
	MaxGroupMembers = 1_000
	// MaxSegmentBytes is where a partition's file is closed and the next
	// begun: the grain of what a start reads at once, and of trimming.
	MaxSegmentBytes = 16 << 20
	// WarnBytes is the documented ceiling of all data; past it each check of
	// the sizes warns.
	WarnBytes = 10 << 30
	// WarnUncompactedBytes is the same for one topic that Kafka would compact
	// and that grows here for ever.
	WarnUncompactedBytes = 1 << 30
)

// Config of a [Broker]. The zero value keeps everything in memory and listens
// on [DefaultAddr].
type Config struct {
	// Dir holds the data and is made if missing; one process at a time may
	// have it. Empty: in memory, gone with the process (tests).
	Dir string
	// Addr to listen on and to advertise; default [DefaultAddr]. Loopback
	// only: the broker authenticates nobody. Port 0 takes a free one.
	Addr string
	// SyncWrites makes every batch survive a power cut, for about half the
	// throughput and several times the latency. Without it what was
	// acknowledged survives the process (kill -9), not the machine.
	SyncWrites bool
	// Logger for what an operator should know; default slog.Default().
	Logger *slog.Logger
	// Topics to create at the start, as EnsureTopics does.
	Topics []topology.Topic
	// Network, if set, replaces TCP by connections in memory, for
	// testing/synctest.
	Network *kfake.VirtualNetwork

	now func() time.Time // tests
}

// Validate fills in the defaults and names what is wrong.
func (c *Config) Validate() error {
	if c.Addr == "" {
		c.Addr = DefaultAddr
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.now == nil {
		c.now = time.Now
	}
	host, port, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return fmt.Errorf("address %q: %w", c.Addr, err)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("address %q: the port must be 0 to 65535", c.Addr)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("address %q: the embedded broker authenticates nobody and listens on loopback only (127.0.0.1, ::1, localhost); for other machines run a real Kafka and give its address with --brokers", c.Addr)
	}
	if c.SyncWrites && c.Dir == "" {
		return errors.New("synced writes need a directory to write to")
	}
	return nil
}

// Broker is a running broker of one node. Make it with [Start].
type Broker struct {
	cfg     Config
	cluster *kfake.Cluster
	ln      *guard.Listener
	lock    *dirLock

	mu     sync.Mutex
	topics map[string]topology.Topic // by name, that EnsureTopics made sure of

	stop   context.CancelFunc
	upkeep sync.WaitGroup
	once   sync.Once
}

// Start opens the directory, mends what a crash has left, and listens. When it
// returns, clients are served.
func Start(cfg Config) (*Broker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	b := &Broker{cfg: cfg, topics: make(map[string]topology.Topic)}
	if err := b.start(); err != nil {
		if b.lock != nil {
			b.lock.release()
		}
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	return b, nil
}

// Memory starts a broker in memory on a free port of loopback, for tests.
func Memory(topics ...topology.Topic) (*Broker, error) {
	return Start(Config{Addr: "127.0.0.1:0", Topics: topics, Logger: slog.New(slog.DiscardHandler)})
}

// Virtual starts a broker in memory that is reached without TCP, for tests in
// virtual time; [Broker.ClientOpts] has the way to it.
func Virtual(topics ...topology.Topic) (*Broker, error) {
	return Start(Config{Network: new(kfake.VirtualNetwork), Topics: topics, Logger: slog.New(slog.DiscardHandler)})
}

func (b *Broker) start() error {
	began := time.Now()
	crashed := false
	if b.cfg.Dir != "" {
		var err error
		if b.lock, err = lockDir(b.cfg.Dir, b.cfg.Addr); err != nil {
			return err
		}
		if crashed, err = mend(b.cfg.Dir, b.cfg.Logger); err != nil {
			return fmt.Errorf("mend %s after a crash: %w", b.cfg.Dir, err)
		}
	}
	ready := make(chan struct{})
	if err := b.open(ready); err != nil {
		return err
	}
	if err := b.begin(ready); err != nil {
		b.close()
		return err
	}
	b.cfg.Logger.Info("embedded broker ready", "kafka", b.Addr(), "dir", b.cfg.Dir, "fsync", b.cfg.SyncWrites,
		"afterCrash", crashed, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// open starts the cluster behind its guard, which lets nobody in yet.
func (b *Broker) open(ready <-chan struct{}) error {
	listen := func(network, _ string) (net.Listener, error) {
		l, err := b.listen(network)
		if err != nil {
			return nil, err
		}
		b.ln = guard.New(l, b.cfg.Logger, ready)
		return b.ln, nil
	}
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.ListenFn(listen),
		kfake.ClusterID(newClusterID()), // a directory's own comes first
		kfake.DefaultNumPartitions(topology.DefaultPartitions),
		kfake.MaxVersions(guard.Versions()),
		kfake.BrokerConfigs(settings),
		kfake.WithLogger(&logger{to: b.cfg.Logger}),
	}
	if b.cfg.Dir != "" {
		opts = append(opts, kfake.DataDir(b.cfg.Dir))
	}
	if b.cfg.SyncWrites {
		opts = append(opts, kfake.SyncWrites())
	}
	cluster, err := kfake.NewCluster(opts...)
	if err != nil {
		return err
	}
	b.cluster = cluster
	b.cluster.Fault(rules(b.cfg.Logger)...)
	return nil
}

// settings of the broker. Nobody can change them from outside.
var settings = map[string]string{
	"log.segment.bytes": strconv.Itoa(MaxSegmentBytes),
	// Its retention and compaction run on one ticker, whose period this is.
	// Both can lose data at a crash, so they never run; see trim.go.
	"log.cleaner.backoff.ms": strconv.FormatInt((10 * 365 * 24 * time.Hour).Milliseconds(), 10),
	"log.retention.ms":       "-1",
	"log.retention.bytes":    "-1",
	// A laptop that was off for a week keeps its consumer groups.
	"offsets.retention.minutes": "525600",
	"group.max.size":            strconv.Itoa(MaxGroupMembers),
}

func (b *Broker) listen(network string) (net.Listener, error) {
	if b.cfg.Network != nil {
		return b.cfg.Network.Listen(network, b.cfg.Addr)
	}
	l, err := net.Listen(network, b.cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("%w (another broker? choose another address with --kafka, or use that one with --brokers)", err)
	}
	return l, nil
}

// begin does what needs the cluster and must come before the first client.
func (b *Broker) begin(ready chan<- struct{}) error {
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	if err := b.EnsureTopics(ctx, b.cfg.Topics); err != nil {
		return err
	}
	if b.cfg.Dir != "" {
		if err := markRunning(b.cfg.Dir); err != nil {
			return err
		}
		b.upkeep.Go(func() { b.keepUp(ctx) })
	}
	close(ready)
	return nil
}

// Addr is where clients find the broker, host:port.
func (b *Broker) Addr() string { return b.ln.Addr().String() }

// ClientOpts is what a Kafka client needs to reach the broker.
func (b *Broker) ClientOpts() []kgo.Opt {
	opts := []kgo.Opt{kgo.SeedBrokers(b.Addr())}
	if b.cfg.Network != nil {
		opts = append(opts, kgo.Dialer(b.cfg.Network.DialContext))
	}
	return opts
}

// Cluster is the broker itself, for tests that make it fail.
func (b *Broker) Cluster() *kfake.Cluster { return b.cluster }

// Close refuses new work, saves the state of groups and producers and returns
// when every connection and goroutine of the broker has ended.
func (b *Broker) Close() error {
	b.once.Do(b.close)
	return nil
}

func (b *Broker) close() {
	if b.stop != nil {
		b.stop()
	}
	b.upkeep.Wait()
	b.cluster.Close()
	b.ln.Wait()
	if b.lock != nil {
		b.lock.release()
	}
}

// newClusterID is 16 random bytes as Kafka writes them.
func newClusterID() string {
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		panic(err) // documented never to happen
	}
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// syncDir makes renames and new files in a directory survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
