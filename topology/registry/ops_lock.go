package registry

import (
	"cmp"
	"iter"
	"slices"
)

// Limits of locks.
const (
	// MaxLocks bounds the locks that are kept; past it the one that ends first
	// goes.
	MaxLocks = 4096
	// MaxLockMillis is how long a lock may last.
	MaxLockMillis = 24 * 60 * 60 * 1000
	// LockKeptMillis is how long a lock that is over still counts, so that the
	// next failed login is not taken for the first.
	LockKeptMillis = 15 * 60 * 1000
)

// KindAddress is the kind of a [Lock] of an address; that of a user is
// [KindUser].
const KindAddress = "address"

// Lock keeps a user name, or an address, from logging in for a while after too
// many failures. A name may be one that no user has: who guesses does not
// learn which there are.
type Lock struct {
	Kind     string `json:"kind"` // user or address
	Name     string `json:"name"`
	Failures int    `json:"failures"`
	Until    int64  `json:"until"` // epoch ms
	Time     int64  `json:"time"`  // when it was made, epoch ms
}

// Counts reports whether the lock still matters at a time (epoch ms): it
// holds, or was over a moment ago.
func (l *Lock) Counts(now int64) bool { return now <= l.Until+LockKeptMillis }

func lockKey(kind, name string) string { return kind + "\x00" + name }

// Lock finds a lock, or nil.
func (m *Model) Lock(kind, name string) *Lock { return m.locks.get(lockKey(kind, name)) }

// Locks walks the locks, addresses before users, by name.
func (m *Model) Locks() iter.Seq[*Lock] { return m.locks.all() }

// LockLogin notes that a node locked a user or an address, for all nodes. It
// comes once for each lock and not for each failure.
type LockLogin struct {
	For      string `json:"for"` // user or address
	Name     string `json:"name"`
	Failures int    `json:"failures"`
	Until    int64  `json:"until"` // epoch ms
}

// Kind names the operation in the log.
func (LockLogin) Kind() string { return "lockLogin" }

func (o LockLogin) check() error {
	const failuresMax = 1_000_000
	switch {
	case o.For != KindUser && o.For != KindAddress:
		return invalid("for", "%.40q: use user or address", o.For)
	case o.Failures < 1 || o.Failures > failuresMax:
		return invalid("failures", "%d: use 1 to %d", o.Failures, failuresMax)
	case o.Until < 1:
		return invalid("until", "%d: epoch milliseconds, not 0", o.Until)
	}
	return checkText("name", o.Name, 1, MaxUserName)
}

func (o LockLogin) apply(e *edit) error {
	now := e.cmd.Time
	if o.Until-now > MaxLockMillis {
		return invalid("until", "a lock lasts %d milliseconds at most", MaxLockMillis)
	}
	e.pruneLocks()
	was := e.m.Lock(o.For, o.Name)
	if was != nil && was.Until >= o.Until && was.Failures >= o.Failures {
		return nil // another node was faster
	}
	is := &Lock{Kind: o.For, Name: o.Name, Failures: o.Failures, Until: o.Until, Time: now}
	if was == nil && e.m.locks.len() >= MaxLocks {
		e.dropLock(slices.MinFunc(slices.Collect(e.m.Locks()), func(a, b *Lock) int { return cmp.Compare(a.Until, b.Until) }))
	}
	e.m.locks = e.m.locks.put(lockKey(is.Kind, is.Name), is)
	var before any
	if was != nil {
		before = was
	}
	e.record(LoginLock, is.object(), before, is)
	return nil
}

// UnlockLogin takes a lock away, and its failures with it.
type UnlockLogin struct {
	For  string `json:"for"`
	Name string `json:"name"`
}

// Kind names the operation in the log.
func (UnlockLogin) Kind() string { return "unlockLogin" }

func (o UnlockLogin) check() error { return nil }

func (o UnlockLogin) apply(e *edit) error {
	was := e.m.Lock(o.For, o.Name)
	if was == nil {
		return refuse(NotFound, "name", "%q is not locked", o.Name)
	}
	e.dropLock(was)
	e.record(LoginUnlock, was.object(), was, nil)
	return nil
}

func (e *edit) dropLock(l *Lock) { e.m.locks = e.m.locks.drop(lockKey(l.Kind, l.Name)) }

// pruneLocks drops what no longer counts at the command's time.
func (e *edit) pruneLocks() {
	for l := range e.m.Locks() {
		if !l.Counts(e.cmd.Time) {
			e.dropLock(l)
		}
	}
}

func (l *Lock) object() Object { return Object{Kind: l.Kind, Name: l.Name} }
