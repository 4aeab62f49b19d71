package console

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/tidemarkio/tidemark/topology/registry"
)

func (c *Console) usersPage(v *view) error {
	m, err := c.newest(v.r.Context())
	if err != nil {
		return err
	}
	d := usersData{Locks: c.locksOf(m)}
	for u := range m.Users() {
		d.Users = append(d.Users, u.View())
	}
	return v.show("users", "users", d)
}

type usersData struct {
	Users []*registry.UserView
	Locks []*registry.Lock
}

// userForm is the form of a user, as typed; a password is never shown again.
type userForm struct {
	New      bool
	Name     string
	Role     registry.Role
	Subject  string
	Disabled bool
	Expect   int64
	Roles    []registry.Role
}

// RoleName is a role for people.
func (v *view) RoleName(r registry.Role) string { return v.Name("", roleText(r)) }

func (c *Console) newUserPage(v *view) error {
	v.Title = v.T("newUser")
	return v.show("user_form", "users", &userForm{New: true, Role: registry.Viewer, Roles: registry.Roles})
}

func (c *Console) newUserPost(v *view) error { return c.writeUserPage(v, nil) }

// user finds the user that the address names, as it is now.
func (v *view) user() (*registry.User, error) {
	m, err := v.c.newest(v.r.Context())
	if err != nil {
		return nil, err
	}
	v.Nav = "users"
	u := m.User(v.query("name"))
	if u == nil {
		return nil, &Error{http.StatusNotFound, registry.NotFound, "name", fmt.Sprintf("no user %.120q", v.query("name"))}
	}
	v.Title = u.Name
	return u, nil
}

func (c *Console) editUserPage(v *view) error {
	u, err := v.user()
	if err != nil {
		return err
	}
	return v.show("user_form", "users", &userForm{Name: u.Name, Role: u.Role, Subject: u.Subject, Disabled: u.Disabled, Expect: u.Revision, Roles: registry.Roles})
}

func (c *Console) editUserPost(v *view) error {
	u, err := v.user()
	if err != nil {
		return err
	}
	return c.writeUserPage(v, u)
}

func (c *Console) writeUserPage(v *view, was *registry.User) error {
	f := &userForm{New: was == nil, Name: v.form("name"), Role: registry.Role(v.form("role")), Subject: v.form("subject"), Disabled: v.form("disabled") == "true", Roles: registry.Roles}
	f.Expect, _ = strconv.ParseInt(v.form("expect"), 10, 64) // 0 expects nothing
	name, done := "", "created"
	if was != nil {
		f.Name, name, done = was.Name, was.Name, "saved"
	} else {
		v.Title = v.T("newUser")
	}
	op, err := c.UserOp(v.r.Context(), name, UserForm{Name: f.Name, Role: f.Role, Password: v.r.PostFormValue("password"), Subject: f.Subject, Disabled: &f.Disabled}, f.Expect)
	if err == nil {
		done, err = v.change(done, op)
	}
	if err != nil {
		return v.again(err, "user_form", "users", f)
	}
	return v.to("/users", done, nil)
}
