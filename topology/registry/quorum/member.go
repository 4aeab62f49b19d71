package quorum

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
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

// memberReply is how a change went: all empty if it is made.
type memberReply struct {
	Error   string          `json:"error,omitempty"`
	Foreign bool            `json:"foreign,omitempty"` // the error is a [foreignError]
	Refused *registry.Error `json:"refused,omitempty"` // the error is this
	Unsure  bool            `json:"unsure,omitempty"`  // the error is a [registry.ErrOutcome]
}

func replyOf(err error) (r memberReply) {
	if err == nil {
		return r
	}
	r.Error, r.Unsure = err.Error(), errors.Is(err, registry.ErrOutcome)
	var foreign *foreignError
	r.Foreign = errors.As(err, &foreign)
	errors.As(err, &r.Refused)
	return r
}

func (r *memberReply) err() error {
	switch {
	case r.Error == "":
		return nil
	case r.Foreign && r.Refused != nil:
		return &foreignError{r.Refused}
	case r.Refused != nil:
		return r.Refused
	case r.Unsure:
		return &unsureError{r.Error}
	}
	return errors.New(r.Error)
}

// foreignError says that a node is of another topology: asking again is in
// vain.
type foreignError struct{ refusal *registry.Error }

func (e *foreignError) Error() string { return e.refusal.Error() }
func (e *foreignError) Unwrap() error { return e.refusal }

// unsureError says that a change of the quorum may have been made: look at the
// status before it is repeated.
type unsureError struct{ reason string }

func (e *unsureError) Error() string        { return e.reason }
func (e *unsureError) Is(target error) bool { return target == registry.ErrOutcome }

func refuse(p registry.Problem, path, format string, args ...any) error {
	return &registry.Error{Problem: p, Path: path, Reason: fmt.Sprintf(format, args...)}
}

// raftError is what a change that Raft did not make means to who asked.
func raftError(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrEnqueueTimeout), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return fmt.Errorf("%s: nothing was changed: %w", what, err)
	case errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrRaftShutdown), errors.Is(err, ErrClosed),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &unsureError{fmt.Sprintf("%s: %v", what, err)}
	}
	return refuse(registry.Refused, "", "%s: %v", what, err)
}

// catchUpTimeout is how long a new member may take to get the registry before
// it is given a vote.
const catchUpTimeout = 2 * time.Minute

// Join takes a node into the quorum, whichever node this is called on. The new
// node must run already, with Config.Join set or no data; it gets a vote once
// it has caught up. A member that comes back with its data at another address
// is moved there.
//
// The error of a change of the quorum is a [*registry.Error] if it is refused;
// one that wraps [registry.ErrOutcome] if it may have been made; any other, such
// as [ErrNoLeader], if it was not made, for now.
func (n *Node) Join(ctx context.Context, id, address string, who Who) error {
	return n.member(ctx, memberCall{Do: "join", ID: id, Address: address, Who: who})
}

// Remove takes a node out of the quorum. For its error see [Node.Join].
func (n *Node) Remove(ctx context.Context, id string, who Who) error {
	return n.member(ctx, memberCall{Do: "remove", ID: id, Who: who})
}

// Transfer gives leadership to a member; an empty id leaves the choice to Raft.
// For its error see [Node.Join].
func (n *Node) Transfer(ctx context.Context, id string, who Who) error {
	return n.member(ctx, memberCall{Do: "transfer", ID: id, Who: who})
}

// memberTimeout bounds a change of the quorum: catching up, and a change of
// leaders meanwhile.
const memberTimeout = catchUpTimeout + ProposeTimeout

func (n *Node) member(ctx context.Context, c memberCall) error {
	ctx, cancel := context.WithTimeout(ctx, memberTimeout)
	defer cancel()
	address, id := n.raft.LeaderWithID()
	if id == "" {
		return fmt.Errorf("%s registry member: %w", c.Do, ErrNoLeader)
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
	switch err := n.callLong(ctx, address, "member", body, &reply); {
	case err == nil:
		return reply.err()
	case unsent(err):
		return fmt.Errorf("%s registry member: nothing was changed: %w", c.Do, err)
	default:
		return &unsureError{fmt.Sprintf("%s registry member: %v", c.Do, err)}
	}
}

// serveMember makes a change that another member, or a node that wants to be
// one, asks for; a follower passes it on.
func (n *Node) serveMember(ctx context.Context, body []byte) (any, error) {
	c, err := unmarshal[memberCall](body)
	if err != nil {
		return nil, err
	}
	return replyOf(n.member(ctx, c)), nil
}

// change makes a change of the quorum, on its leader.
func (n *Node) change(ctx context.Context, c memberCall) error {
	if n.leadTerm() == 0 {
		return fmt.Errorf("%s registry member: %w", c.Do, ErrNoLeader)
	}
	switch c.Do {
	case "join":
		return n.admit(ctx, c)
	case "remove":
		return n.remove(ctx, c)
	case "transfer":
		return n.transfer(ctx, c)
	}
	return refuse(registry.Invalid, "do", "%q is none of join, remove, transfer", c.Do)
}

// admit lets a node in: first without a vote, so that one that never catches
// up cannot cost the quorum its majority.
func (n *Node) admit(ctx context.Context, c memberCall) error {
	if err := n.admissible(ctx, c); err != nil {
		return err
	}
	id, address := raft.ServerID(c.ID), raft.ServerAddress(c.Address)
	voter, err := n.votes(id, address)
	if err != nil || voter {
		return err
	}
	if err := n.await(ctx, n.raft.AddNonvoter(id, address, 0, raftTimeout)); err != nil {
		return raftError("add registry member "+c.ID, err)
	}
	if err := n.caughtUp(ctx, c.Address, n.Model().Applied()); err != nil {
		return fmt.Errorf("node %s is let in without a vote, as it does not catch up; join again: %w", c.ID, err)
	}
	if err := n.await(ctx, n.raft.AddVoter(id, address, 0, raftTimeout)); err != nil {
		return raftError("give registry member "+c.ID+" a vote", err)
	}
	return n.note(ctx, registry.MemberJoin, c)
}

// admissible asks a node that wants to be let in who it is.
func (n *Node) admissible(ctx context.Context, c memberCall) error {
	if _, port, err := net.SplitHostPort(c.Address); err != nil || port == "" || c.ID == "" {
		return refuse(registry.Invalid, "address", "id %.120q at %.120q: want a name, and host:port", c.ID, c.Address)
	}
	them, err := n.ask(ctx, c.Address)
	ours := n.Model().Cluster()
	switch {
	case err != nil:
		return refuse(registry.Refused, "address", "node %s is not let in: this leader cannot reach it: %v", c.ID, err)
	case them.ID != c.ID:
		return refuse(registry.Conflict, "id", "node %s is not let in: at %s there is %q", c.ID, c.Address, them.ID)
	case them.Cluster != "" && them.Cluster != ours.ID:
		return refuse(registry.Refused, "address", "node %s is not let in: it has a registry of its own, %s: start it with --registry-join and an empty data directory", c.ID, them.Cluster)
	}
	if err := ours.CheckTopology(them.Topology); err != nil {
		return &foreignError{&registry.Error{Problem: registry.Refused, Reason: fmt.Sprintf("node %s is not let in: its topology is another:\n%v", c.ID, err)}}
	}
	servers, err := n.servers()
	if err != nil {
		return err
	}
	for _, s := range servers {
		if s.ID == raft.ServerID(c.ID) && s.Address != raft.ServerAddress(c.Address) {
			return n.movable(ctx, c, string(s.Address), them.LastIndex > 0)
		}
	}
	return nil
}

// movable refuses to take a member's name for another node. Who votes under it
// must have the log and the votes of before.
func (n *Node) movable(ctx context.Context, c memberCall, from string, hasData bool) error {
	if !hasData {
		return refuse(registry.Exists, "id", "%s is a member at %s, and the node at %s has none of its data: remove %s first", c.ID, from, c.Address, c.ID)
	}
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	if old, err := n.ask(ctx, from); err == nil && old.ID == c.ID && old.Address != c.Address {
		return refuse(registry.Exists, "id", "%s is a member at %s, and runs there: stop it first", c.ID, from)
	}
	return nil
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
		return refuse(registry.NotFound, "memberId", "no member %.120q", c.ID)
	case voters == 1 && c.ID == n.cfg.ID:
		return refuse(registry.Refused, "memberId", "%q is the last one that votes", c.ID)
	case c.ID == n.cfg.ID:
		return refuse(registry.Refused, "memberId", "%q leads: transfer leadership first", c.ID)
	}
	if err := n.await(ctx, n.raft.RemoveServer(raft.ServerID(c.ID), 0, raftTimeout)); err != nil {
		return raftError("remove registry member "+c.ID, err)
	}
	return n.note(ctx, registry.MemberRemove, c, registry.Forget{ID: c.ID})
}

func (n *Node) transfer(ctx context.Context, c memberCall) error {
	servers, err := n.servers()
	if err != nil {
		return err
	}
	is := func(s raft.Server) bool { return s.ID == raft.ServerID(c.ID) }
	to := slices.IndexFunc(servers, is)
	others := slices.ContainsFunc(servers, func(s raft.Server) bool { return s.ID != raft.ServerID(n.cfg.ID) && s.Suffrage == raft.Voter })
	switch {
	case c.ID == n.cfg.ID:
		return nil // it leads
	case c.ID != "" && to < 0:
		return refuse(registry.NotFound, "id", "no member %.120q", c.ID)
	case c.ID != "" && servers[to].Suffrage != raft.Voter:
		// Raft would let it stand, in vain.
		return refuse(registry.Refused, "id", "%q has no vote", c.ID)
	case !others:
		return refuse(registry.Refused, "", "there is no other member that votes")
	}
	if err := n.note(ctx, registry.LeaderTransfer, c); err != nil {
		return err
	}
	future := n.raft.LeadershipTransfer
	if c.ID != "" {
		future = func() raft.Future { return n.raft.LeadershipTransferToServer(servers[to].ID, servers[to].Address) }
	}
	if err := n.await(ctx, future()); err != nil {
		// Raft has no error of its own for a member that does not take over.
		return fmt.Errorf("transfer leadership: %w", err)
	}
	return nil
}

// note puts a change of the quorum into the audit.
func (n *Node) note(ctx context.Context, action registry.Action, c memberCall, also ...registry.Op) error {
	op := registry.Note{Action: action, Object: registry.Object{Kind: registry.KindMember, Name: c.ID}}
	if c.Address != "" {
		op.Detail, _ = json.Marshal(map[string]string{"address": c.Address}) // a string
	}
	_, err := n.Propose(ctx, registry.Command{Actor: c.Actor, Source: c.Source, Ops: append([]registry.Op{op}, also...)})
	if err != nil && action != registry.LeaderTransfer {
		return fmt.Errorf("%s %s is done, but its operation record may be missing: %v", c.Do, c.ID, err) //nolint:errorlint // nothing was refused
	}
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
