package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/tidemarkio/tidemark/topology/registry"
)

const (
	// transfersMax bounds the backups and restores that are under way at the
	// same time at one node.
	transfersMax = 4
	// transferIdle is how long a transfer may stand still before it is cut off.
	transferIdle = time.Minute
)

// Members changes the registry's quorum, and saves and restores what it holds.
// Each is done in somebody's name, from an address, and is in the audit. A
// refusal is a [*registry.Error]; an error that wraps [registry.ErrOutcome] may
// have been done; any other says that nothing was done, for now.
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
	status := func(method, path, summary string, in any, do func(*request) (any, error), refused map[int]string) route {
		refused[http.StatusNotImplemented] = "this node has no registry of its own"
		return route{Method: method, Path: path, Summary: summary, Role: registry.Admin, In: in, Out: registry.Status{}, Do: do, Refused: refused}
	}
	restore := status("POST", path+"/restore", "put a backup in the registry's place; the audit of what was done since stays", nil, c.restore, map[int]string{
		http.StatusBadRequest: "the backup did not come whole, is damaged or is none: nothing was changed",
		http.StatusConflict:   "the backup is of another topology, or another restore is under way", http.StatusRequestEntityTooLarge: "the backup is over the node's limit (--restore-max)",
	})
	restore.Body, restore.Upload = "a backup", true
	return []route{
		status("POST", path+"/members", "take a node into the registry's quorum; it has a vote when this answers", NewMember{}, c.joinMember, map[int]string{
			http.StatusBadRequest: "no id, or an address that is not host:port",
			http.StatusConflict:   "the leader does not reach a node of that name there; or it has another topology or a registry of its own; or a member of that name is elsewhere",
		}),
		status("DELETE", path+"/members/{memberId}", "take a node out of the registry's quorum", nil, c.removeMember, map[int]string{
			http.StatusNotFound: "no such member", http.StatusConflict: "it leads, or is the last one with a vote",
		}),
		status("POST", path+"/transfer", "give leadership to another member", Leader{}, c.transferLead, map[int]string{
			http.StatusNotFound: "no such member", http.StatusConflict: "it has no vote, or there is no other member with one",
		}),
		{Method: "GET", Path: path + "/backup", Summary: "the registry as a file; it holds secrets. One that breaks off is not whole", Role: registry.Admin, Media: "application/octet-stream", Do: c.backup,
			Refused: map[int]string{http.StatusNotImplemented: "this node has no registry of its own"}},
		restore,
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
		return nil, err
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

// transfer takes one of the few slots of transfers.
func (c *Console) transfer() (free func(), err error) {
	select {
	case c.moving <- struct{}{}:
		return func() { <-c.moving }, nil
	default:
		return nil, &Error{Status: http.StatusServiceUnavailable, Reason: fmt.Sprintf("%d backups and restores are under way at this node, which is the limit", transfersMax)}
	}
}

// download is a file that is written as it is made.
type download struct {
	name  string
	write func(io.Writer) error
}

// serveDownload sends a file. Until its first byte an error is an answer;
// afterwards the connection is broken off, so that nobody takes what came for
// the whole.
func (c *Console) serveDownload(w http.ResponseWriter, r *http.Request, d *download) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", `attachment; filename="`+d.name+`"`)
	to := &patient{w: w, out: http.NewResponseController(w)}
	err := d.write(to)
	_ = to.out.SetWriteDeadline(time.Time{}) // the connection may have more to do
	switch {
	case err == nil:
	case !to.begun:
		w.Header().Del("Content-Disposition")
		c.refuse(w, r, err)
	default:
		c.cfg.Log.Warn("console: a download broke off", "path", r.URL.Path, "error", err)
		panic(http.ErrAbortHandler)
	}
}

// patient writes as long as the reader takes something now and then.
type patient struct {
	w     io.Writer
	out   *http.ResponseController
	begun bool
}

// Write implements io.Writer.
func (p *patient) Write(b []byte) (int, error) {
	p.begun = true
	_ = p.out.SetWriteDeadline(time.Now().Add(transferIdle)) // not every writer can
	return p.w.Write(b)
}

// eager reads as long as something comes now and then.
type eager struct {
	r   io.Reader
	out *http.ResponseController
}

// Read implements io.Reader.
func (e *eager) Read(b []byte) (int, error) {
	_ = e.out.SetReadDeadline(time.Now().Add(transferIdle)) // not every reader can
	n, err := e.r.Read(b)
	if errors.Is(err, io.EOF) {
		_ = e.out.SetReadDeadline(time.Time{}) // or the server takes the caller for gone
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		err = &Error{Status: http.StatusRequestEntityTooLarge, Reason: fmt.Sprintf("the backup is over %d bytes: --restore-max is this node's limit", large.Limit)}
	case err != nil && !errors.Is(err, io.EOF):
		err = &Error{Status: http.StatusBadRequest, Problem: registry.Invalid, Reason: "the backup did not come whole: nothing was changed"}
	}
	return n, err
}

func (c *Console) backup(r *request) (any, error) {
	m, err := c.members()
	if err != nil {
		return nil, err
	}
	return &download{"tidemark-registry.backup", func(w io.Writer) error {
		free, err := c.transfer()
		if err != nil {
			return err
		}
		defer free()
		return m.Backup(r.Context(), w, r.caller.Name, source(r.Request))
	}}, nil
}

func (c *Console) restore(r *request) (any, error) {
	free, err := c.transfer()
	if err != nil {
		return nil, err
	}
	defer free()
	body := &eager{http.MaxBytesReader(r.w, r.Body, c.cfg.RestoreMax), http.NewResponseController(r.w)}
	return c.quorum(r, func(m Members) error {
		return m.Restore(r.Context(), body, r.caller.Name, source(r.Request))
	})
}
