package console

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology/registry"
	"github.com/tidemarkio/tidemark/topology/registry/configfile"
)

// maxBody bounds a request's body, but for config files.
const maxBody = 1 << 20

// route is one operation of the API.
type route struct {
	Method  string
	Path    string
	Summary string
	Role    registry.Role // who may; empty: anybody, it is how one comes in
	Query   []param
	In      any            // an example of the JSON body's type; nil: no body
	Body    string         // what a body is that is no JSON of In
	Out     any            // an example of the answer's type; nil: no JSON
	Status  int            // of success; 0: 200
	Change  bool           // it may answer 202 too
	Media   string         // of an answer that is no JSON
	Max     int64          // of the body, bytes; 0: maxBody
	Upload  bool           // Do reads the body itself, as it comes
	Refused map[int]string // what refusals of its own mean, by status
	Do      func(*request) (any, error)
}

type param struct{ Name, Meaning string }

const v1 = "/api/v1"

var (
	waitParam = param{"wait", "false: answer as soon as the registry has the change, before tasks do"}
	readParam = param{"consistent", "true: ask the registry's leader, instead of what this node has"}
)

// get is a route that looks; change is one that makes a change and says when it
// is in force.
func get(path, summary string, role registry.Role, out any, do func(*request) (any, error), query ...param) route {
	return route{Method: "GET", Path: path, Summary: summary, Role: role, Query: query, Out: out, Do: do}
}

func change(method, path, summary string, role registry.Role, in any, do func(*request) (any, error)) route {
	r := route{Method: method, Path: path, Summary: summary, Role: role, Query: []param{waitParam}, In: in, Out: Changed{}, Change: true, Do: do}
	if method == "POST" && in != nil {
		r.Status = http.StatusCreated
	}
	return r
}

// routes lists the API.
func (c *Console) routes() []route {
	all := []route{
		get(v1+"/openapi.json", "this document", registry.Viewer, map[string]any{}, c.openAPI),
		get(v1+"/registry/status", "quorum, leader, applied index, publication", registry.Viewer, registry.Status{}, c.registryStatus),
	}
	return slices.Concat(all, c.loginRoutes(), c.lockRoutes(), c.configRoutes(), c.instanceRoutes(), c.keyRoutes(), c.serviceRoutes(), c.auditRoutes(), c.liveRoutes(), c.watchRoutes(), c.memberRoutes())
}

func (c *Console) configRoutes() []route {
	query := []param{{"prune", "true: remove what the file does not list"}, {"dryRun", "true: only say what would change"}, waitParam}
	export := get(v1+"/config", "all instances as a config file, without keys", registry.Viewer, configfile.File{}, c.exportConfig, param{"format", "yaml (default) or json"}, readParam)
	export.Media = "application/yaml"
	put := route{
		Method: "PUT", Path: v1 + "/config", Summary: "make the registry as a config file says", Role: registry.Operator, Query: query,
		In: configfile.File{}, Body: "config file, YAML or JSON; keys in it need the role admin", Out: Applied{}, Change: true, Max: configfile.MaxBytes, Do: c.applyConfig,
	}
	post := put
	post.Method, post.Summary = "POST", "the same as PUT"
	return []route{export, put, post}
}

func (c *Console) instanceRoutes() []route {
	instance, sync := v1+"/instances/{instanceId}", v1+"/instances/{instanceId}/sync/{bizType}"
	online := change("POST", sync+"/online", "take a sync config online", registry.Operator, nil, c.setOnline(true))
	offline := change("POST", sync+"/offline", "take a sync config offline", registry.Operator, nil, c.setOnline(false))
	return []route{
		get(v1+"/instances", "instances", registry.Viewer, Instances{}, c.listInstances, readParam),
		change("POST", v1+"/instances", "make an instance", registry.Operator, registry.CreateInstance{}, c.createInstance),
		get(instance, "an instance, without its secrets", registry.Viewer, registry.InstanceView{}, c.getInstance, readParam),
		change("PUT", instance, "change description, sessionValidation, jwt; fields left out stay", registry.Operator, instanceChange{}, c.putInstance),
		change("DELETE", instance, "remove an instance that has no configs", registry.Operator, nil, c.deleteInstance),

		get(instance+"/sync", "an instance's sync configs", registry.Viewer, Syncs{}, c.listSyncs, readParam),
		change("POST", instance+"/sync", "make a sync config", registry.Operator, configfile.Sync{}, c.createSync),
		get(sync, "a sync config", registry.Viewer, registry.Sync{}, c.getSync, readParam),
		change("PUT", sync, "change a sync config; fields left out stay", registry.Operator, configfile.Sync{}, c.putSync),
		change("DELETE", sync, "remove a sync config that is offline", registry.Operator, nil, c.deleteSync),
		online, offline,
		{Method: "POST", Path: sync + "/send", Summary: "send data to a target, or to everybody where the config is global", Role: registry.Operator, In: SendForm{}, Out: Sent{}, Do: c.postSend},
		get(instance+"/targets/{dimension}/{name}", "a user or device: status, 30-day pushes and arrivals, push list", registry.Viewer, Target{}, c.getTarget,
			param{"limit", "length of the push list; default 100, at most 1000"}),
		{Method: "POST", Path: instance + "/redeliver", Summary: "move sync points of targets back, so that stored entries that are still valid are delivered once more", Role: registry.Operator, In: RedeliverForm{}, Out: Redelivered{}, Do: c.postRedeliver},
	}
}

// request is one call, with who makes it.
type request struct {
	*http.Request
	w      http.ResponseWriter
	caller Caller
	body   []byte
}

// answer is a body with a status other than 200, or with a form of its own.
type answer struct {
	status int
	header map[string]string
	raw    []byte // as it is, if set
	body   any
}

// Error is a refusal as the API answers it.
type Error struct {
	Status  int              `json:"-"`
	Problem registry.Problem `json:"problem,omitempty"`
	Path    string           `json:"path,omitempty"`
	Reason  string           `json:"reason"`
}

func (e *Error) Error() string {
	if e.Path == "" {
		return e.Reason
	}
	return e.Path + ": " + e.Reason
}

// serve wraps a route: who calls, how large, and how answers and errors look.
func (c *Console) serve(r route) http.HandlerFunc {
	return func(w http.ResponseWriter, hr *http.Request) {
		reply, err := c.do(r, w, hr)
		if err != nil {
			c.refuse(w, hr, err)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		switch reply := reply.(type) {
		case *stream:
			c.serveStream(w, hr, reply)
			return
		case *download:
			c.serveDownload(w, hr, reply)
			return
		}
		a, ok := reply.(*answer)
		if !ok {
			a = &answer{status: r.Status, body: reply}
		}
		for k, v := range a.header {
			w.Header().Set(k, v)
		}
		if a.raw == nil {
			w.Header().Set("Content-Type", "application/json")
			var b bytes.Buffer
			e := json.NewEncoder(&b)
			e.SetEscapeHTML(false)
			if err := e.Encode(a.body); err != nil {
				c.refuse(w, hr, err)
				return
			}
			a.raw = b.Bytes()
		}
		if a.status != 0 {
			w.WriteHeader(a.status)
		}
		_, _ = w.Write(a.raw) // the caller has gone if it fails
	}
}

func (c *Console) do(r route, w http.ResponseWriter, hr *http.Request) (any, error) {
	var caller Caller
	if r.Role != "" {
		var err error
		if caller, err = c.Caller(hr); err != nil {
			return nil, err
		}
		if !caller.Role.May(r.Role) {
			return nil, needs(caller, r.Role)
		}
		if err := c.CheckCSRF(hr, caller); err != nil {
			return nil, err
		}
		c.Renew(w, hr, caller.Session)
	}
	limit := r.Max
	if limit == 0 {
		limit = maxBody
	}
	if r.Upload {
		return r.Do(&request{hr, w, caller, nil})
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, hr.Body, limit))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, &Error{Status: http.StatusRequestEntityTooLarge, Reason: fmt.Sprintf("the body is over %d bytes", limit)}
	case err != nil:
		return nil, &Error{Status: http.StatusBadRequest, Reason: "the body did not come whole"}
	}
	return r.Do(&request{hr, w, caller, body})
}

// statuses maps the registry's refusals to HTTP.
var statuses = map[registry.Problem]int{
	registry.Invalid: http.StatusBadRequest, registry.NotFound: http.StatusNotFound, registry.Exists: http.StatusConflict,
	registry.Conflict: http.StatusConflict, registry.Refused: http.StatusConflict, registry.Unknown: http.StatusNotImplemented,
}

// retryAfter is when to call again after 503, seconds: a registry that has lost
// its leader has another one in about so much.
const retryAfter = "1"

// problem makes an answer of any error. What is none of the caller's doing is a
// 503: the registry has no leader, or a part did not answer in time.
func (c *Console) problem(r *http.Request, err error) *Error {
	var ours *Error
	var theirs *registry.Error
	switch {
	case errors.As(err, &ours):
		return ours
	case errors.As(err, &theirs):
		return &Error{statuses[theirs.Problem], theirs.Problem, theirs.Path, theirs.Reason}
	}
	c.cfg.Log.Warn("console: a call failed", "method", r.Method, "path", r.URL.Path, "error", err)
	answer := &Error{Status: http.StatusServiceUnavailable, Reason: err.Error()}
	if errors.Is(err, registry.ErrOutcome) {
		answer.Problem, answer.Reason = OutcomeUnknown, "outcome unknown: look whether it was done before you repeat it: "+answer.Reason
	}
	return answer
}

// OutcomeUnknown is the problem of a change that may have been made or not: its
// answer was lost.
const OutcomeUnknown registry.Problem = "outcomeUnknown"

// refuse answers an error.
func (c *Console) refuse(w http.ResponseWriter, r *http.Request, err error) {
	ours := c.problem(r, err)
	if ours.Status == http.StatusServiceUnavailable && w.Header().Get("Retry-After") == "" {
		w.Header().Set("Retry-After", retryAfter)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(ours.Status)
	_ = json.NewEncoder(w).Encode(map[string]*Error{"error": ours})
}

// model is what a reading call looks at.
func (c *Console) model(r *request) (*registry.Model, error) {
	consistent, err := r.flag("consistent", false)
	if err != nil {
		return nil, err
	}
	if !consistent {
		m, _ := c.cfg.Registry.Now()
		return m, nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), c.cfg.ProposeTimeout)
	defer cancel()
	return c.cfg.Registry.Read(ctx)
}

// Changed is the answer to a change.
type Changed struct {
	Revision  int64 `json:"revision"`  // of the registry after the change
	Changed   bool  `json:"changed"`   // false: all was as asked already
	Published bool  `json:"published"` // it is in force in every partition
	// Note says what is missing when it is not.
	Note string `json:"note,omitempty"`
}

// Change has operations applied in a caller's name and waits until they are in
// force (without wait: not). What the caller's role does not include is refused.
func (c *Console) Change(ctx context.Context, caller Caller, from string, wait bool, ops ...registry.Op) (Changed, error) {
	for _, op := range ops {
		if need := roleOf(op); !caller.Role.May(need) {
			return Changed{}, needs(caller, need)
		}
	}
	result, err := c.propose(ctx, registry.Command{Actor: caller.Name, Source: from, Ops: ops})
	if err != nil {
		return Changed{}, err
	}
	changed := Changed{Revision: result.Revision, Changed: result.Changed}
	changed.Published, changed.Note = c.published(ctx, wait, result.Publish)
	return changed, nil
}

// roleOf is who may make a change, whatever the door.
func roleOf(op registry.Op) registry.Role {
	switch op.(type) {
	case registry.CreateInstance, registry.ModifyInstance, registry.DeleteInstance,
		registry.CreateSync, registry.ModifySync, registry.DeleteSync, registry.SetOnline:
		return registry.Operator
	}
	return registry.Admin
}

// change is Change for a route.
func (c *Console) change(r *request, status int, ops ...registry.Op) (any, error) {
	wait, err := r.flag("wait", true)
	if err != nil {
		return nil, err
	}
	changed, err := c.Change(r.Context(), r.caller, source(r.Request), wait, ops...)
	if err != nil {
		return nil, err
	}
	if !changed.Published {
		status = http.StatusAccepted
	}
	return &answer{status: status, body: changed}, nil
}

func (c *Console) propose(ctx context.Context, command registry.Command) (registry.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.ProposeTimeout)
	defer cancel()
	command.Time = c.cfg.Clock().UnixMilli()
	return c.cfg.Registry.Propose(ctx, command)
}

// published waits until a settings revision is in force (0: it always is), and
// says why it is not known to be.
func (c *Console) published(ctx context.Context, wait bool, revision int64) (yes bool, note string) {
	switch {
	case revision == 0:
		return true, ""
	case !wait:
		return false, "not waited for"
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.PublishTimeout)
	defer cancel()
	if err := c.cfg.WaitPublished(ctx, revision); err != nil {
		return false, err.Error()
	}
	return true, ""
}

// source is the address that a call came from.
func source(r *http.Request) string {
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		return host
	}
	return r.RemoteAddr
}

// decode reads a JSON body; unknown fields are refused.
func (r *request) decode(v any) error {
	if err := schemas.CheckJSON(r.body); err != nil {
		return &Error{Status: http.StatusBadRequest, Reason: err.Error()}
	}
	d := json.NewDecoder(bytes.NewReader(r.body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return &Error{Status: http.StatusBadRequest, Reason: strings.TrimPrefix(err.Error(), "json: ")}
	}
	return nil
}

// flag reads a query parameter that is true or false.
func (r *request) flag(name string, otherwise bool) (bool, error) {
	s := r.URL.Query().Get(name)
	if s == "" && !r.URL.Query().Has(name) {
		return otherwise, nil
	}
	if s == "" {
		return true, nil // ?prune
	}
	v, err := strconv.ParseBool(s)
	if err != nil {
		return false, &Error{Status: http.StatusBadRequest, Path: name, Reason: fmt.Sprintf("%.40q: use true or false", s)}
	}
	return v, nil
}

// expected reads If-Match: the revision of an object that the caller has seen.
func (r *request) expected() (int64, error) {
	s := strings.Trim(r.Header.Get("If-Match"), `"`)
	if s == "" || s == "*" {
		return 0, nil
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil || v < 1 {
		return 0, &Error{Status: http.StatusBadRequest, Path: "If-Match", Reason: "a revision, as in the ETag of what was read"}
	}
	return v, nil
}

// tagged is an answer with an object's revision as its ETag.
func tagged(revision int64, body any) any {
	return &answer{header: map[string]string{"ETag": strconv.Quote(strconv.FormatInt(revision, 10))}, body: body}
}

// random names a command.
func (c *Console) random() (string, error) {
	b := make([]byte, 8)
	if _, err := io.ReadFull(c.cfg.Rand, b); err != nil {
		return "", fmt.Errorf("read random bytes: %w", err)
	}
	return hex.EncodeToString(b), nil
}
