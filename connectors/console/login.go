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

// loginWait is how long a login or a logout waits for the registry. Without a
// leader both go on by what this node knows: who needs the console most is who
// finds out why there is none.
const loginWait = 3 * time.Second

// known is the newest model, or without a leader this node's. It is for who
// comes in or goes, and for nothing that is changed.
func (c *Console) known(ctx context.Context) *registry.Model {
	ctx, cancel := context.WithTimeout(ctx, loginWait)
	defer cancel()
	m, err := c.cfg.Registry.Read(ctx)
	if err != nil {
		c.cfg.Log.Warn("console: the registry does not answer; logins are judged by what this node knows", "error", err)
		m, _ = c.cfg.Registry.Now()
	}
	return m
}

// note proposes what came of a login or a logout, for a short time, even if
// the caller does not wait for the answer.
func (c *Console) note(r *http.Request, actor string, op registry.Op) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), loginWait)
	defer cancel()
	_, err := c.propose(ctx, registry.Command{Actor: actor, Source: source(r), Ops: []registry.Op{op}})
	return err
}

// refusedAs reports whether the registry refused something for a reason.
func refusedAs(err error, p registry.Problem) bool {
	var refused *registry.Error
	return errors.As(err, &refused) && refused.Problem == p
}

// Login checks a password and gives the browser a new session. Whatever
// session it had before is over.
func (c *Console) Login(w http.ResponseWriter, r *http.Request, form LoginForm) (*Session, error) {
	now := c.cfg.Clock()
	// What cannot be a name or a password is not worth a hash, and not a record.
	if n := utf8.RuneCountInString(form.Name); n < 1 || n > registry.MaxUserName || !utf8.ValidString(form.Name) || len(form.Password) > MaxPassword {
		return nil, errLogin
	}
	tooMany := func(wait time.Duration) (*Session, error) {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
		return nil, &Error{Status: http.StatusTooManyRequests, Reason: fmt.Sprintf("too many failed logins: try again in %s", wait.Round(time.Second))}
	}
	m, _ := c.cfg.Registry.Now()
	if wait := c.throttle.begin(now, m, form.Name, source(r)); wait > 0 {
		return tooMany(wait)
	}
	m = c.known(r.Context())
	if wait := lockedFor(now, m, form.Name, source(r)); wait > 0 { // this node was behind
		return tooMany(wait)
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
		c.tellLocks(r, form.Name)
		return nil, errLogin
	}
	c.throttle.succeeded(now, form.Name, source(r))
	return c.enter(w, r, u, "password")
}

// noteFailed puts a failed login into the audit.
func (c *Console) noteFailed(r *http.Request, name, method string) {
	if !c.failed.take(c.cfg.Clock(), failedRecordsMax, failedRecordsPer) {
		c.cfg.Log.Warn("console: a failed login is not in the audit: there are too many", "source", source(r))
		return
	}
	err := c.note(r, "", registry.Login{Name: name, Method: method})
	if refusedAs(err, registry.Invalid) { // no name that a record can hold
		err = c.note(r, "", registry.Login{Name: "?", Method: method})
	}
	if err != nil {
		c.cfg.Log.Warn("console: a failed login is not in the audit", "source", source(r), "error", err)
	}
}

// tellLocks tells the registry whom a failed login has locked out here, so that
// they are at every node.
func (c *Console) tellLocks(r *http.Request, name string) {
	locks := c.throttle.untold(c.cfg.Clock(), name, source(r))
	if len(locks) == 0 {
		return
	}
	for _, l := range locks {
		if err := c.note(r, "", l); err != nil && !refusedAs(err, registry.Invalid) { // no user has such a name
			c.cfg.Log.Warn("console: a lock after failed logins is not known to other nodes", "source", source(r), "error", err)
		}
	}
	// So that who unlocks is heard here, however soon that is.
	c.throttle.learn(c.cfg.Clock(), c.known(context.WithoutCancel(r.Context())), name, source(r))
}

// enter records that a user came in, and begins the session. Without a leader
// there is no record but in this node's log.
func (c *Console) enter(w http.ResponseWriter, r *http.Request, u *registry.User, method string) (*Session, error) {
	s, err := c.newSession(u, method)
	if err != nil {
		return nil, err
	}
	err = c.note(r, u.Name, registry.Login{Name: u.Name, OK: true, Method: method})
	var refused *registry.Error
	if errors.As(err, &refused) {
		return nil, err
	}
	if err != nil {
		c.cfg.Log.Warn("console: a login is not in the audit", "user", u.Name, "source", source(r), "error", err)
	}
	if old, _ := c.SessionOf(r); old != nil {
		_ = c.end(r, old) // it is logged, and over here
	}
	return s, c.setSession(w, r, s)
}

// end ends a session: here at once, and everywhere if the registry takes it.
func (c *Console) end(r *http.Request, s *Session) error {
	c.over.add(s.ID)
	err := c.note(r, s.Name, registry.EndSession{Name: s.Name, ID: s.ID, Until: s.Began + SessionMax.Milliseconds()})
	switch {
	case refusedAs(err, registry.NotFound): // a user who is gone has no sessions
		return nil
	case refusedAs(err, registry.Unknown): // not every node can remember it yet
		return errors.Join(err, c.note(r, s.Name, registry.Note{Action: registry.Logout, Object: registry.Object{Kind: registry.KindUser, Name: s.Name}}))
	}
	return err
}

// Logout ends the caller's session, if there is one. It always does at this
// node; everywhere is false if other nodes could not be told.
func (c *Console) Logout(w http.ResponseWriter, r *http.Request) (everywhere bool) {
	s, _ := c.SessionOf(r)
	c.dropSession(w, r)
	if s == nil {
		return true
	}
	if err := c.end(r, s); err != nil {
		c.cfg.Log.Warn("console: a logout is known to this node only", "user", s.Name, "source", source(r), "error", err)
		return false
	}
	return true
}
