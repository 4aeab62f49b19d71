package quorum

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// Who says who asked for a change of the quorum.
type Who struct {
	Actor  string `json:"actor"`
	Source string `json:"source,omitempty"`
}

// memberCall asks the leader for a change of the quorum.
type memberCall struct {
	Do      string `json:"do"` // join, remove, transfer
	ID      string `json:"id"`
	Address string `json:"address,omitempty"`
	Who
}

type memberReply struct {
	Error   string `json:"error,omitempty"`
	Foreign bool   `json:"foreign,omitempty"` // the error is a [foreignError]
}

// foreignError says that a node is of another topology: asking again is in
// vain.
type foreignError struct{ reason string }

func (e *foreignError) Error() string { return e.reason }

// catchUpTimeout is how long a new member may take to get the registry before
// it is given a vote.
const catchUpTimeout = 2 * time.Minute

// Join takes a node into the quorum, whichever node this is called on. The new
// node must run already, with Config.Join set or no data; it gets a vote once
// it has caught up.
func (n *Node) Join(ctx context.Context, id, address string, who Who) error {
	return n.member(ctx, memberCall{Do: "join", ID: id, Address: address, Who: who})
}

// Remove takes a node out of the quorum.
func (n *Node) Remove(ctx context.Context, id string, who Who) error {
	return n.member(ctx, memberCall{Do: "remove", ID: id, Who: who})
}

// Transfer gives leadership to a member; an empty id leaves the choice to Raft.
func (n *Node) Transfer(ctx context.Context, id string, who Who) error {
	return n.member(ctx, memberCall{Do: "transfer", ID: id, Who: who})
}

func (n *Node) member(ctx context.Context, c memberCall) error {
	address, id := n.raft.LeaderWithID()
	if id == "" {
		return fmt.Errorf("%s registry member: %w", c.Do, errNoLeader)
	}
	if id == raft.ServerID(n.cfg.ID) {
		return n.change(ctx, c)
	}
	return n.memberAt(ctx, string(address), c)
}

func (n *Node) memberAt(ctx context.Context, address string, c memberCall) error {
	body, err := json.Marshal(&c)
	if err != nil {
		return err
	}
	var reply memberReply
	if err := n.call(ctx, address, "member", body, &reply); err != nil {
		return err
	}
	switch {
	case reply.Foreign:
		return &foreignError{reply.Error}
	case reply.Error != "":
		return errors.New(reply.Error)
	}
	return nil
}

// serveMember makes a change that another member, or a node that wants to be
// one, asks for; a follower passes it on.
func (n *Node) serveMember(ctx context.Context, body []byte) (any, error) {
	c, err := unmarshal[memberCall](body)
	if err != nil {
		return nil, err
	}
	if err := n.member(ctx, c); err != nil {
		var foreign *foreignError
		return memberReply{err.Error(), errors.As(err, &foreign)}, nil
	}
	return memberReply{}, nil
}

// change makes a change of the quorum, on its leader.
func (n *Node) change(ctx context.Context, c memberCall) error {
	if n.leadTerm() == 0 {
		return errNoLeader
	}
	switch c.Do {
	case "join":
		return n.admit(ctx, c)
	case "remove":
		return n.remove(ctx, c)
	case "transfer":
		return n.transfer(ctx, c)
	}
	return fmt.Errorf("registry member: %q is none of join, remove, transfer", c.Do)
}

// admit lets a node in: first without a vote, so that one that never catches
// up cannot cost the quorum its majority.
func (n *Node) admit(ctx context.Context, c memberCall) error {
	them, err := n.ask(ctx, c.Address)
	if err != nil {
		return fmt.Errorf("node %s is not let in: this leader cannot reach it: %w", c.ID, err)
	}
	if them.ID != c.ID {
		return fmt.Errorf("node %s is not let in: at %s there is %q", c.ID, c.Address, them.ID)
	}
	if err := n.Model().Cluster().CheckTopology(them.Topology); err != nil {
		return &foreignError{fmt.Sprintf("node %s is not let in: its topology is another:\n%v", c.ID, err)}
	}
	id, address := raft.ServerID(c.ID), raft.ServerAddress(c.Address)
	voter, err := n.votes(id, address)
	if err != nil || voter {
		return err
	}
	if err := n.raft.AddNonvoter(id, address, 0, raftTimeout).Error(); err != nil {
		return fmt.Errorf("add registry member %s: %w", c.ID, err)
	}
	if err := n.caughtUp(ctx, c.Address, n.Model().Applied()); err != nil {
		return fmt.Errorf("node %s is let in without a vote, as it does not catch up; join again: %w", c.ID, err)
	}
	if err := n.raft.AddVoter(id, address, 0, raftTimeout).Error(); err != nil {
		return fmt.Errorf("give registry member %s a vote: %w", c.ID, err)
	}
	return n.note(ctx, registry.MemberJoin, c)
}

// votes reports whether a node is a voter at that address already.
func (n *Node) votes(id raft.ServerID, address raft.ServerAddress) (bool, error) {
	servers, err := n.servers()
	for _, s := range servers {
		if s.ID == id && s.Address == address && s.Suffrage == raft.Voter {
			return true, err
		}
	}
	return false, err
}

// caughtUp waits until a node has applied so many commands.
func (n *Node) caughtUp(ctx context.Context, address string, applied int64) error {
	ctx, cancel := context.WithTimeout(ctx, catchUpTimeout)
	defer cancel()
	for {
		them, err := n.ask(ctx, address)
		if err == nil && them.Applied >= applied {
			return nil
		}
		select {
		case <-time.After(retryWait):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

func (n *Node) remove(ctx context.Context, c memberCall) error {
	servers, err := n.servers()
	if err != nil {
		return err
	}
	known, voters := false, 0
	for _, s := range servers {
		known = known || s.ID == raft.ServerID(c.ID)
		if s.Suffrage == raft.Voter {
			voters++
		}
	}
	switch {
	case !known:
		return fmt.Errorf("remove registry member: no member %q", c.ID)
	case voters == 1 && c.ID == n.cfg.ID:
		return fmt.Errorf("remove registry member: %q is the only one", c.ID)
	case c.ID == n.cfg.ID:
		return fmt.Errorf("remove registry member: %q leads: transfer leadership first", c.ID)
	}
	if err := n.raft.RemoveServer(raft.ServerID(c.ID), 0, raftTimeout).Error(); err != nil {
		return fmt.Errorf("remove registry member %s: %w", c.ID, err)
	}
	return n.note(ctx, registry.MemberRemove, c, registry.Forget{ID: c.ID})
}

func (n *Node) transfer(ctx context.Context, c memberCall) error {
	servers, err := n.servers()
	if err != nil {
		return err
	}
	// Raft would let a member without a vote stand, in vain.
	to := slices.IndexFunc(servers, func(s raft.Server) bool { return s.ID == raft.ServerID(c.ID) && s.Suffrage == raft.Voter })
	if c.ID != "" && to < 0 {
		return fmt.Errorf("transfer leadership: no member %q that has a vote", c.ID)
	}
	if err := n.note(ctx, registry.LeaderTransfer, c); err != nil {
		return err
	}
	if c.ID == "" {
		return n.await(ctx, n.raft.LeadershipTransfer())
	}
	return n.await(ctx, n.raft.LeadershipTransferToServer(servers[to].ID, servers[to].Address))
}

// note puts a change of the quorum into the audit.
func (n *Node) note(ctx context.Context, action registry.Action, c memberCall, also ...registry.Op) error {
	op := registry.Note{Action: action, Object: registry.Object{Kind: registry.KindMember, Name: c.ID}}
	if c.Address != "" {
		op.Detail, _ = json.Marshal(map[string]string{"address": c.Address}) // a string
	}
	_, err := n.Propose(ctx, registry.Command{Actor: c.Actor, Source: c.Source, Ops: append([]registry.Op{op}, also...)})
	return err
}

// join asks for admission until it is granted or refused for good.
func (n *Node) join() {
	for i := 0; ; i++ {
		if in, err := n.votes(raft.ServerID(n.cfg.ID), raft.ServerAddress(n.address)); in || err != nil {
			return
		}
		c := memberCall{Do: "join", ID: n.cfg.ID, Address: n.address, Who: Who{Actor: n.cfg.ID}}
		ctx, cancel := context.WithTimeout(n.ctx, catchUpTimeout)
		err := n.memberAt(ctx, n.cfg.Join[i%len(n.cfg.Join)], c)
		cancel()
		if err == nil {
			return
		}
		var foreign *foreignError
		if errors.As(err, &foreign) {
			n.fail(err)
			return
		}
		n.log.Warn("registry: not let in yet", "asked", n.cfg.Join[i%len(n.cfg.Join)], "error", err)
		if n.sleep(announceEvery) != nil {
			return
		}
	}
}
