package registry

import (
	"slices"
)

// maxPassword bounds an encoded password hash, and a subject.
const maxPassword = 500

// CreateUser makes a console user.
type CreateUser struct {
	User User `json:"user"` // Name, Role, Password, Subject
}

// Kind names the operation in the log.
func (CreateUser) Kind() string { return "createUser" }

func (o CreateUser) check() error { return o.User.check() }

func (u *User) check() error {
	if err := checkName("name", u.Name, MaxUserName); err != nil {
		return err
	}
	if !slices.Contains(Roles, u.Role) {
		return invalid("role", "%q: use viewer, operator or admin", u.Role)
	}
	if err := checkText("password", u.Password, 0, maxPassword); err != nil {
		return invalid("password", "its hash is not in order") // and is not shown
	}
	return checkText("subject", u.Subject, 0, maxPassword)
}

func (o CreateUser) apply(e *edit) error {
	u := o.User
	u.Stamps, u.Epoch, u.Login, u.Ended = Stamps{}, 1, 0, nil
	switch {
	case e.m.User(u.Name) != nil:
		return refuse(Exists, "name", "user %q exists", u.Name)
	case e.m.users.len() >= MaxUsers:
		return refuse(Refused, "", "%d users: the limit", MaxUsers)
	}
	e.putUser(&u)
	e.record(UserCreate, u.object(), nil, u.View())
	return nil
}

// ModifyUser changes a console user. Zero fields stay as they are.
type ModifyUser struct {
	Name     string `json:"name"`
	Role     Role   `json:"role,omitempty"`
	Password string `json:"password,omitempty"`
	Subject  string `json:"subject,omitempty"`
	Disabled *bool  `json:"disabled,omitempty"`
	Expect   int64  `json:"expect,omitempty"`
}

// Kind names the operation in the log.
func (ModifyUser) Kind() string { return "modifyUser" }

func (o ModifyUser) check() error { return nil }

func (o ModifyUser) apply(e *edit) error {
	was, err := e.user(o.Name, o.Expect)
	if err != nil {
		return err
	}
	is := *was
	is.Role = or(o.Role, is.Role)
	is.Password, is.Subject = or(o.Password, is.Password), or(o.Subject, is.Subject)
	if o.Disabled != nil {
		is.Disabled = *o.Disabled
	}
	ends := is.Role != was.Role || is.Password != was.Password || is.Disabled != was.Disabled
	if err := is.check(); err != nil || !ends && is.Subject == was.Subject {
		return err
	}
	if ends {
		is.endSessions()
	}
	e.putUser(&is)
	if err := e.keepsAdmin(was); err != nil {
		return err
	}
	e.record(UserModify, is.object(), was.View(), is.View())
	return nil
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// DeleteUser removes a console user.
type DeleteUser struct {
	Name   string `json:"name"`
	Expect int64  `json:"expect,omitempty"`
}

// Kind names the operation in the log.
func (DeleteUser) Kind() string { return "deleteUser" }

func (o DeleteUser) check() error { return nil }

func (o DeleteUser) apply(e *edit) error {
	was, err := e.user(o.Name, o.Expect)
	if err != nil {
		return err
	}
	e.m.users = e.m.users.drop(o.Name)
	if err := e.keepsAdmin(was); err != nil {
		return err
	}
	e.touch(was.object())
	e.record(UserDelete, was.object(), was.View(), nil)
	return nil
}

// keepsAdmin refuses to lose the last user that can administer.
func (e *edit) keepsAdmin(was *User) error {
	if was.Role == Admin && !was.Disabled && e.m.admins() == 0 {
		return refuse(Refused, "", "%q is the last admin: make another one first", was.Name)
	}
	return nil
}

// Login notes that a user came in, or somebody tried to.
type Login struct {
	Name   string `json:"name"` // as it was typed
	OK     bool   `json:"ok"`
	Method string `json:"method,omitempty"` // password, oidc
}

// Kind names the operation in the log.
func (Login) Kind() string { return "login" }

func (o Login) check() error {
	if err := checkText("name", o.Name, 0, MaxUserName); err != nil {
		return err
	}
	return checkText("method", o.Method, 0, MaxLabel)
}

func (o Login) apply(e *edit) error {
	action := LoginFailed
	if o.OK {
		was, err := e.user(o.Name, 0)
		if err != nil {
			return err
		}
		is := *was
		is.Login, is.Ended = e.cmd.Time, stillRunning(is.Ended, e.cmd.Time)
		if l := e.m.Lock(KindUser, o.Name); l != nil {
			e.dropLock(l) // they know the password
		}
		e.m.users = e.m.users.put(is.Name, &is)
		action = LoginOK
	}
	e.record(action, Object{Kind: KindUser, Name: o.Name}, nil, map[string]string{"method": o.Method})
	return nil
}

func (e *edit) user(name string, expect int64) (*User, error) {
	u := e.m.User(name)
	if u == nil {
		return nil, refuse(NotFound, "name", "no user %.120q", name)
	}
	return u, newer(&u.Stamps, expect)
}

func (e *edit) putUser(u *User) {
	e.stamp(&u.Stamps)
	e.m.users = e.m.users.put(u.Name, u)
	e.touch(u.object())
}

func (u *User) object() Object { return Object{Kind: KindUser, Name: u.Name} }
