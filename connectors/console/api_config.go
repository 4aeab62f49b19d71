package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/tidemarkio/tidemark/topology/registry"
	"github.com/tidemarkio/tidemark/topology/registry/configfile"
)

// How often a file is planned anew when somebody else changes the registry
// meanwhile, and how long to pause before.
const (
	applyAttempts = 10
	applyPause    = 20 * time.Millisecond
)

// Applied is the answer to a config file.
type Applied struct {
	Changed
	Changes []string `json:"changes"` // for people: + made, ~ changed, - removed
	DryRun  bool     `json:"dryRun,omitempty"`
}

// Apply is how a config file is applied.
type Apply struct {
	File   *configfile.File
	Prune  bool // remove what the file does not list
	DryRun bool // only say what would change
	Actor  string
	Source string
	Role   registry.Role // of the actor; empty: the node itself, which may all
}

// applyConfig makes the registry as a config file says.
func (c *Console) applyConfig(r *request) (any, error) {
	file, err := parseFile(r)
	if err != nil {
		return nil, err
	}
	prune, err1 := r.flag("prune", false)
	dry, err2 := r.flag("dryRun", false)
	wait, err3 := r.flag("wait", true)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	reply, publish, err := c.apply(r.Context(), Apply{file, prune, dry, r.caller.Name, source(r.Request), r.caller.Role})
	if err != nil {
		return nil, err
	}
	reply.Published, reply.Note = c.published(r.Context(), wait, publish)
	status := http.StatusOK
	if !reply.Published {
		status = http.StatusAccepted
	}
	return &answer{status: status, body: reply}, nil
}

func parseFile(r *request) (*configfile.File, error) {
	parse := configfile.Parse
	if strings.Contains(r.Header.Get("Content-Type"), "json") || bytes.HasPrefix(bytes.TrimSpace(r.body), []byte("{")) {
		parse = configfile.ParseJSON
	}
	f, err := parse(r.body)
	if err != nil {
		return nil, &Error{Status: http.StatusBadRequest, Problem: registry.Invalid, Reason: err.Error()}
	}
	return f, nil
}

// ApplyConfig makes the registry as a config file says, and waits until that is
// in force in every partition or ctx ends. It is what PUT /api/v1/config does,
// for the node itself.
func (c *Console) ApplyConfig(ctx context.Context, a Apply) (*Applied, error) {
	reply, publish, err := c.apply(ctx, a)
	if err != nil || a.DryRun {
		return reply, err
	}
	if err := c.cfg.WaitPublished(ctx, publish); err != nil {
		return reply, err
	}
	reply.Published = true
	return reply, nil
}

// apply plans the file against the newest model and proposes the plan, again
// if somebody else was faster. It gives the settings revision to wait for.
func (c *Console) apply(ctx context.Context, a Apply) (reply *Applied, publish int64, err error) {
	reply = &Applied{Changes: []string{}, DryRun: a.DryRun}
	told := make(map[string]bool)
	for range applyAttempts {
		m, err := c.newest(ctx)
		if err != nil {
			return nil, 0, err
		}
		plan, err := a.File.Plan(m, a.Prune)
		if err != nil {
			return nil, 0, &Error{Status: http.StatusBadRequest, Problem: registry.Invalid, Reason: err.Error()}
		}
		for _, op := range plan.Ops {
			if need := roleOf(op); a.Role != "" && !a.Role.May(need) {
				return nil, 0, needs(Caller{Name: a.Actor, Role: a.Role}, need)
			}
		}
		for _, line := range plan.Diff {
			if !told[line] { // an earlier attempt may have done some of it
				told[line] = true
				reply.Changes = append(reply.Changes, line)
			}
		}
		reply.Revision = max(reply.Revision, m.Revision())
		if len(plan.Ops) == 0 || a.DryRun {
			// Of what is there already, all may not be in force yet.
			return reply, max(publish, m.Settings().Revision), nil
		}
		done, published, err := c.proposePlan(ctx, a, plan, reply)
		publish = max(publish, published)
		if done || err != nil {
			return reply, publish, err
		}
		select {
		case <-time.After(applyPause):
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
	return nil, 0, &Error{Status: http.StatusConflict, Problem: registry.Conflict, Reason: fmt.Sprintf("somebody else changed the registry %d times meanwhile: try again", applyAttempts)}
}

func (c *Console) newest(ctx context.Context) (*registry.Model, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.ProposeTimeout)
	defer cancel()
	return c.cfg.Registry.Read(ctx)
}

// proposePlan proposes a plan's commands, each where the one before it left.
// It is not done if somebody else came in between.
func (c *Console) proposePlan(ctx context.Context, a Apply, plan *configfile.Plan, reply *Applied) (done bool, publish int64, err error) {
	id, err := c.random()
	if err != nil {
		return false, 0, err
	}
	revision := reply.Revision
	for _, command := range plan.Commands(registry.Command{ID: id, Actor: a.Actor, Source: a.Source}) {
		command.Expect = revision
		result, err := c.propose(ctx, command)
		var refused *registry.Error
		if errors.As(err, &refused) && refused.Problem == registry.Conflict {
			return false, publish, nil
		}
		if err != nil {
			return false, publish, err
		}
		revision, publish = result.Revision, max(publish, result.Publish)
		reply.Revision, reply.Changed.Changed = revision, true
	}
	return true, publish, nil
}

// exportConfig gives all instances as a config file.
func (c *Console) exportConfig(r *request) (any, error) {
	m, err := c.model(r)
	if err != nil {
		return nil, err
	}
	file := configfile.Export(m)
	switch format := r.URL.Query().Get("format"); format {
	case "json":
		return file, nil
	case "", "yaml":
		b, err := yaml.Marshal(file)
		if err != nil {
			return nil, fmt.Errorf("write config: %w", err)
		}
		head := fmt.Sprintf("# Registry revision %d. Keys and token secrets are not told; applied as it is, the file leaves them alone.\n", m.Revision())
		return &answer{header: map[string]string{"Content-Type": "application/yaml; charset=utf-8"}, raw: append([]byte(head), b...)}, nil
	default:
		return nil, &Error{Status: http.StatusBadRequest, Path: "format", Reason: fmt.Sprintf("%.40q: use yaml or json", format)}
	}
}
