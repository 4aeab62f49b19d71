package quorum

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// Status is what this node knows about itself and the quorum, without asking
// anybody.
func (n *Node) Status() registry.Status {
	m := n.Model()
	_, leader := n.raft.LeaderWithID()
	stats := n.raft.Stats()
	s := registry.Status{
		ID: n.cfg.ID, Address: n.address, State: strings.ToLower(n.raft.State().String()),
		Ready: leader != "" && m.Created() && n.failureNow() == nil,
		Term:  n.raft.CurrentTerm(), Leader: string(leader),
		CommitIndex: n.raft.CommitIndex(), AppliedIndex: n.raft.AppliedIndex(), LastIndex: n.raft.LastIndex(),
		SnapshotIndex:  number(stats["last_snapshot_index"]),
		LastContactAgo: n.contactAgo(),
		Revision:       m.Revision(), Applied: m.Applied(), Skipped: m.Skipped(),
		Publication: m.PublicationStatus(),
	}
	if m.Created() {
		c := m.Cluster()
		s.Cluster, s.ClusterKey, s.Topology = c.ID, c.Key.ID(), c.TopologyHash()
	}
	servers, _ := n.servers() // none while it closes
	for _, v := range servers {
		p := registry.PeerStatus{ID: string(v.ID), Address: string(v.Address), Voter: v.Suffrage == raft.Voter, Leader: v.ID == leader}
		if known := m.Member(p.ID); known != nil {
			p.Admin = known.Admin
		}
		s.Peers = append(s.Peers, p)
	}
	return s
}

func (n *Node) contactAgo() int64 {
	last := n.raft.LastContact()
	switch {
	case n.raft.State() == raft.Leader:
		return 0
	case last.IsZero():
		return -1
	}
	return time.Since(last).Milliseconds()
}

func number(s string) (v uint64) {
	for _, c := range s {
		if c < '0' || c > '9' {
			return 0
		}
		v = v*10 + uint64(c-'0')
	}
	return v
}

// peerTimeout is how long a member may take to say how it is.
const peerTimeout = time.Second

// QuorumStatus is Status with every other member asked how it is.
func (n *Node) QuorumStatus(ctx context.Context) registry.Status {
	s := n.Status()
	var asked sync.WaitGroup
	for i := range s.Peers {
		p := &s.Peers[i]
		if p.ID == s.ID {
			p.Reachable, p.Applied, p.LastContactAgo = true, s.Applied, s.LastContactAgo
			continue
		}
		asked.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, peerTimeout)
			defer cancel()
			them, err := n.ask(ctx, p.Address)
			if err != nil {
				p.Error = err.Error()
			} else {
				p.Reachable, p.Applied, p.LastContactAgo = true, them.Applied, them.LastContactAgo
			}
		})
	}
	asked.Wait()
	return s
}

// selfReport is what a member says when it is asked.
type selfReport struct {
	registry.Status
	Topology json.RawMessage `json:"frozenTopology"`
}

func (n *Node) serveStatus(context.Context, []byte) (any, error) {
	return selfReport{n.Status(), n.cfg.Topology}, nil
}

func (n *Node) ask(ctx context.Context, address string) (selfReport, error) {
	var r selfReport
	err := n.call(ctx, address, "status", nil, &r)
	return r, err
}

// peersOfLeader is the quorum's list as its leader has it.
func (n *Node) peersOfLeader(ctx context.Context) ([]registry.PeerStatus, error) {
	address, id := n.raft.LeaderWithID()
	switch id {
	case "":
		return nil, ErrNoLeader
	case raft.ServerID(n.cfg.ID):
		return n.Status().Peers, nil
	}
	r, err := n.ask(ctx, string(address))
	return r.Peers, err
}
