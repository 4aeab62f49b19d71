package console

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// Limits of failed logins. A user name is locked sooner than an address, behind
// which there may be a whole office; the lock doubles with each further
// failure, up to its maximum.
//
// Each node counts for itself, and tells the registry when it locks somebody,
// not of each failure: so a guesser costs the log little. What the registry
// says of somebody, a node takes over. Who guesses at many nodes has the
// failures below the lock at each of them, and from the lock on one row.
const (
	failuresUser    = 5
	failuresAddress = 30
	failuresWindow  = 15 * time.Minute
	lockFirst       = time.Minute
	lockMax         = 15 * time.Minute
	// throttleMax bounds what is remembered; the longest untouched go first.
	throttleMax = 10_000
)

// throttle counts attempts to log in, by user and by address.
type throttle struct {
	mu    sync.Mutex
	by    map[suspect]*list.Element // of *attempts
	order *list.List                // longest untouched first
}

// suspect is what failures are counted of.
type suspect struct{ kind, name string }

type attempts struct {
	suspect
	n      int
	first  time.Time
	locked time.Time // until then
	// word is what the registry said last, and this node has taken over.
	word registry.Lock
}

func newThrottle() *throttle {
	return &throttle{by: make(map[suspect]*list.Element), order: list.New()}
}

// suspects are whom a failed login is counted of.
func suspects(name, source string) [2]suspect {
	return [2]suspect{{registry.KindUser, name}, {registry.KindAddress, addressOf(source)}}
}

// addressOf takes an IPv6 network for one address: a home has a whole one.
func addressOf(source string) string {
	if a, err := netip.ParseAddr(source); err == nil && a.Is6() && !a.Is4In6() {
		if p, err := a.WithZone("").Prefix(64); err == nil {
			source = p.String()
		}
	}
	return source
}

// begin counts an attempt before it is made, so that many at once do not slip
// through; it gives how long to wait if it may not be made. What the model
// says of locks is taken over.
func (t *throttle) begin(now time.Time, m *registry.Model, name, source string) (wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	who := suspects(name, source)
	user, address := t.get(who[0], m, now), t.get(who[1], m, now)
	if wait = max(user.locked.Sub(now), address.locked.Sub(now)); wait > 0 {
		return wait
	}
	user.count(now, failuresUser)
	address.count(now, failuresAddress)
	return 0
}

// succeeded takes an attempt back. The user is known again; an address keeps
// its other failures.
func (t *throttle) succeeded(now time.Time, name, source string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	who := suspects(name, source)
	if e := t.by[who[0]]; e != nil {
		t.drop(e)
	}
	if e := t.by[who[1]]; e != nil {
		a := e.Value.(*attempts)
		a.n, a.locked = a.n-1, time.Time{}
	}
}

// untold are the locks that the registry has not heard of.
func (t *throttle) untold(now time.Time, name, source string) (locks []registry.LockLogin) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range suspects(name, source) {
		if e := t.by[s]; e != nil {
			if a := e.Value.(*attempts); a.locked.After(now) && a.locked.UnixMilli() > a.word.Until {
				locks = append(locks, registry.LockLogin{For: s.kind, Name: s.name, Failures: a.n, Until: a.locked.UnixMilli()})
			}
		}
	}
	return locks
}

// learn takes over what the model says of a login's suspects.
func (t *throttle) learn(now time.Time, m *registry.Model, name, source string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range suspects(name, source) {
		t.get(s, m, now)
	}
}

func (t *throttle) get(s suspect, m *registry.Model, now time.Time) *attempts {
	e := t.by[s]
	if e == nil {
		if t.order.Len() >= throttleMax {
			t.drop(t.order.Front())
		}
		e = t.order.PushBack(&attempts{suspect: s, first: now})
		t.by[s] = e
	}
	t.order.MoveToBack(e)
	a := e.Value.(*attempts)
	if now.Sub(a.first) > failuresWindow && now.After(a.locked) {
		*a = attempts{suspect: s, first: now}
	}
	a.learn(now, m.Lock(s.kind, s.name))
	return a
}

// learn takes over the registry's word. A word that is gone was taken back: an
// admin unlocked, or the user came in at another node.
func (a *attempts) learn(now time.Time, word *registry.Lock) {
	switch {
	case word == nil || !word.Counts(now.UnixMilli()):
		if a.word != (registry.Lock{}) {
			*a = attempts{suspect: a.suspect, first: now}
		}
	case *word != a.word:
		a.word, a.n = *word, max(a.n, word.Failures)
		if until := time.UnixMilli(word.Until); until.After(a.locked) {
			a.locked = until
		}
	}
}

func (t *throttle) drop(e *list.Element) {
	delete(t.by, e.Value.(*attempts).suspect)
	t.order.Remove(e)
}

func (a *attempts) count(now time.Time, most int) {
	if a.n++; a.n < most {
		return
	}
	lock := lockFirst << min(a.n-most, 8)
	a.locked = now.Add(min(lock, lockMax))
}

// lockedFor is how long the model keeps a login's suspects from another try.
func lockedFor(now time.Time, m *registry.Model, name, source string) (wait time.Duration) {
	for _, s := range suspects(name, source) {
		if l := m.Lock(s.kind, s.name); l != nil {
			wait = max(wait, time.UnixMilli(l.Until).Sub(now))
		}
	}
	return wait
}

// Records of failed logins that a node makes, at most; what is over is in its
// log only, so that a guesser cannot fill the registry's.
const (
	failedRecordsMax = 60
	failedRecordsPer = time.Minute
)

// budget bounds how often something is done in a time.
type budget struct {
	mu    sync.Mutex
	since time.Time
	used  int
}

func (b *budget) take(now time.Time, most int, per time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Sub(b.since) >= per {
		b.since, b.used = now, 0
	}
	b.used++
	return b.used <= most
}
