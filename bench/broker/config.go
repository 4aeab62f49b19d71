package broker

import (
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Defaults and limits of a [Config].
const (
	DefaultHeapMiB      = 768
	MinHeapMiB          = 256
	DefaultStartTimeout = 90 * time.Second
	// DefaultFetchTimeout is for 54 MB from Maven Central.
	DefaultFetchTimeout = 10 * time.Minute
)

// Config of a broker. The zero value is usable: one node, a temporary
// directory that goes when it is stopped.
type Config struct {
	// Nodes of the cluster, 1 or 3; default 1. With three, internal topics
	// have three replicas, of which two must be in sync.
	Nodes int
	// HeapMiB of each node's JVM; default 768. Less than 512 makes the
	// collector work for its living under load.
	HeapMiB int
	// Dir holds data and logs, and is kept. Default: a temporary directory,
	// removed by Stop, kept when the start failed.
	Dir string
	// Properties go into server.properties after ours and win.
	Properties map[string]string
	// CacheDir holds the jars. Default: .cache/ of the checkout that the
	// working directory is in, else tidemark/ in the user's cache directory.
	CacheDir string
	// StartTimeout bounds Start (without the fetch) and Restart; default 90 s.
	StartTimeout time.Duration
	// FetchTimeout bounds the fetch of the jars; default 10 min.
	FetchTimeout time.Duration
	// Progress gets a line about each long step; default os.Stderr.
	Progress io.Writer
}

// Validate reports the first field that cannot be used.
func (c *Config) Validate() error {
	switch {
	case c.Nodes != 0 && c.Nodes != 1 && c.Nodes != 3:
		return fmt.Errorf("broker: %d nodes: use 1 or 3", c.Nodes)
	case c.HeapMiB != 0 && c.HeapMiB < MinHeapMiB:
		return fmt.Errorf("broker: heap of %d MiB: Kafka needs at least %d", c.HeapMiB, MinHeapMiB)
	case c.StartTimeout < 0 || c.FetchTimeout < 0:
		return fmt.Errorf("broker: negative time limit")
	}
	return nil
}

func (c Config) withDefaults() (Config, error) {
	if err := c.Validate(); err != nil {
		return c, err
	}
	if c.Nodes == 0 {
		c.Nodes = 1
	}
	if c.HeapMiB == 0 {
		c.HeapMiB = DefaultHeapMiB
	}
	if c.StartTimeout == 0 {
		c.StartTimeout = DefaultStartTimeout
	}
	if c.FetchTimeout == 0 {
		c.FetchTimeout = DefaultFetchTimeout
	}
	if c.Progress == nil {
		c.Progress = os.Stderr
	}
	if c.CacheDir == "" {
		dir, err := DefaultCacheDir()
		if err != nil {
			return c, err
		}
		c.CacheDir = dir
	}
	return c, nil
}

// DefaultCacheDir is where jars are kept between runs: .cache/ of the checkout
// around the working directory, else tidemark/ in the user's cache directory
// ($XDG_CACHE_HOME on Linux).
func DefaultCacheDir() (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find cache directory: %w", err)
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(mod), "module github.com/tidemarkio/tidemark\n") {
			return filepath.Join(dir, ".cache"), nil
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	user, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find cache directory: %w", err)
	}
	return filepath.Join(user, "tidemark"), nil
}

// address of one node on loopback.
type address struct{ broker, controller int }

// properties is the text of a node's server.properties.
func (c *Config) properties(id int, all []address, data string) string {
	voters := make([]string, len(all))
	for i, a := range all {
		voters[i] = fmt.Sprintf("%d@127.0.0.1:%d", i+1, a.controller)
	}
	replicas, inSync := "1", "1"
	if c.Nodes == 3 {
		replicas, inSync = "3", "2"
	}
	self := all[id-1]
	p := map[string]string{
		"process.roles":                  "broker,controller",
		"node.id":                        strconv.Itoa(id),
		"controller.quorum.voters":       strings.Join(voters, ","),
		"listeners":                      fmt.Sprintf("BROKER://127.0.0.1:%d,CONTROLLER://127.0.0.1:%d", self.broker, self.controller),
		"advertised.listeners":           fmt.Sprintf("BROKER://127.0.0.1:%d", self.broker),
		"inter.broker.listener.name":     "BROKER",
		"controller.listener.names":      "CONTROLLER",
		"listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"log.dirs":                       data,

		"auto.create.topics.enable":  "false",
		"default.replication.factor": replicas,
		"min.insync.replicas":        inSync,

		"offsets.topic.replication.factor":                 replicas,
		"offsets.topic.num.partitions":                     "4",
		"transaction.state.log.replication.factor":         replicas,
		"transaction.state.log.min.isr":                    inSync,
		"transaction.state.log.num.partitions":             "4",
		"share.coordinator.state.topic.replication.factor": replicas,
		"share.coordinator.state.topic.min.isr":            inSync,

		// Tests are impatient: join at once, notice the dead soon.
		"group.initial.rebalance.delay.ms":         "0",
		"group.min.session.timeout.ms":             "6000",
		"group.consumer.min.session.timeout.ms":    "6000",
		"group.consumer.min.heartbeat.interval.ms": "1000",

		// A node that was killed is let in again only when its old session is
		// over, so restarts take at least this long. Much shorter, and a machine
		// busy with other things fences a node that is alive.
		"broker.session.timeout.ms":    "6000",
		"broker.heartbeat.interval.ms": "500",

		// A small machine with a small disk.
		"num.network.threads":             "2",
		"num.io.threads":                  "4",
		"log.cleaner.dedupe.buffer.size":  strconv.Itoa(32 << 20),
		"log.segment.delete.delay.ms":     "1000",
		"log.retention.check.interval.ms": "60000",
	}
	maps.Copy(p, c.Properties)
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(p)) {
		fmt.Fprintf(&b, "%s=%s\n", k, p[k])
	}
	return b.String()
}

// Ports are looked for in [portMin, portMax): below what systems use for
// outgoing connections (Linux from 32768, others from 49152).
const (
	portMin = 18000
	portMax = 32000
)

// lastPort is the port handed out last, less portMin, so that brokers that
// start side by side in one process do not get the same one. It begins
// elsewhere in each process.
var lastPort atomic.Int64

func init() { lastPort.Store(int64(os.Getpid()) * 16 % (portMax - portMin)) }

// FreePorts finds n loopback ports that nobody listens on and that no outgoing
// connection is given: who listens there can be killed and started again.
func FreePorts(n int) ([]int, error) {
	var found []int
	for range portMax - portMin {
		port := portMin + int(lastPort.Add(1)%(portMax-portMin))
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		if found = append(found, port); len(found) == n {
			return found, nil
		}
	}
	return nil, fmt.Errorf("find %d free ports on loopback between %d and %d: all taken", n, portMin, portMax)
}
