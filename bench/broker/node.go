package broker

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/tidemarkio/tidemark/bench/child"
)

//go:embed log4j2.properties
var logConfig []byte

// stopGrace is how long a node may take over an orderly end.
const stopGrace = 20 * time.Second

// Node is one Kafka process, broker and controller in one.
type Node struct {
	id    int
	dir   string
	addr  string
	jars  string
	heap  int
	spent time.Duration // CPU of earlier processes of this node

	mu    sync.Mutex
	child *child.Child // nil before the first start
}

// Addr is where the node listens.
func (n *Node) Addr() string { return n.addr }

// LogFile holds what the node printed, over all its restarts.
func (n *Node) LogFile() string { return filepath.Join(n.dir, "kafka.log") }

// PID of the node's latest process.
func (n *Node) PID() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.child.PID()
}

// prepare writes the node's configuration and formats its directory.
func (n *Node) prepare(ctx context.Context, cluster, properties string) error {
	if err := os.MkdirAll(n.dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(n.file("server.properties"), []byte(properties), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(n.file("log4j2.properties"), logConfig, 0o644); err != nil {
		return err
	}
	if _, err := os.Stat(n.file("data/meta.properties")); err == nil {
		return nil // formatted by an earlier start in the same Dir
	}
	java, err := javaPath()
	if err != nil {
		return err
	}
	format := exec.CommandContext(ctx, java, "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", n.logging(), "-cp", n.jars+"/*",
		"kafka.tools.StorageTool", "format", "-t", cluster, "-c", n.file("server.properties"))
	out, err := format.CombinedOutput()
	if err != nil {
		return fmt.Errorf("format node %d: %w\n%s", n.id, err, bytes.TrimSpace(out))
	}
	return nil
}

func (n *Node) file(name string) string { return filepath.Join(n.dir, name) }

func (n *Node) logging() string { return "-Dlog4j2.configurationFile=" + n.file("log4j2.properties") }

func javaPath() (string, error) {
	java, err := exec.LookPath("java")
	if err != nil {
		return "", fmt.Errorf("java is not installed; Kafka %s needs Java 17 or newer (Debian: apt-get install openjdk-17-jre-headless): %w", Version, err)
	}
	return java, nil
}

// start runs the node's process; it does not wait until it answers. The
// collector's settings are those of Kafka's own start script.
func (n *Node) start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	java, err := javaPath()
	if err != nil {
		return err
	}
	heap := strconv.Itoa(n.heap)
	c, err := child.Start(child.Config{
		Name: "Kafka node " + strconv.Itoa(n.id),
		Path: java,
		Args: []string{
			"-Xms" + heap + "m", "-Xmx" + heap + "m", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
			"-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent", "-Djava.awt.headless=true",
			n.logging(), "-cp", n.jars + "/*", "kafka.Kafka", n.file("server.properties"),
		},
		LogFile: n.LogFile(),
	})
	if err != nil {
		return err
	}
	if n.child != nil {
		if u, err := n.child.Usage(); err == nil {
			n.spent += u.CPU
		}
	}
	n.child = c
	return nil
}

func (n *Node) current() *child.Child {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.child
}

// Kill ends the node with SIGKILL, paused or not.
func (n *Node) Kill() error { return n.current().Kill() }

// Pause stops the node where it stands (SIGSTOP): its connections stay open
// and silent.
func (n *Node) Pause() error { return n.current().Signal(syscall.SIGSTOP) }

// Resume lets a paused node go on (SIGCONT).
func (n *Node) Resume() error { return n.current().Signal(syscall.SIGCONT) }

// Stop ends the node in order (SIGTERM), resuming it first if it was paused.
func (n *Node) Stop() error {
	if err := n.Resume(); err != nil {
		return err
	}
	return n.current().Stop(stopGrace)
}

// Restart ends the node, if it runs, with SIGKILL and starts it again on the
// same data and ports. It does not wait until the node answers: see
// [Broker.WaitReady].
func (n *Node) Restart() error {
	if err := n.Kill(); err != nil {
		return err
	}
	return n.start()
}

// Usage is what the node has used, CPU over all its restarts, memory in the
// latest.
func (n *Node) Usage() (child.Usage, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	u, err := n.child.Usage()
	u.CPU += n.spent
	return u, err
}
