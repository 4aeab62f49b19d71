package edge

import (
	"context"
	"errors"
	"time"

	"github.com/tidemarkio/tidemark/connectors/edge/session"
	"github.com/tidemarkio/tidemark/schemas"
)

// laterReason is what a client is told that is turned away with [ErrLater]: the
// error itself is for the log, it may hold addresses of ours.
const laterReason = "who you are cannot be checked now: come back later"

// turnAway refuses a client whose user or device is not admitted.
func (s *Server) turnAway(err error, code schemas.CloseCode) *refusal {
	if errors.Is(err, ErrLater) {
		if now := s.nowMillis() / 1000; s.saidLater.Swap(now) != now { // a line a second: a tenant that is down turns all away
			s.log.Warn("client turned away for now", "error", err)
		}
		s.metrics.refused.WithLabelValues(refusedNotReady).Inc()
		return &refusal{schemas.CloseNotReady, laterReason}
	}
	s.metrics.refused.WithLabelValues(refusedUnauthorized).Inc()
	return &refusal{code, err.Error()}
}

func (s *Server) admitDevice(instanceID, deviceID, credential string) (issued string, err error) {
	if s.cfg.AdmitDevice == nil {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.HelloTimeout)
	defer cancel()
	return s.cfg.AdmitDevice(ctx, instanceID, deviceID, credential)
}

// untilMillis is the end of a proof as sessions want it, epoch ms; one that is
// further away than anybody's life counts as none.
func untilMillis(until time.Time) int64 {
	if until.IsZero() || until.Year() > 9999 {
		return 0
	}
	return max(1, until.UnixMilli())
}

// admitUser has the proof of a user checked, before the user is bound. A token
// stands for a sessionId that is missing.
func (s *Server) admitUser(id *session.Identity, token string) error {
	if token == "" {
		token = id.SessionID
	}
	if s.cfg.AdmitUser == nil || id.UserID == "" {
		return nil
	}
	if field, why := checkName("the user's token", token, s.sessionMax(id.InstanceID), false); why != "" {
		return errors.New(field + ": " + why)
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.HelloTimeout)
	defer cancel()
	until, err := s.cfg.AdmitUser(ctx, Login{id.InstanceID, id.UserID, token})
	if err != nil {
		return err
	}
	id.Until = untilMillis(until)
	if id.SessionID == "" {
		id.SessionID = token
	}
	return nil
}

// proveUser has the proof of the user of a bind checked, and says when it ends
// (epoch ms; 0: it does not). With c.mu, which is
// free while the tenant is asked: no other frame of the client is read
// meanwhile, and deliveries go on for whoever is bound still.
func (c *client) proveUser(b *schemas.Bind) (until int64, err error) {
	if c.s.cfg.AdmitUser == nil {
		return 0, nil
	}
	id := session.Identity{InstanceID: c.instance, UserID: b.UserID, SessionID: b.SessionID}
	c.mu.Unlock()
	err = c.s.admitUser(&id, "")
	c.mu.Lock()
	switch {
	case c.closed:
		return 0, errClosed
	case err != nil:
		return 0, c.s.turnAway(err, schemas.CloseUnauthorized)
	}
	return id.Until, nil
}

// bind logs a user in. With c.mu.
func (c *client) bind(b *schemas.Bind) error {
	points := interests(b.Biz)
	field, why := checkName("userId", b.UserID, schemas.MaxLinkToken, true)
	if why == "" {
		field, why = checkName("sessionId", b.SessionID, c.s.sessionMax(c.instance), false)
	}
	if why == "" {
		field, why = checkInterests(points)
	}
	if why != "" {
		return &refusal{schemas.CloseProtocol, field + ": " + why}
	}
	until, err := c.proveUser(b)
	if err != nil {
		return err
	}
	c.step(session.Bind{UserID: b.UserID, SessionID: b.SessionID, Until: until, Biz: points})
	c.loggedIn()
	return nil
}
