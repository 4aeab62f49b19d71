package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/tidemarkio/tidemark/bench/child"
	"github.com/tidemarkio/tidemark/topology"
	"github.com/tidemarkio/tidemark/topology/registry/quorum"
)

// quorumConfig is a node's in this process.
func quorumConfig(id, dir string) (quorum.Config, error) {
	topo, err := topology.New(topology.Config{})
	if err != nil {
		return quorum.Config{}, err
	}
	return quorum.Config{ID: id, Dir: dir, Topology: topo.Frozen(), Log: slog.New(slog.DiscardHandler)}, nil
}

// local is a quorum of three in this process, on disk and over loopback.
type local struct{ nodes []*quorum.Node }

func openLocal(ctx context.Context, dir string) (l *local, err error) {
	l = &local{}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	at, err := localAddresses(3)
	if err != nil {
		return l, err
	}
	var peers []quorum.Peer
	for i, a := range at {
		peers = append(peers, quorum.Peer{ID: fmt.Sprint("n", i+1), Address: a})
	}
	for _, p := range peers {
		cfg, err := quorumConfig(p.ID, filepath.Join(dir, p.ID))
		if err != nil {
			return l, err
		}
		cfg.Listen, cfg.Peers = p.Address, peers
		n, err := quorum.Open(cfg)
		if err != nil {
			return l, err
		}
		l.nodes = append(l.nodes, n)
	}
	for _, n := range l.nodes {
		if err := n.Ready(ctx); err != nil {
			return l, err
		}
	}
	return l, l.calm(ctx)
}

// calm waits until the nodes have told of themselves, which are changes too.
func (l *local) calm(ctx context.Context) error {
	for {
		named := 0
		for range l.nodes[0].Model().Members() {
			named++
		}
		if named == len(l.nodes) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d nodes are known: %w", named, len(l.nodes), ctx.Err())
		case <-time.After(readyPoll):
		}
	}
}

// leader leads; follower is any other.
func (l *local) roles() (leader, follower *quorum.Node) {
	for _, n := range l.nodes {
		if leading, _ := n.Leading(); leading {
			leader = n
		} else {
			follower = n
		}
	}
	return leader, follower
}

func (l *local) close() (err error) {
	for _, n := range l.nodes {
		err = errors.Join(err, n.Close())
	}
	return err
}

// closing joins the error of a close with the one before it.
func closing(err error, f func() error) error {
	if e := f(); err == nil {
		return e
	}
	return err
}

// cpuOf is the CPU time that this process takes for f.
func cpuOf(f func() error) (time.Duration, error) {
	before, err := child.Of(os.Getpid())
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := child.Of(os.Getpid())
	return after.CPU - before.CPU, err
}
