package console

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// FirstAdmin is the name of the user that [Console.EnsureAdmin] makes.
const FirstAdmin = "admin"

// EnsureAdmin makes the first admin where there is no user yet. Without a
// password it thinks of one and gives it, to be shown once; else it gives "".
func (c *Console) EnsureAdmin(ctx context.Context, password string) (made string, err error) {
	m, err := c.newest(ctx)
	if err != nil {
		return "", err
	}
	for range m.Users() {
		return "", nil
	}
	if password == "" {
		b := make([]byte, 15)
		if _, err := io.ReadFull(c.cfg.Rand, b); err != nil {
			return "", fmt.Errorf("read random bytes: %w", err)
		}
		password = base64.RawURLEncoding.EncodeToString(b)
		made = password
	}
	if err := CheckPassword(FirstAdmin, password); err != nil {
		return "", fmt.Errorf("first admin: %w", err)
	}
	hash, err := c.hashPassword(ctx, password)
	if err != nil {
		return "", err
	}
	_, err = c.propose(ctx, registry.Command{Actor: "first start", Ops: []registry.Op{
		registry.CreateUser{User: registry.User{Name: FirstAdmin, Role: registry.Admin, Password: hash}},
	}})
	var refused *registry.Error
	if errors.As(err, &refused) && refused.Problem == registry.Exists {
		return "", nil // another node was faster, and shows its password
	}
	return made, err
}

// LoginForm is what a person types.
type LoginForm struct {
	Name     string `json:"name"`
	Password string `json:"password"`
}

// errLogin does not say which of both is wrong.
var errLogin = &Error{Status: http.StatusUnauthorized, Reason: "the name or the password is wrong"}

// Login checks a password and gives the browser a new session. Whatever
// session it had before is over.
func (c *Console) Login(w http.ResponseWriter, r *http.Request, form LoginForm) (*Session, error) {
	now := c.cfg.Clock()
	// What cannot be a name or a password is not worth a hash, and not a record.
	if n := utf8.RuneCountInString(form.Name); n < 1 || n > registry.MaxUserName || !utf8.ValidString(form.Name) || len(form.Password) > MaxPassword {
		return nil, errLogin
	}
	if wait := c.throttle.begin(now, form.Name, source(r)); wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
		return nil, &Error{Status: http.StatusTooManyRequests, Reason: fmt.Sprintf("too many failed logins: try again in %s", wait.Round(time.Second))}
	}
	m, err := c.newest(r.Context())
	if err != nil {
		return nil, err
	}
	u, stored := m.User(form.Name), ""
	if u != nil && !u.Disabled {
		stored = u.Password
	}
	ok, err := c.samePassword(r.Context(), stored, form.Password)
	if err != nil {
		return nil, err
	}
	if !ok {
		c.noteFailed(r, form.Name, "password")
		return nil, errLogin
	}
	c.throttle.succeeded(now, form.Name, source(r))
	return c.enter(w, r, u, "password")
}

// noteFailed puts a failed login into the audit.
func (c *Console) noteFailed(r *http.Request, name, method string) {
	_, err := c.propose(r.Context(), registry.Command{Source: source(r), Ops: []registry.Op{registry.Login{Name: name, Method: method}}})
	var refused *registry.Error
	if errors.As(err, &refused) && refused.Problem == registry.Invalid { // no name that a record can hold
		_, err = c.propose(r.Context(), registry.Command{Source: source(r), Ops: []registry.Op{registry.Login{Name: "?", Method: method}}})
	}
	if err != nil {
		c.cfg.Log.Warn("console: a failed login is not in the audit", "source", source(r), "error", err)
	}
}

// enter records that a user came in, and begins the session.
func (c *Console) enter(w http.ResponseWriter, r *http.Request, u *registry.User, method string) (*Session, error) {
	s, err := c.newSession(u, method)
	if err != nil {
		return nil, err
	}
	if _, err := c.propose(r.Context(), registry.Command{Actor: u.Name, Source: source(r), Ops: []registry.Op{registry.Login{Name: u.Name, OK: true, Method: method}}}); err != nil {
		return nil, err
	}
	if old, _ := c.SessionOf(r); old != nil {
		c.over.add(old.ID)
	}
	return s, c.setSession(w, r, s)
}

// Logout ends the caller's session, if there is one.
func (c *Console) Logout(w http.ResponseWriter, r *http.Request) error {
	s, _ := c.SessionOf(r)
	c.dropSession(w, r)
	if s == nil {
		return nil
	}
	c.over.add(s.ID)
	_, err := c.propose(r.Context(), registry.Command{Actor: s.Name, Source: source(r), Ops: []registry.Op{
		registry.Note{Action: registry.Logout, Object: registry.Object{Kind: registry.KindUser, Name: s.Name}},
	}})
	return err
}
