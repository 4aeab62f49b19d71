package console

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// Limits of failed logins. A user name is locked sooner than an address, behind
// which there may be a whole office; the lock doubles with each further
// failure, up to its maximum.
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
	by    map[string]*list.Element // of *attempts
	order *list.List               // longest untouched first
}

type attempts struct {
	key    string
	n      int
	first  time.Time
	locked time.Time // until then
}

func newThrottle() *throttle {
	return &throttle{by: make(map[string]*list.Element), order: list.New()}
}

func userKey(name string) string { return "u\x00" + name }

// addressKey takes an IPv6 network for one address: a home has a whole one.
func addressKey(source string) string {
	if a, err := netip.ParseAddr(source); err == nil && a.Is6() && !a.Is4In6() {
		if p, err := a.WithZone("").Prefix(64); err == nil {
			source = p.String()
		}
	}
	return "a\x00" + source
}

// begin counts an attempt before it is made, so that many at once do not slip
// through; it gives how long to wait if it may not be made.
func (t *throttle) begin(now time.Time, name, source string) (wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	user, address := t.get(userKey(name), now), t.get(addressKey(source), now)
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
	if e := t.by[userKey(name)]; e != nil {
		t.drop(e)
	}
	if e := t.by[addressKey(source)]; e != nil {
		a := e.Value.(*attempts)
		a.n, a.locked = a.n-1, time.Time{}
	}
}

func (t *throttle) get(key string, now time.Time) *attempts {
	if e := t.by[key]; e != nil {
		t.order.MoveToBack(e)
		a := e.Value.(*attempts)
		if now.Sub(a.first) > failuresWindow && now.After(a.locked) {
			*a = attempts{key: key, first: now}
		}
		return a
	}
	if t.order.Len() >= throttleMax {
		t.drop(t.order.Front())
	}
	a := &attempts{key: key, first: now}
	t.by[key] = t.order.PushBack(a)
	return a
}

func (t *throttle) drop(e *list.Element) {
	delete(t.by, e.Value.(*attempts).key)
	t.order.Remove(e)
}

func (a *attempts) count(now time.Time, most int) {
	if a.n++; a.n < most {
		return
	}
	lock := lockFirst << min(a.n-most, 8)
	a.locked = now.Add(min(lock, lockMax))
}
