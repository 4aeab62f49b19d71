package quorum

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// announceEvery is how soon a node that could not announce itself tries again.
const announceEvery = time.Second

// followLeadership keeps what this node knows of leaders, its own leadership
// and others', and wakes who waits for a change.
func (n *Node) followLeadership() {
	seen := make(chan raft.Observation, 16)
	observer := raft.NewObserver(seen, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.LeaderObservation, raft.RaftState:
			return true
		}
		return false
	})
	n.raft.RegisterObserver(observer)
	defer n.raft.DeregisterObserver(observer)
	// Observations may be missed when they come too fast; Raft's own channel
	// always has the latest.
	for {
		if n.raft.State() == raft.Leader && n.leadTerm() != n.raft.CurrentTerm() {
			n.takeLead()
		} else if n.raft.State() != raft.Leader {
			n.setLead(false, 0)
		}
		n.wake()
		select {
		case <-seen:
		case <-n.raft.LeaderCh():
		case <-n.poke:
		case <-n.ctx.Done():
			n.setLead(false, 0)
			return
		}
	}
}

// wake tells who waits for a leader to look again.
func (n *Node) wake() {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *Node) leaderChanged() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changed
}

// takeLead makes sure that the model is whole before the node says that it
// leads: all that earlier leaders committed is applied when a barrier passes.
func (n *Node) takeLead() {
	term := n.raft.CurrentTerm()
	n.setLead(false, 0)
	if err := n.raft.Barrier(raftTimeout).Error(); err != nil {
		n.log.Debug("registry: lost the lead before it began", "term", term, "error", err)
		n.again()
		return
	}
	if n.raft.CurrentTerm() != term || n.raft.State() != raft.Leader {
		return
	}
	if err := n.found(); err != nil {
		if !errors.Is(err, ErrClosed) {
			n.log.Warn("registry: cannot create the registry yet", "error", err)
		}
		n.again()
		return
	}
	n.setLead(true, term)
	n.log.Info("registry: leading", "term", term, "revision", n.Model().Revision())
	n.spawn(n.moveTo)
}

// again has followLeadership look once more, a little later.
func (n *Node) again() {
	n.spawn(func() {
		if n.sleep(n.cfg.HeartbeatTimeout) != nil {
			return
		}
		select {
		case n.poke <- struct{}{}:
		default:
		}
	})
}

// sleep waits, unless the node closes.
func (n *Node) sleep(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-n.ctx.Done():
		return ErrClosed
	}
}

// found makes the registry, if this is the first leader that it ever has.
func (n *Node) found() error {
	if n.Model().Created() {
		return nil
	}
	if n.cfg.Restore != "" {
		f, err := os.Open(n.cfg.Restore)
		if err != nil {
			return fmt.Errorf("restore registry: %w", err)
		}
		defer f.Close()
		return n.restore(n.ctx, f, n.applyHere, "registry", "")
	}
	create := registry.Create{Topology: n.cfg.Topology}
	id, err := n.random(8)
	create.ID = id
	for _, secret := range []*registry.Hash{&create.ClusterKey, &create.Pepper} {
		if _, e := io.ReadFull(n.cfg.Rand, secret[:]); e != nil && err == nil {
			err = e
		}
	}
	if err != nil {
		return err
	}
	r, err := n.applyHere(n.ctx, registry.Command{Actor: "registry", Ops: []registry.Op{create}})
	if err == nil {
		err = r.Err()
	}
	return err
}

// moveTo puts this leader's address right in the quorum's list: a node alone
// may get another port at each start.
func (n *Node) moveTo() {
	servers, err := n.servers()
	if err != nil {
		return
	}
	for _, s := range servers {
		if s.ID == raft.ServerID(n.cfg.ID) && s.Address != raft.ServerAddress(n.address) && s.Suffrage == raft.Voter {
			if err := n.raft.AddVoter(s.ID, raft.ServerAddress(n.address), 0, raftTimeout).Error(); err != nil {
				n.log.Warn("registry: cannot change this node's address", "from", s.Address, "to", n.address, "error", err)
			}
		}
	}
}

// announce tells the registry about this node, when that is new or changed.
func (n *Node) announce() {
	self := registry.Member{ID: n.cfg.ID, Address: n.address, Admin: n.cfg.Admin, Version: registry.ModelVersion}
	for {
		m, err := n.until(n.ctx, func(m *registry.Model) bool {
			known := m.Member(self.ID)
			return m.Created() && (known == nil || *known != self)
		})
		if err != nil || n.topologyFits(m) != nil {
			return // closing, or giving up
		}
		if err := n.announceOnce(self); err != nil {
			n.log.Debug("registry: cannot announce this node yet", "error", err)
		}
		if n.sleep(announceEvery) != nil {
			return
		}
	}
}

// announceOnce proposes what this node is. A node that was removed does not
// know it, so the leader's list is asked.
func (n *Node) announceOnce(self registry.Member) error {
	ctx, cancel := context.WithTimeout(n.ctx, ProposeTimeout)
	defer cancel()
	peers, err := n.peersOfLeader(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(peers, func(p registry.PeerStatus) bool { return p.ID == self.ID }) {
		return errors.New("this node is not a member")
	}
	_, err = n.Propose(ctx, registry.Command{Actor: self.ID, Ops: []registry.Op{registry.Announce{Member: self}}})
	return err
}
