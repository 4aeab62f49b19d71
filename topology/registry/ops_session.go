package registry

import "slices"

// MaxEnded is how many ended sessions of one user are remembered. Past it all
// of the user's sessions end, and nothing needs to be remembered.
const MaxEnded = 64

// EndedSession is a login session that was ended before its time.
type EndedSession struct {
	ID    string `json:"id"`
	Until int64  `json:"until"` // when it would have ended anyway, epoch ms
}

// EndSession ends one login session of a user, everywhere: a logout. It is
// remembered until the session would have ended anyway.
type EndSession struct {
	Name  string `json:"name"` // the user
	ID    string `json:"id"`
	Until int64  `json:"until"` // when the session ends anyway, epoch ms
}

// Kind names the operation in the log.
func (EndSession) Kind() string { return "endSession" }

func (o EndSession) check() error {
	if o.Until < 1 {
		return invalid("until", "%d: epoch milliseconds, not 0", o.Until)
	}
	if err := checkText("name", o.Name, 1, MaxUserName); err != nil {
		return err
	}
	return checkName("id", o.ID, maxCommandID)
}

func (o EndSession) apply(e *edit) error {
	was, err := e.user(o.Name, 0)
	if err != nil {
		return err // a user who is gone has no sessions
	}
	if was.HasEnded(o.ID) {
		return nil
	}
	is := *was
	is.Ended = append(stillRunning(was.Ended, e.cmd.Time), EndedSession{o.ID, o.Until})
	var all any
	if len(is.Ended) > MaxEnded {
		is.endSessions()
		all = map[string]bool{"allSessions": true}
	}
	e.m.users = e.m.users.put(is.Name, &is)
	e.record(Logout, is.object(), nil, all)
	return nil
}

// HasEnded reports whether a session of the user was ended.
func (u *User) HasEnded(id string) bool {
	return slices.ContainsFunc(u.Ended, func(s EndedSession) bool { return s.ID == id })
}

// endSessions ends all of a user's sessions.
func (u *User) endSessions() {
	u.Epoch++
	u.Ended = nil
}

// stillRunning are the sessions that would not have ended by now, in a list of
// its own.
func stillRunning(all []EndedSession, now int64) []EndedSession {
	return slices.DeleteFunc(slices.Clone(all), func(s EndedSession) bool { return s.Until <= now })
}
