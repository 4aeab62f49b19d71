package quorum

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// Read gives a model that holds every command that was answered before the
// call, anywhere, and none that a later call may miss. It needs a leader.
//
// Raft applies what is committed on each member by itself, so a follower may
// have applied more than its leader. It gives such a model only once the leader
// has as much: who asks another member next asks that leader, or a later one.
func (n *Node) Read(ctx context.Context) (*registry.Model, error) {
	var m *registry.Model // holds enough
	var last error
	for {
		changed := n.leaderChanged()
		applied, err := n.readPoint(ctx, m)
		switch {
		case err == nil && m != nil:
			return m, nil
		case err == nil:
			m, err = n.until(ctx, func(m *registry.Model) bool { return m.Applied() >= applied })
			if err != nil || m.Applied() == applied {
				return m, err
			}
			continue
		}
		if !errors.Is(err, ErrNoLeader) || last == nil {
			last = err
		}
		select {
		case <-changed:
		case <-time.After(retryWait):
		case <-n.ctx.Done():
			return nil, ErrClosed
		case <-n.failed:
			return nil, n.failureNow()
		case <-ctx.Done():
			return nil, fmt.Errorf("read registry: %w", errors.Join(last, ctx.Err()))
		}
	}
}

// readPoint is how many commands a model must be made of to hold all that was
// answered so far. The leader says so once it has as many as the given model,
// if there is one.
func (n *Node) readPoint(ctx context.Context, m *registry.Model) (int64, error) {
	var ask readCall
	if m != nil {
		ask.Applied = m.Applied()
	}
	address, id := n.raft.LeaderWithID()
	switch id {
	case "":
		return 0, ErrNoLeader
	case raft.ServerID(n.cfg.ID):
		return n.leaderPoint(ctx, ask)
	}
	body, err := json.Marshal(ask)
	if err != nil {
		return 0, err
	}
	var reply readReply
	err = n.call(ctx, string(address), "read", body, &reply)
	if err == nil && reply.Error != "" {
		err = errors.New(reply.Error)
	}
	return reply.Applied, err
}

type readCall struct {
	Applied int64 `json:"applied"` // that the leader is to have at least
}

type readReply struct {
	Applied int64  `json:"applied"`
	Error   string `json:"error,omitempty"`
}

func (n *Node) serveRead(ctx context.Context, body []byte) (any, error) {
	ask, err := unmarshal[readCall](body)
	if err != nil {
		return nil, err
	}
	applied, err := n.leaderPoint(ctx, ask)
	if err != nil {
		return readReply{Error: err.Error()}, nil
	}
	return readReply{Applied: applied}, nil
}

// reads lets calls that come together share a round of questions. A call may
// only use a round that began after it.
type reads struct {
	mu      sync.Mutex
	running bool
	next    *round // the one that calls join
}

type round struct {
	done    chan struct{}
	applied int64
	err     error
}

// leaderPoint is readPoint on the leader.
func (n *Node) leaderPoint(ctx context.Context, ask readCall) (int64, error) {
	if _, err := n.until(ctx, func(m *registry.Model) bool { return m.Applied() >= ask.Applied }); err != nil {
		return 0, err
	}
	r, err := n.joinRound()
	if err != nil {
		return 0, err
	}
	select {
	case <-r.done:
		return r.applied, r.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (n *Node) joinRound() (*round, error) {
	n.reads.mu.Lock()
	defer n.reads.mu.Unlock()
	if n.reads.next == nil {
		n.reads.next = &round{done: make(chan struct{})}
	}
	if !n.reads.running {
		if !n.spawn(n.runRounds) {
			return nil, ErrClosed
		}
		n.reads.running = true
	}
	return n.reads.next, nil
}

func (n *Node) runRounds() {
	for {
		n.reads.mu.Lock()
		r := n.reads.next
		n.reads.next = nil
		n.reads.running = r != nil
		n.reads.mu.Unlock()
		if r == nil {
			return
		}
		r.applied, r.err = n.confirm()
		close(r.done)
	}
}

// confirm makes sure that no newer leader has answered anybody before this
// call, and gives what the model then holds.
//
// A majority of the voters says, after the call began, that their term is
// still this leader's. Who leads in a later term was elected by a majority
// whose terms are later; the two have a member in common, so that election is
// after the call. All that was answered before it was answered by this leader,
// and is applied here; or by one before it, and was applied when the barrier of
// this term passed. What a follower has answered, one of them had: see
// [Node.Read].
//
// Raft's own VerifyLeader does not do: it counts members without a vote, and
// answers to heartbeats that were sent before it was called, which a leader
// that was stopped for a while may find in its socket.
func (n *Node) confirm() (int64, error) {
	term := n.leadTerm()
	servers, err := n.servers()
	if err != nil {
		return 0, err
	}
	if term == 0 {
		return 0, ErrNoLeader
	}
	if err := n.majority(servers, term); err != nil {
		return 0, err
	}
	if n.raft.CurrentTerm() != term || n.leadTerm() != term {
		return 0, ErrNoLeader
	}
	return n.Model().Applied(), nil
}

// majority asks the voters for their term until most of them have said that it
// is this one.
func (n *Node) majority(servers []raft.Server, term uint64) error {
	ctx, cancel := context.WithTimeout(n.ctx, vouchTimeout)
	defer cancel()
	body, err := json.Marshal(vouch{term})
	if err != nil {
		return err
	}
	voters, agree, asked := 0, 0, 0
	answers := make(chan error, len(servers))
	for _, s := range servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		if s.ID == raft.ServerID(n.cfg.ID) {
			agree++
			continue
		}
		asked++
		if !n.spawn(func() { answers <- n.vouched(ctx, string(s.Address), body, term) }) {
			return ErrClosed
		}
	}
	var why error
	for ; agree <= voters/2 && asked > 0; asked-- {
		if err := <-answers; err != nil {
			why = err
		} else {
			agree++
		}
	}
	if agree <= voters/2 {
		return fmt.Errorf("only %d of %d members confirm that this one leads: %w", agree, voters, why)
	}
	return nil
}

// vouchTimeout is how long a member may take to say its term.
const vouchTimeout = time.Second

type vouch struct {
	Term uint64 `json:"term"`
}

func (n *Node) vouched(ctx context.Context, address string, body []byte, term uint64) error {
	var theirs vouch
	if err := n.call(ctx, address, "vouch", body, &theirs); err != nil {
		return err
	}
	if theirs.Term != term {
		return fmt.Errorf("registry member %s is in term %d, not %d", address, theirs.Term, term)
	}
	return nil
}

func (n *Node) serveVouch(context.Context, []byte) (any, error) {
	return vouch{n.raft.CurrentTerm()}, nil
}
