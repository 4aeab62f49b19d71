package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// raftTimeout is of one call between the ceiling's nodes.
const raftTimeout = 3 * time.Second

// ceiling is three nodes of hashicorp/raft over loopback without a state, whose
// log is an appended file with an fsync for each batch: what any registry that
// is made of them would cost at least. Its timing is that of package quorum.
type ceiling struct {
	nodes  []*raft.Raft
	trans  []*raft.NetworkTransport
	files  []*os.File
	leader *raft.Raft
}

// nothing is a state machine without a state.
type nothing struct{}

func (nothing) Apply(*raft.Log) any                 { return nil }
func (nothing) Snapshot() (raft.FSMSnapshot, error) { return nil, errors.New("there is no state") }
func (nothing) Restore(r io.ReadCloser) error       { return r.Close() }

// syncedLog keeps entries in memory once they are on disk.
type syncedLog struct {
	*raft.InmemStore
	f *os.File
}

// StoreLog keeps an entry.
func (s *syncedLog) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs keeps entries with one fsync.
func (s *syncedLog) StoreLogs(logs []*raft.Log) error {
	var b []byte
	for _, l := range logs {
		b = append(b, l.Data...)
	}
	if err := appendSynced(s.f, b); err != nil {
		return err
	}
	return s.InmemStore.StoreLogs(logs)
}

func openCeiling(ctx context.Context, dir string) (c *ceiling, err error) {
	c = &ceiling{}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return c, err
	}
	var members raft.Configuration
	for i := range 3 {
		t, err := raft.NewTCPTransport("127.0.0.1:0", nil, 3, raftTimeout, io.Discard)
		if err != nil {
			return c, err
		}
		c.trans = append(c.trans, t)
		members.Servers = append(members.Servers, raft.Server{ID: raft.ServerID(fmt.Sprint("c", i)), Address: t.LocalAddr()})
	}
	for i, t := range c.trans {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint("log-", i)))
		if err != nil {
			return c, err
		}
		c.files = append(c.files, f)
		cfg := raft.DefaultConfig()
		cfg.LocalID, cfg.Logger, cfg.NoLegacyTelemetry = members.Servers[i].ID, hclog.NewNullLogger(), true
		cfg.HeartbeatTimeout, cfg.ElectionTimeout, cfg.LeaderLeaseTimeout = 500*time.Millisecond, 500*time.Millisecond, 400*time.Millisecond
		cfg.CommitTimeout, cfg.MaxAppendEntries = 10*time.Millisecond, 32
		stable, snapshots := raft.NewInmemStore(), raft.NewDiscardSnapshotStore()
		log := &syncedLog{raft.NewInmemStore(), f}
		if err := raft.BootstrapCluster(cfg, log, stable, snapshots, t, members); err != nil {
			return c, err
		}
		n, err := raft.NewRaft(cfg, nothing{}, log, stable, snapshots, t)
		if err != nil {
			return c, err
		}
		c.nodes = append(c.nodes, n)
	}
	return c, c.elect(ctx)
}

func (c *ceiling) elect(ctx context.Context) error {
	for {
		for _, n := range c.nodes {
			if n.State() == raft.Leader && n.Barrier(raftTimeout).Error() == nil {
				c.leader = n
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the ceiling elects nobody: %w", ctx.Err())
		case <-time.After(readyPoll):
		}
	}
}

func (c *ceiling) apply(entry []byte) error { return c.leader.Apply(entry, raftTimeout).Error() }

func (c *ceiling) close() (err error) {
	var ends []raft.Future
	for _, n := range c.nodes {
		ends = append(ends, n.Shutdown())
	}
	for _, t := range c.trans {
		err = errors.Join(err, t.Close())
	}
	for _, f := range ends {
		err = errors.Join(err, f.Error())
	}
	for _, f := range c.files {
		err = errors.Join(err, f.Close())
	}
	return err
}
