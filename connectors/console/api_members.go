package console

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// maxBackup bounds a backup that is restored over the API.
const maxBackup = 256 << 20

// Members changes the registry's quorum, and saves and restores what it holds.
// Each is done in somebody's name, from an address, and is in the audit.
type Members interface {
	Join(ctx context.Context, id, address, actor, source string) error
	Remove(ctx context.Context, id, actor, source string) error
	// Transfer gives leadership to a member; an empty id leaves the choice.
	Transfer(ctx context.Context, id, actor, source string) error
	Backup(ctx context.Context, w io.Writer, actor, source string) error
	Restore(ctx context.Context, r io.Reader, actor, source string) error
}

// NewMember is a node that is taken into the quorum.
type NewMember struct {
	ID      string `json:"id"`
	Address string `json:"address"` // host:port that members reach it at
}

// Leader names who is to lead.
type Leader struct {
	ID string `json:"id,omitempty"` // empty: any other member
}

func (c *Console) memberRoutes() []route {
	const path = v1 + "/registry"
	return []route{
		{Method: "POST", Path: path + "/members", Summary: "take a node into the registry's quorum; it has a vote when this answers", Role: registry.Admin, In: NewMember{}, Out: registry.Status{}, Do: c.joinMember},
		{Method: "DELETE", Path: path + "/members/{memberId}", Summary: "take a node out of the registry's quorum", Role: registry.Admin, Out: registry.Status{}, Do: c.removeMember},
		{Method: "POST", Path: path + "/transfer", Summary: "give leadership to another member", Role: registry.Admin, In: Leader{}, Out: registry.Status{}, Do: c.transferLead},
		{Method: "GET", Path: path + "/backup", Summary: "the registry as a file; it holds secrets", Role: registry.Admin, Media: "application/octet-stream", Do: c.backup},
		{Method: "POST", Path: path + "/restore", Summary: "put a backup in the registry's place; the audit of what was done since stays", Role: registry.Admin, Body: "a backup", Max: maxBackup, Out: registry.Status{}, Do: c.restore},
	}
}

// members is the node's quorum, or why it cannot be changed here.
func (c *Console) members() (Members, error) {
	if c.cfg.Members == nil {
		return nil, &Error{Status: http.StatusNotImplemented, Reason: "this node has no registry of its own"}
	}
	return c.cfg.Members, nil
}

// quorum does something to the quorum and answers how it is then.
func (c *Console) quorum(r *request, do func(Members) error) (any, error) {
	m, err := c.members()
	if err != nil {
		return nil, err
	}
	if err := do(m); err != nil {
		return nil, &Error{Status: http.StatusConflict, Problem: registry.Refused, Reason: err.Error()}
	}
	return c.cfg.Registry.QuorumStatus(r.Context()), nil
}

func (c *Console) joinMember(r *request) (any, error) {
	var in NewMember
	if err := r.decode(&in); err != nil {
		return nil, err
	}
	for _, f := range []struct{ name, value string }{{"id", in.ID}, {"address", in.Address}} {
		if f.value == "" || len(f.value) > registry.MaxLabel {
			return nil, &Error{http.StatusBadRequest, registry.Invalid, f.name, fmt.Sprintf("1 to %d characters", registry.MaxLabel)}
		}
	}
	return c.quorum(r, func(m Members) error { return m.Join(r.Context(), in.ID, in.Address, r.caller.Name, source(r.Request)) })
}

func (c *Console) removeMember(r *request) (any, error) {
	return c.quorum(r, func(m Members) error {
		return m.Remove(r.Context(), r.PathValue("memberId"), r.caller.Name, source(r.Request))
	})
}

func (c *Console) transferLead(r *request) (any, error) {
	var in Leader
	if err := r.decode(&in); err != nil {
		return nil, err
	}
	return c.quorum(r, func(m Members) error { return m.Transfer(r.Context(), in.ID, r.caller.Name, source(r.Request)) })
}

func (c *Console) backup(r *request) (any, error) {
	m, err := c.members()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := m.Backup(r.Context(), &b, r.caller.Name, source(r.Request)); err != nil {
		return nil, err
	}
	return &answer{header: map[string]string{
		"Content-Type": "application/octet-stream", "Content-Disposition": `attachment; filename="tidemark-registry.backup"`,
	}, raw: b.Bytes()}, nil
}

func (c *Console) restore(r *request) (any, error) {
	return c.quorum(r, func(m Members) error {
		return m.Restore(r.Context(), bytes.NewReader(r.body), r.caller.Name, source(r.Request))
	})
}
