package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// follower is another node's registry. While it is behind it has an older
// model; what it is asked to propose, and to read, goes to the leader.
type follower struct {
	*fakeRegistry
	behind *registry.Model
}

func (f *follower) Now() (*registry.Model, <-chan struct{}) {
	m, changed := f.fakeRegistry.Now()
	if f.behind != nil {
		m = f.behind
	}
	return m, changed
}

// beside is another node of the desk's cluster.
func (d *desk) beside() (*desk, *follower) {
	d.t.Helper()
	f := &follower{fakeRegistry: d.r}
	cfg := d.c.cfg
	cfg.Registry = f
	other := &desk{t: d.t, r: d.r}
	var err error
	if other.c, err = New(cfg); err != nil {
		d.t.Fatal(err)
	}
	return other, f
}

// at is the same browser, or a copy of it, at another node.
func (v *visitor) at(d *desk) *visitor {
	other := d.visitor()
	other.csrf, other.from = v.csrf, v.from
	for name, c := range v.cookies {
		other.cookies[name] = c
	}
	return other
}

func TestLogoutIsEverywhere(t *testing.T) {
	a := guarded(t)
	b, lag := a.beside()
	v := a.member("ann", registry.Viewer)
	copied, another := v.at(b), a.visitor()
	another.login("ann", botsPassword)
	if !copied.in() {
		t.Fatal("another node does not know the session")
	}
	if w := v.call("POST", "/api/v1/logout", ""); w.Code != http.StatusOK || strings.TrimSpace(w.Body.String()) != `{"success":true}` {
		t.Errorf("logout: %d %s", w.Code, w.Body)
	}
	restarted, _ := a.beside()
	if copied.in() || copied.at(a).in() || copied.at(restarted).in() {
		t.Error("a copy of the cookie opens a node")
	}
	if a.audit(1)[0] != registry.Logout || a.r.m.Audit(registry.AuditFilter{Limit: 1})[0].Actor != "ann" {
		t.Errorf("the audit has %v", a.audit(2))
	}
	if !another.in() || !another.at(b).in() {
		t.Error("the user's other session ended with it")
	}
	// At a node that is behind: it hears of its own at once.
	lag.behind, _ = a.r.Now()
	copied = another.at(b)
	if copied.call("POST", "/api/v1/logout", "").Code != http.StatusOK || another.at(b).in() || another.in() {
		t.Error("a logout at a node that is behind did not end the session")
	}
}

// A second login in a browser ends the first one's session, everywhere.
func TestLoginEndsTheSessionBefore(t *testing.T) {
	a := guarded(t)
	b, _ := a.beside()
	v := a.member("ann", registry.Viewer)
	old := v.at(b)
	v.login("ann", botsPassword)
	if old.in() || old.at(a).in() || !v.in() || !v.at(b).in() {
		t.Error("both sessions are open, or none")
	}
}

func TestLogoutWithoutLeader(t *testing.T) {
	a := guarded(t)
	b, _ := a.beside()
	v := a.member("ann", registry.Viewer)
	copied := v.at(b)
	a.r.down = errTest
	w := v.call("POST", "/api/v1/logout", "")
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "other nodes take a copy") || len(v.cookies) != 0 {
		t.Errorf("logout: %d %s", w.Code, w.Body)
	}
	if copied.at(a).in() {
		t.Error("the session is still open where it was ended")
	}
	if !copied.in() {
		t.Error("the other node knows of it, so the note is wrong")
	}
	// By the page: it says the same.
	u := b.visitor()
	if u.login("ann", botsPassword) != http.StatusOK {
		t.Fatal("no login without a leader")
	}
	w = u.call("POST", "/logout", "csrf="+u.csrf, func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") })
	to := w.Header().Get("Location")
	if page := u.call("GET", to, "").Body.String(); w.Code != http.StatusSeeOther || !strings.Contains(page, texts["done.outHere"].English) {
		t.Errorf("the page led to %s", to)
	}
}

// TestLoginWithoutLeader: who finds out why there is none can come in, by what
// the node knows, and change nothing.
func TestLoginWithoutLeader(t *testing.T) {
	d := guarded(t)
	d.member("ann", registry.Operator)
	records := d.r.m.AuditLen()
	d.r.down = errTest
	v := d.visitor()
	if code := v.login("ann", botsPassword); code != http.StatusOK || !v.in() {
		t.Fatalf("login: %d", code)
	}
	if w := v.call("POST", "/api/v1/instances", `{"id":"a"}`); w.Code != http.StatusServiceUnavailable {
		t.Errorf("a change: %d %s", w.Code, w.Body)
	}
	guess := d.visitor()
	for range failuresUser {
		if code := guess.login("ann", "wrong password"); code != http.StatusUnauthorized {
			t.Fatalf("a wrong password: %d", code)
		}
	}
	if code := guess.login("ann", botsPassword); code != http.StatusTooManyRequests {
		t.Errorf("after %d failures: %d", failuresUser, code)
	}
	if d.r.down = nil; d.r.m.AuditLen() != records || !v.in() {
		t.Error("there are records that could not be made, or the session is over")
	}
}

func (v *visitor) guess(name string, n int) {
	v.d.t.Helper()
	for i := range n {
		if code := v.login(name, fmt.Sprint("guess ", i)); code != http.StatusUnauthorized {
			v.d.t.Fatalf("guess %d of %s: %d", i, name, code)
		}
	}
}

// TestBruteForceOverNodes: who is locked at one node is at all, the row of
// failures goes on at any of them, and the log gets a command a lock.
func TestBruteForceOverNodes(t *testing.T) {
	a := guarded(t)
	b, lag := a.beside()
	va, vb := a.visitor(), b.visitor()
	lag.behind, _ = a.r.Now()
	va.guess(FirstAdmin, failuresUser)
	if code := vb.login(FirstAdmin, annsPassword); code != http.StatusTooManyRequests {
		t.Errorf("at a node that is behind: %d", code)
	}
	lag.behind = nil
	w := vb.call("POST", "/api/v1/login", `{"name":"admin","password":"`+annsPassword+`"}`)
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "60" {
		t.Errorf("at the other node: %d, retry after %q", w.Code, w.Header().Get("Retry-After"))
	}
	locks := a.r.m.Audit(registry.AuditFilter{Actions: []registry.Action{registry.LoginLock}})
	if len(locks) != 1 || locks[0].Object != (registry.Object{Kind: registry.KindUser, Name: FirstAdmin}) || locks[0].Source != "192.0.2.7" {
		t.Fatalf("%d locks are in the audit", len(locks))
	}
	before := a.r.m.Applied()
	for range 50 {
		va.login(FirstAdmin, "again")
		vb.login(FirstAdmin, "again")
	}
	if n := a.r.m.Applied() - before; n != 0 {
		t.Errorf("who is locked out costs the log %d commands", n)
	}
	// A name that nobody has is locked alike: it tells nothing.
	va.from, vb.from = "192.0.2.20:1", "192.0.2.21:1"
	va.guess("nobody", failuresUser)
	if code := vb.login("nobody", "x"); code != http.StatusTooManyRequests {
		t.Errorf("a name that nobody has, at the other node: %d", code)
	}
	// After the lock one failure, at the other node, makes the next, twice as long.
	a.now = a.now.Add(lockFirst + time.Second)
	vb.guess(FirstAdmin, 1)
	if l := a.r.m.Lock(registry.KindUser, FirstAdmin); l == nil || l.Failures != failuresUser+1 || time.UnixMilli(l.Until).Sub(a.now) != 2*lockFirst {
		t.Errorf("the second lock is %+v", l)
	}
	if code := va.login(FirstAdmin, annsPassword); code != http.StatusTooManyRequests {
		t.Errorf("at the first node again: %d", code)
	}
	// Who knows the password is free of the row everywhere.
	a.now = a.now.Add(2*lockFirst + time.Second)
	if code := va.login(FirstAdmin, annsPassword); code != http.StatusOK || a.r.m.Lock(registry.KindUser, FirstAdmin) != nil {
		t.Errorf("with the password: %d", code)
	}
	vb.guess(FirstAdmin, failuresUser-1)
	if code := vb.login(FirstAdmin, annsPassword); code != http.StatusOK {
		t.Errorf("below the lock: %d", code)
	}
}

func TestAddressLockOverNodes(t *testing.T) {
	a := guarded(t)
	b, _ := a.beside()
	v := a.visitor()
	for i := range failuresAddress {
		v.guess(fmt.Sprint("user", i), 1)
	}
	other := b.visitor()
	if code := other.login(FirstAdmin, annsPassword); code != http.StatusTooManyRequests {
		t.Errorf("the same address at another node: %d", code)
	}
	other.from = "192.0.2.99:1"
	if code := other.login(FirstAdmin, annsPassword); code != http.StatusOK {
		t.Errorf("another address: %d", code)
	}
}

func TestUnlock(t *testing.T) {
	a := guarded(t)
	b, _ := a.beside()
	op := a.member("op", registry.Operator)
	admin := a.visitor()
	admin.login(FirstAdmin, annsPassword)
	v := a.visitor()
	v.from = "192.0.2.50:1"
	v.guess("op", failuresUser)
	if op.call("DELETE", "/api/v1/locks/user/op", "").Code != http.StatusForbidden || op.call("GET", "/api/v1/locks", "").Code != http.StatusForbidden {
		t.Error("an operator may see locks, or unlock")
	}
	var all Locks
	if err := json.Unmarshal([]byte(b.ok2("GET", "/api/v1/locks", "")), &all); err != nil || len(all.Locks) != 1 || all.Locks[0].Name != "op" {
		t.Fatalf("locked are %+v, %v", all.Locks, err)
	}
	if page := admin.call("GET", "/users", "").Body.String(); !strings.Contains(page, `href="/user/unlock?kind=user&amp;name=op"`) {
		t.Errorf("the page does not offer it: %s", mainOf(page))
	}
	b.ok2("DELETE", "/api/v1/locks/user/op", "")
	if a.audit(1)[0] != registry.LoginUnlock {
		t.Errorf("the audit has %v", a.audit(1))
	}
	if w := b.token("DELETE", "/api/v1/locks/user/op", ""); w.Code != http.StatusNotFound {
		t.Errorf("twice: %d", w.Code)
	}
	// At the node that locked, too; and the failures before no longer count.
	v.guess("op", failuresUser-1)
	if code := v.login("op", botsPassword); code != http.StatusOK {
		t.Errorf("unlocked, it answers %d", code)
	}
	// An address, by the page; a network of IPv6 has a slash in its name.
	if _, err := a.r.apply(registry.Command{Time: a.now.UnixMilli(), Ops: []registry.Op{registry.LockLogin{For: registry.KindAddress, Name: "2001:db8::/64", Failures: 30, Until: a.now.Add(time.Minute).UnixMilli()}}}); err != nil {
		t.Fatal(err)
	}
	w := admin.call("POST", "/user/unlock?kind=address&name=2001%3Adb8%3A%3A%2F64", "csrf="+admin.csrf, func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") })
	if w.Code != http.StatusSeeOther || a.r.m.Lock(registry.KindAddress, "2001:db8::/64") != nil {
		t.Errorf("by the page: %d %s", w.Code, mainOf(w.Body.String()))
	}
}

// TestFailedLoginsAreBounded: guessers cannot fill the registry's log.
func TestFailedLoginsAreBounded(t *testing.T) {
	d := guarded(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/api/v1/login", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 * failedRecordsMax {
		d.c.noteFailed(r, "ann", "password")
	}
	count := func() int {
		return len(d.r.m.Audit(registry.AuditFilter{Actions: []registry.Action{registry.LoginFailed}}))
	}
	if n := count(); n != failedRecordsMax {
		t.Errorf("%d records in one minute", n)
	}
	d.now = d.now.Add(failedRecordsPer)
	if d.c.noteFailed(r, "ann", "password"); count() != failedRecordsMax+1 {
		t.Error("a minute later there are no more")
	}
}

// TestOldNodesInTheCluster: while a node cannot remember logouts and locks, they
// are those of the node where they happen, as they were before.
func TestOldNodesInTheCluster(t *testing.T) {
	d := guarded(t)
	v := d.member("ann", registry.Viewer)
	if _, err := d.r.apply(registry.Command{Ops: []registry.Op{registry.Announce{Member: registry.Member{ID: "old", Version: 1}}}}); err != nil {
		t.Fatal(err)
	}
	copied := v.at(d)
	w := v.call("POST", "/api/v1/logout", "")
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "other nodes") || copied.in() || d.audit(1)[0] != registry.Logout {
		t.Errorf("logout: %d %s, in the audit %v", w.Code, w.Body, d.audit(1))
	}
	v.guess("ann", failuresUser)
	if code := v.login("ann", botsPassword); code != http.StatusTooManyRequests {
		t.Errorf("after %d failures: %d", failuresUser, code)
	}
}
