package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tidemarkio/tidemark/bench/child"
)

// Program is a tidemark to run.
type Program struct {
	Path string
	Args []string // come before the role: for a program that runs another
	Env  []string // added to our own
}

// MainEnv tells a test program that it is to be tidemark: see [Self].
const MainEnv = "TIDEMARK_E2E_MAIN"

// Self is this test program in the role of tidemark, built as the tests are
// (race detector and all). Its TestMain must call main when [MainEnv] is set.
// TIDEMARK_E2E_BINARY names another program to test.
func Self() Program {
	if path := os.Getenv("TIDEMARK_E2E_BINARY"); path != "" {
		return Program{Path: path}
	}
	return Program{Path: os.Args[0], Env: []string{MainEnv + "=1"}}
}

// ReadyMax is how long a start may take before it counts as failed: generous,
// for machines that are busy with other things.
const ReadyMax = 2 * time.Minute

// pollEvery is how often conditions outside of us are looked at.
const pollEvery = 10 * time.Millisecond

// Config of a [Node].
type Config struct {
	Program Program
	// Role is the command: dev, processor or "registry run".
	Role string
	// Dir holds the data directory, the settings and the log. Required.
	Dir string
	// Settings is the config file's text; dev only.
	Settings string
	// Brokers use that Kafka instead of the embedded broker.
	Brokers []string
	// Args come last and win.
	Args []string
}

// Node is a tidemark process on a directory and ports that stay its own, so
// that it can be started again.
type Node struct {
	cfg   Config
	child *child.Child
	from  int64 // where the log of the latest start begins

	HTTP, Admin, Native, Kafka string // host:port
}

// NewNode takes ports and writes the settings. Nothing runs yet.
func NewNode(cfg Config) (*Node, error) {
	n := &Node{cfg: cfg}
	if err := os.MkdirAll(n.DataDir(), 0o750); err != nil {
		return nil, err
	}
	for _, to := range []*string{&n.HTTP, &n.Admin, &n.Native, &n.Kafka} {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		*to = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	if len(cfg.Brokers) > 0 {
		n.Kafka = strings.Join(cfg.Brokers, ",")
	}
	if cfg.Settings == "" {
		return n, nil
	}
	return n, os.WriteFile(n.SettingsFile(), []byte(cfg.Settings), 0o600)
}

// DataDir, SettingsFile and LogFile are where the process keeps its things.
func (n *Node) DataDir() string      { return filepath.Join(n.cfg.Dir, "data") }
func (n *Node) SettingsFile() string { return filepath.Join(n.cfg.Dir, "settings.yaml") }
func (n *Node) LogFile() string      { return filepath.Join(n.cfg.Dir, "log.jsonl") }

// URL and AdminURL are the HTTP doors'.
func (n *Node) URL() string      { return "http://" + n.HTTP }
func (n *Node) AdminURL() string { return "http://" + n.Admin }

// Brokers are the Kafka's addresses.
func (n *Node) Brokers() []string { return strings.Split(n.Kafka, ",") }

func (n *Node) args() []string {
	args := slices.Concat(n.cfg.Program.Args, strings.Fields(n.cfg.Role))
	args = append(args, "--data-dir", n.DataDir(), "--admin", n.Admin, "--log-json")
	if n.cfg.Role == "dev" {
		args = append(args, "--http", n.HTTP, "--native", n.Native)
		if len(n.cfg.Brokers) == 0 {
			args = append(args, "--kafka", n.Kafka)
		}
		if n.cfg.Settings != "" {
			args = append(args, "--config", n.SettingsFile())
		}
	}
	if len(n.cfg.Brokers) > 0 {
		args = append(args, "--brokers", n.Kafka)
	}
	return append(args, n.cfg.Args...)
}

// Launch starts the process and does not wait for it.
func (n *Node) Launch() error {
	n.from = 0
	if st, err := os.Stat(n.LogFile()); err == nil {
		n.from = st.Size()
	}
	c, err := child.Start(child.Config{
		Name: "tidemark " + n.cfg.Role, Path: n.cfg.Program.Path, Env: n.cfg.Program.Env, Args: n.args(), LogFile: n.LogFile(),
	})
	n.child = c
	return err
}

// Start launches the process and waits until it is ready; took is the time
// that this needed.
func (n *Node) Start(ctx context.Context) (took time.Duration, err error) {
	if err := n.Launch(); err != nil {
		return 0, err
	}
	if err := n.WaitReady(ctx); err != nil {
		return 0, err
	}
	return time.Since(n.child.Began()), nil
}

// WaitReady waits until /readyz answers 200.
func (n *Node) WaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ReadyMax)
	defer cancel()
	for {
		last := n.Ready(ctx)
		if last == nil {
			return nil
		}
		select {
		case <-n.child.Done():
			return n.child.Explain(fmt.Errorf("tidemark %s ended while starting", n.cfg.Role))
		case <-ctx.Done():
			return n.child.Explain(fmt.Errorf("tidemark %s is not ready in time (%w): %w", n.cfg.Role, ctx.Err(), last))
		case <-time.After(pollEvery):
		}
	}
}

// Ready asks /readyz; the error is what it says else.
func (n *Node) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	status, body, err := get(ctx, n.AdminURL()+"/readyz")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("/readyz answers %d: %s", status, bytes.TrimSpace(body))
	}
	return err
}

// Status reads the admin API's status into to.
func (n *Node) Status(ctx context.Context, to any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, body, err := get(ctx, n.AdminURL()+"/api/v1/status")
	if err != nil {
		return err
	}
	return json.Unmarshal(body, to)
}

func get(ctx context.Context, url string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	body, err = io.ReadAll(res.Body)
	return res.StatusCode, body, err
}

// Kill ends the process with SIGKILL.
func (n *Node) Kill() error { return n.child.Kill() }

// Pause stops the process where it stands, Resume lets it go on.
func (n *Node) Pause() error  { return n.child.Signal(syscall.SIGSTOP) }
func (n *Node) Resume() error { return n.child.Signal(syscall.SIGCONT) }

// stopMax is how long a process may take over an orderly end.
const stopMax = time.Minute

// Stop asks the process to end (SIGTERM); the error says if it did not, or not
// with exit code 0.
func (n *Node) Stop() error {
	if err := n.child.Stop(stopMax); err != nil {
		return err
	}
	return n.child.Err()
}

// Done closes when the latest process has ended; Err says how.
func (n *Node) Done() <-chan struct{} { return n.child.Done() }
func (n *Node) Err() error            { return n.child.Err() }

// Explain adds the end of the process's log to an error.
func (n *Node) Explain(err error) error { return n.child.Explain(err) }

// LogLine is one line of the process's log.
type LogLine map[string]any

// Log gives the lines of the latest start that carry the message; empty: all.
func (n *Node) Log(msg string) ([]LogLine, error) {
	f, err := os.Open(n.LogFile())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Seek(n.from, io.SeekStart); err != nil {
		return nil, err
	}
	var found []LogLine
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l LogLine
		if json.Unmarshal(lines.Bytes(), &l) != nil {
			continue // half a line that a kill has left, or another program's
		}
		if msg == "" || l["msg"] == msg {
			found = append(found, l)
		}
	}
	return found, lines.Err()
}

// Replayed sums up, over the partitions, the records that the latest start has
// read again before its tasks were ready.
func (n *Node) Replayed() (map[int32]int64, error) {
	lines, err := n.Log("task ready")
	if err != nil {
		return nil, err
	}
	replayed := make(map[int32]int64)
	for _, l := range lines {
		p, ok1 := l["partition"].(float64)
		r, ok2 := l["records_replayed"].(float64)
		if !ok1 || !ok2 {
			return nil, fmt.Errorf("log line of a ready task without its figures: %v", l)
		}
		replayed[int32(p)] += int64(r)
	}
	return replayed, nil
}

// Ports are taken from below the range of outgoing connections, or one of
// those could take a port while its owner is down.
const portMin, portMax = 10000, 18000

var nextPort atomic.Int64

func init() { nextPort.Store(int64(os.Getpid()) * 8) }

func freePort() (int, error) {
	for range portMax - portMin {
		port := portMin + int(nextPort.Add(1)%(portMax-portMin))
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("no free port between %d and %d", portMin, portMax)
}

// FreeAddress is a loopback address that nobody listens on, for a listener
// that may go and come back.
func FreeAddress() (string, error) {
	port, err := freePort()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), err
}
