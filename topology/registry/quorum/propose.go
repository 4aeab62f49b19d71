package quorum

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// MaxProposals bounds the proposals that a node has under way; more wait.
const MaxProposals = 1024

// retryWait is how long to wait for a sign of a leader before trying again.
const retryWait = 100 * time.Millisecond

// catchUpWait is how long an answer may be held back for this node to catch up.
const catchUpWait = time.Second

// UnknownError says that nobody can tell whether a command was applied. The
// same command, by its ID, can be proposed again and is applied once.
type UnknownError struct {
	Command string // its ID
	Cause   error
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("outcome of command %s is unknown (%v): repeat it under the same id, it is applied once", e.Command, e.Cause)
}

func (e *UnknownError) Unwrap() error { return e.Cause }

// Is makes it a [registry.ErrOutcome].
func (e *UnknownError) Is(target error) bool { return target == registry.ErrOutcome }

// Propose has a command applied, on whichever node, and waits for the result.
// ID and Time are filled in if they are empty. A refusal is a [*registry.Error];
// when ctx ends first, or after [ProposeTimeout], it is an [*UnknownError],
// unless it is certain that nothing was sent.
func (n *Node) Propose(ctx context.Context, c registry.Command) (registry.Result, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, ProposeTimeout)
		defer cancel()
	}
	b, err := n.encode(&c)
	if err != nil {
		return registry.Result{}, err
	}
	select {
	case n.proposals <- struct{}{}:
		defer func() { <-n.proposals }()
	case <-ctx.Done():
		return registry.Result{}, fmt.Errorf("propose to registry: %d proposals are under way: %w", MaxProposals, ctx.Err())
	}
	r, err := n.propose(ctx, c.ID, b)
	if err == nil {
		n.catchUp(ctx, r.Revision)
	}
	return r, err
}

// catchUp waits a little for this node's own model to have what was just
// answered, so that who looks at it next finds their change.
func (n *Node) catchUp(ctx context.Context, revision int64) {
	ctx, cancel := context.WithTimeout(ctx, catchUpWait)
	defer cancel()
	_, err := n.until(ctx, func(m *registry.Model) bool { return m.Revision() >= revision })
	if err != nil {
		n.log.Debug("registry: this node is behind", "revision", revision, "error", err)
	}
}

// encode fills in what the caller left to the node.
func (n *Node) encode(c *registry.Command) ([]byte, error) {
	if c.ID == "" {
		id, err := n.random(12)
		if err != nil {
			return nil, err
		}
		c.ID = id
	}
	if c.Time == 0 {
		c.Time = n.cfg.Clock().UnixMilli()
	}
	return c.Append(nil)
}

// propose sends the command to whoever leads until somebody answers.
func (n *Node) propose(ctx context.Context, id string, b []byte) (registry.Result, error) {
	var last error // why the latest attempt has no answer
	sent := false
	for {
		changed := n.leaderChanged()
		r, tried, err := n.attempt(ctx, b)
		if err == nil {
			return r, r.Err()
		}
		sent = sent || tried
		if !errors.Is(err, ErrNoLeader) || last == nil {
			last = err
		}
		select {
		case <-changed:
		case <-time.After(retryWait):
		case <-n.ctx.Done():
			return registry.Result{}, unanswered(sent, id, ErrClosed)
		case <-ctx.Done():
			return registry.Result{}, unanswered(sent, id, errors.Join(last, ctx.Err()))
		}
	}
}

func unanswered(sent bool, id string, cause error) error {
	if sent {
		return &UnknownError{id, cause}
	}
	return fmt.Errorf("propose to registry: nothing was changed: %w", cause)
}

// ErrNoLeader says that nobody is known to lead, so that nothing can be changed
// for now.
var ErrNoLeader = errors.New("no leader is known: is a majority of the registry's nodes up?")

// attempt sends the command once. Tried says that it may have gone out.
func (n *Node) attempt(ctx context.Context, b []byte) (r registry.Result, tried bool, err error) {
	address, id := n.raft.LeaderWithID()
	switch id {
	case "":
		return r, false, ErrNoLeader
	case raft.ServerID(n.cfg.ID):
		r, err = n.applyEncoded(ctx, b)
		return r, !errors.Is(err, raft.ErrNotLeader), err
	}
	var reply proposeReply
	if err := n.call(ctx, string(address), "propose", b, &reply); err != nil {
		return r, !unsent(err), err
	}
	if reply.Result == nil {
		return r, reply.Tried, errors.New(reply.Error)
	}
	return *reply.Result, true, nil
}

// applyHere proposes to this node only, as its leader.
func (n *Node) applyHere(ctx context.Context, c registry.Command) (registry.Result, error) {
	b, err := n.encode(&c)
	if err != nil {
		return registry.Result{}, err
	}
	return n.applyEncoded(ctx, b)
}

// applyEncoded gives a command to this node's Raft.
func (n *Node) applyEncoded(ctx context.Context, b []byte) (registry.Result, error) {
	type outcome struct {
		r   registry.Result
		err error
	}
	done := make(chan outcome, 1)
	if !n.spawn(func() {
		f := n.raft.Apply(b, raftTimeout)
		if err := f.Error(); err != nil {
			done <- outcome{err: err}
			return
		}
		done <- outcome{r: f.Response().(registry.Result)}
	}) {
		return registry.Result{}, raft.ErrNotLeader // nothing was sent
	}
	select {
	case o := <-done:
		return o.r, o.err
	case <-ctx.Done():
		return registry.Result{}, ctx.Err()
	}
}

// proposeReply answers a forwarded proposal.
type proposeReply struct {
	Result *registry.Result `json:"result,omitempty"`
	Tried  bool             `json:"tried,omitempty"` // may have been applied although there is no result
	Error  string           `json:"error,omitempty"`
}

// servePropose applies what another member forwarded, if this node leads.
func (n *Node) servePropose(ctx context.Context, body []byte) (any, error) {
	r, err := n.applyEncoded(ctx, bytes.Clone(body))
	if err != nil {
		return proposeReply{Tried: !errors.Is(err, raft.ErrNotLeader), Error: err.Error()}, nil
	}
	return proposeReply{Result: &r}, nil
}

// unmarshal reads a member's body.
func unmarshal[T any](body []byte) (T, error) {
	var v T
	err := json.Unmarshal(body, &v)
	return v, err
}
