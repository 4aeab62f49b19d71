package console

import (
	"context"
	"fmt"
	"net/http"

	"github.com/tidemarkio/tidemark/topology/registry"
)

func (c *Console) loginRoutes() []route {
	user := v1 + "/users/{name}"
	all := []route{
		{Method: "POST", Path: v1 + "/login", Summary: "log in with a password; sets the session's cookie", In: LoginForm{}, Out: Whoami{}, Do: c.postLogin},
		{Method: "POST", Path: v1 + "/logout", Summary: "end the session", Role: registry.Viewer, Out: Done{}, Do: c.postLogout},
		get(v1+"/session", "who calls, and the token that writes with a session must show", registry.Viewer, Whoami{}, c.getSession),
		{Method: "POST", Path: v1 + "/password", Summary: "change the caller's own password; ends all of their sessions", Role: registry.Viewer, In: passwordForm{}, Out: Changed{}, Do: c.postPassword},

		get(v1+"/users", "console users", registry.Admin, Users{}, c.listUsers, readParam),
		change("POST", v1+"/users", "make a user", registry.Admin, UserForm{}, c.createUser),
		get(user, "a user, without the password", registry.Admin, registry.UserView{}, c.getUser, readParam),
		change("PUT", user, "change role, password, or whether a user is disabled; fields left out stay", registry.Admin, UserForm{}, c.putUser),
		change("DELETE", user, "remove a user", registry.Admin, nil, c.deleteUser),
	}
	if c.cfg.OIDC != nil {
		all = append(all,
			route{Method: "GET", Path: OIDCStart, Summary: "go to the OpenID Connect provider to log in", Media: "text/html", Status: http.StatusFound, Do: c.startOIDC},
			route{Method: "GET", Path: OIDCCallback, Summary: "come back from the provider", Media: "text/html", Do: c.finishOIDC,
				Query: []param{{"state", "from the provider"}, {"code", "from the provider"}, {"error", "from the provider"}}})
	}
	return all
}

// Done is an answer that has little to say.
type Done struct {
	Success bool `json:"success"`
	// Note says what is missing.
	Note string `json:"note,omitempty"`
}

// Whoami says who calls.
type Whoami struct {
	Name string        `json:"name"`
	Role registry.Role `json:"role"`
	CSRF string        `json:"csrf,omitempty"` // for [CSRFHeader]; only with a session
	// Expires is when the session is over at the latest, epoch ms.
	Expires int64 `json:"expires,omitempty"`
}

func (c *Console) whoami(name string, role registry.Role, s *Session) Whoami {
	w := Whoami{Name: name, Role: role}
	if s != nil {
		w.CSRF, w.Expires = c.CSRF(s), s.Began+SessionMax.Milliseconds()
	}
	return w
}

func (c *Console) postLogin(r *request) (any, error) {
	var f LoginForm
	if err := r.decode(&f); err != nil {
		return nil, &Error{Status: http.StatusBadRequest, Reason: "the body is not a name and a password"} // and is not shown
	}
	s, err := c.Login(r.w, r.Request, f)
	if err != nil {
		return nil, err
	}
	u := c.known(r.Context()).User(s.Name)
	if u == nil {
		return nil, errLogin // removed this moment
	}
	return c.whoami(u.Name, u.Role, s), nil
}

func (c *Console) postLogout(r *request) (any, error) {
	if !c.Logout(r.w, r.Request) {
		return Done{true, "the registry did not answer: other nodes take a copy of this session's cookie until it ends by itself"}, nil
	}
	return Done{Success: true}, nil
}

func (c *Console) getSession(r *request) (any, error) {
	return c.whoami(r.caller.Name, r.caller.Role, r.caller.Session), nil
}

type passwordForm struct {
	Current  string `json:"current"`
	Password string `json:"password"`
}

func (c *Console) postPassword(r *request) (any, error) {
	var f passwordForm
	if err := r.decode(&f); err != nil {
		return nil, &Error{Status: http.StatusBadRequest, Reason: "the body is not current and password"}
	}
	if err := c.ChangePassword(r.Context(), r.caller, source(r.Request), f.Current, f.Password); err != nil {
		return nil, err
	}
	c.dropSession(r.w, r.Request)
	m, _ := c.cfg.Registry.Now()
	return Changed{Revision: m.Revision(), Changed: true, Published: true}, nil
}

// ChangePassword gives a user who is logged in another password, and ends all
// of their sessions.
func (c *Console) ChangePassword(ctx context.Context, caller Caller, from, current, password string) error {
	if caller.Session == nil {
		return &Error{Status: http.StatusConflict, Reason: "the caller is no user: log in first"}
	}
	if err := CheckPassword(caller.Name, password); err != nil {
		return err
	}
	m, err := c.newest(ctx)
	if err != nil {
		return err
	}
	if c.throttle.begin(c.cfg.Clock(), m, caller.Name, from) > 0 {
		return &Error{Status: http.StatusTooManyRequests, Reason: "too many wrong passwords: try again later"}
	}
	u := m.User(caller.Name)
	if u == nil || len(current) > MaxPassword {
		return errLogin
	}
	ok, err := c.samePassword(ctx, u.Password, current)
	if err != nil {
		return err
	}
	if !ok {
		return &Error{http.StatusForbidden, registry.Refused, "current", "it is not the current password"}
	}
	c.throttle.succeeded(c.cfg.Clock(), caller.Name, from)
	hash, err := c.hashPassword(ctx, password)
	if err != nil {
		return err
	}
	_, err = c.propose(ctx, registry.Command{Actor: caller.Name, Source: from, Ops: []registry.Op{
		registry.ModifyUser{Name: u.Name, Password: hash, Expect: u.Revision},
	}})
	return err
}

// Users is a list of console users.
type Users struct {
	Revision int64                `json:"revision"`
	Users    []*registry.UserView `json:"users"`
}

func (c *Console) listUsers(r *request) (any, error) {
	m, err := c.model(r)
	if err != nil {
		return nil, err
	}
	all := []*registry.UserView{}
	for u := range m.Users() {
		all = append(all, u.View())
	}
	return Users{m.Revision(), all}, nil
}

// UserForm makes or changes a user. When it changes one, empty fields stay.
type UserForm struct {
	Name     string        `json:"name,omitempty"`
	Role     registry.Role `json:"role,omitempty"`
	Password string        `json:"password,omitempty"` // none: the user comes in with OpenID Connect
	Subject  string        `json:"subject,omitempty"`  // of OpenID Connect: the issuer, a space, and the subject
	Disabled *bool         `json:"disabled,omitempty"`
}

// UserOp makes the operation of a form: of a new user, or, with a name, of a
// change of that user.
func (c *Console) UserOp(ctx context.Context, name string, f UserForm, expect int64) (registry.Op, error) {
	hash := ""
	if f.Password != "" {
		owner := name
		if owner == "" {
			owner = f.Name
		}
		if err := CheckPassword(owner, f.Password); err != nil {
			return nil, err
		}
		var err error
		if hash, err = c.hashPassword(ctx, f.Password); err != nil {
			return nil, err
		}
	}
	if name == "" {
		u := registry.User{Name: f.Name, Role: f.Role, Password: hash, Subject: f.Subject}
		if f.Disabled != nil {
			u.Disabled = *f.Disabled
		}
		return registry.CreateUser{User: u}, nil
	}
	if f.Name != "" && f.Name != name {
		return nil, &Error{http.StatusBadRequest, registry.Invalid, "name", fmt.Sprintf("the path says %.120q: a name cannot change", name)}
	}
	return registry.ModifyUser{Name: name, Role: f.Role, Password: hash, Subject: f.Subject, Disabled: f.Disabled, Expect: expect}, nil
}

func (c *Console) createUser(r *request) (any, error) { return c.writeUser(r, "", http.StatusCreated) }

func (c *Console) putUser(r *request) (any, error) {
	return c.writeUser(r, r.PathValue("name"), http.StatusOK)
}

func (c *Console) writeUser(r *request, name string, status int) (any, error) {
	var f UserForm
	if err := r.decode(&f); err != nil {
		return nil, err
	}
	expect, err := r.expected()
	if err != nil {
		return nil, err
	}
	op, err := c.UserOp(r.Context(), name, f, expect)
	if err != nil {
		return nil, err
	}
	return c.change(r, status, op)
}

func (c *Console) getUser(r *request) (any, error) {
	m, err := c.model(r)
	if err != nil {
		return nil, err
	}
	u := m.User(r.PathValue("name"))
	if u == nil {
		return nil, &Error{http.StatusNotFound, registry.NotFound, "name", fmt.Sprintf("no user %.120q", r.PathValue("name"))}
	}
	return tagged(u.Revision, u.View()), nil
}

func (c *Console) deleteUser(r *request) (any, error) {
	expect, err := r.expected()
	if err != nil {
		return nil, err
	}
	return c.change(r, http.StatusOK, registry.DeleteUser{Name: r.PathValue("name"), Expect: expect})
}
