package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidemarkio/tidemark/bench/child"
)

// Time limits around a node.
const (
	readyLimit = time.Minute
	stopGrace  = 30 * time.Second
)

// The load's instance.
const (
	instanceID = "bench_APP1"
	clientKey  = "ck-bench"
	businesses = 4
)

func bizType(n int) string { return "BIZ_" + string(rune('A'+n)) }

func allBusinesses() string {
	var all []string
	for n := range businesses {
		all = append(all, bizType(n))
	}
	return strings.Join(all, ",")
}

// settings is the config file.
func settings() string {
	var b strings.Builder
	fmt.Fprintf(&b, "instances:\n  - id: %s\n    clientKey: %s\n    sync:\n", instanceID, clientKey)
	for n := range businesses {
		fmt.Fprintf(&b, "      - {bizType: %s, scope: specified, target: user, multiDevice: true, persistent: true, repush: {mode: queue}, online: true, description: benchmark}\n", bizType(n))
	}
	return b.String()
}

// node is `tidemark dev` as a child.
type node struct {
	child   *child.Child
	url     string
	brokers []string
}

// startNode runs the program on free ports until it is ready; brokers empty:
// on its embedded one.
func startNode(ctx context.Context, program, dir string, brokers []string) (*node, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(config, []byte(settings()), 0o600); err != nil {
		return nil, err
	}
	ports, err := freeAddresses(4)
	if err != nil {
		return nil, err
	}
	args := []string{"dev", "--data-dir", filepath.Join(dir, "data"), "--config", config, "--http", ports[0], "--admin", ports[1], "--native", ports[2]}
	n := &node{url: "http://" + ports[0], brokers: brokers}
	if len(brokers) > 0 {
		args = append(args, "--brokers", strings.Join(brokers, ","))
	} else {
		args = append(args, "--kafka", ports[3])
		n.brokers = ports[3:]
	}
	if n.child, err = child.Start(child.Config{Name: "tidemark dev", Path: program, Args: args, LogFile: filepath.Join(dir, "log")}); err != nil {
		return nil, err
	}
	if err := n.waitReady(ctx, "http://"+ports[1]+"/readyz"); err != nil {
		return nil, errors.Join(n.child.Explain(err), n.child.Kill())
	}
	return n, nil
}

func (n *node) waitReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if res, err := http.DefaultClient.Do(req); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-n.child.Done():
			return errors.New("tidemark ended while starting")
		case <-ctx.Done():
			return fmt.Errorf("tidemark is not ready: %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends the node in order.
func (n *node) stop() error { return errors.Join(n.child.Stop(stopGrace), n.child.Err()) }

// freeAddresses are loopback addresses that nobody listens on.
func freeAddresses(count int) ([]string, error) {
	var found []string
	for range count {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close() //nolint:errcheck // nothing was accepted; all are held until the last is found
		found = append(found, l.Addr().String())
	}
	return found, nil
}
