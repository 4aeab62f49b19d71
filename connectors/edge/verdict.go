package edge

import (
	"context"
	"errors"
	"math/rand/v2"

	"github.com/tidemarkio/tidemark/connectors/edge/session"
	"github.com/tidemarkio/tidemark/state/view"
)

// newLogin begins anew with who the user is: what was asked about another login
// does not count. With c.mu.
func (c *client) newLogin() {
	c.logins++
	c.retries, c.retryAt = 0, 0
}

// loggedIn notes who the user is now, and asks the tenant about the login.
// With c.mu.
func (c *client) loggedIn() {
	id := *c.session.Identity()
	c.newLogin()
	if id.UserID == "" {
		return
	}
	now := c.s.nowMillis()
	d := view.Device{
		InstanceID: id.InstanceID, UserID: id.UserID, DeviceID: id.DeviceID, OS: id.OS, AppVersion: id.AppVersion, Online: now,
	}
	if err := c.s.partitionOf(id.UserID).view.Touch(&d); err != nil {
		c.s.log.Error("cannot note a device", "session", c.name, "error", err)
	}
	if id.Until != 0 {
		c.s.wheel.add(c, now/1000, c.due(now/1000))
	}
	if c.s.cfg.ValidateSession == nil {
		return
	}
	login, room := c.login(), c.s.validations(c.instance)
	n := c.logins
	c.s.spawn(func() {
		room <- struct{}{}
		defer func() { <-room }()
		c.validate(n, login)
	})
}

// login is what the tenant is asked about. With c.mu.
func (c *client) login() Login {
	id := c.session.Identity()
	return Login{id.InstanceID, id.UserID, id.SessionID}
}

// validations has room for the questions that an instance's tenant may be asked
// at once.
func (s *Server) validations(instanceID string) chan struct{} {
	room, ok := s.validating.Load(instanceID)
	if !ok {
		room, _ = s.validating.LoadOrStore(instanceID, make(chan struct{}, validationsMax))
	}
	return room.(chan struct{})
}

// validate asks the tenant. What comes too late for another login is dropped.
func (c *client) validate(login int, l Login) {
	ctx, cancel := context.WithTimeout(context.Background(), c.s.cfg.ValidateTimeout)
	defer cancel()
	valid, err := c.s.cfg.ValidateSession(ctx, l)
	verdict := "invalid"
	if err != nil {
		verdict, valid = "error", false
	} else if valid {
		verdict = "valid"
	}
	defer c.s.metrics.validations.WithLabelValues(verdict).Inc() // who sees it sees what it did
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.logins != login {
		return
	}
	if err != nil && c.retries == 0 { // once a login: a tenant that is down fails for many
		c.s.log.Warn("session validation failed: it counts as not valid", "instance", l.InstanceID, "session", c.name, "error", err)
	}
	c.step(session.Verdict{Valid: valid})
	if errors.Is(err, ErrLater) {
		c.askLater(c.s.nowMillis() / 1000)
	}
}

// askLater has the tenant asked again after a pause. With c.mu.
func (c *client) askLater(now int64) {
	c.retries++
	c.retryAt = now + validateRetry(c.retries, rand.Float64())
	c.s.wheel.add(c, now, c.retryAt)
}

// validateRetry is the pause before a try, in seconds; part is in [0, 1).
func validateRetry(try int, part float64) int64 {
	pause := int64(validateRetryMax)
	if shift := try - 1; shift < 6 {
		pause = min(pause, validateRetryMin<<shift)
	}
	return pause - int64(part*float64(pause/2+1))
}

// askAgain asks the tenant again if it is time, something hangs on the answer
// and there is room; else that waits for another pause. With c.mu.
func (c *client) askAgain(now int64) {
	if c.retryAt == 0 || now < c.retryAt {
		return
	}
	room := c.s.validations(c.instance)
	if c.session.AsksVerdict() {
		select {
		case room <- struct{}{}:
			c.retryAt = 0
			c.s.metrics.retries.Inc()
			n, login := c.logins, c.login()
			c.s.spawn(func() {
				defer func() { <-room }()
				c.validate(n, login)
			})
			return
		default:
		}
	}
	c.askLater(now)
}
