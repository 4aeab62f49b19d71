package registry

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"slices"
	"testing"
)

// applied is the model after a command that must not be refused.
func applied(t *testing.T, m *Model, now int64, ops ...Op) *Model {
	t.Helper()
	next, r := m.Apply(Command{ID: fmt.Sprint("at", now, "of", m.Applied()), Actor: "ann", Time: now, Ops: ops})
	if r.Refused != nil {
		t.Fatal(r.Refused)
	}
	return next
}

// TestOldSnapshots: what an older release wrote is read, and is written again
// as it was.
func TestOldSnapshots(t *testing.T) {
	lines, err := os.ReadFile("testdata/snapshot-1.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(lines); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	m, err := Restore(&packed)
	if err != nil {
		t.Fatal(err)
	}
	if got := text(t, m); got != string(lines) {
		t.Errorf("it is written as\n%s", got)
	}
	// Its member knows version 1 only: what came later waits for the upgrade.
	_, r := m.Apply(Command{ID: "z", Time: 1, Ops: []Op{EndSession{Name: "root", ID: "s", Until: 9}}})
	if r.Refused == nil || r.Refused.Problem != Unknown {
		t.Errorf("a member that does not know of logouts is told of one: %v", r.Refused)
	}
	m = applied(t, m, 2, Announce{Member: Member{ID: "r1", Address: "127.0.0.1:7000", Version: 2}})
	if m = applied(t, m, 3, EndSession{Name: "root", ID: "s", Until: 9}); !m.User("root").HasEnded("s") {
		t.Error("after the upgrade a logout is not kept")
	}
}

// TestEndedSessionsAreBounded: they go when they would have ended anyway, and
// past the limit all of the user's sessions end.
func TestEndedSessionsAreBounded(t *testing.T) {
	m := applied(t, created(t), 1, CreateUser{User{Name: "ann", Role: Admin}})
	epoch := m.User("ann").Epoch
	m = applied(t, m, 10, EndSession{Name: "ann", ID: "old", Until: 50})
	m = applied(t, m, 49, EndSession{Name: "ann", ID: "new", Until: 100})
	if u := m.User("ann"); !u.HasEnded("old") || !u.HasEnded("new") {
		t.Error("a session that could still be used was forgotten")
	}
	m = applied(t, m, 50, EndSession{Name: "ann", ID: "newer", Until: 100})
	if u := m.User("ann"); u.HasEnded("old") || len(u.Ended) != 2 {
		t.Errorf("%v are remembered", u.Ended)
	}
	m = restored(t, m)
	for i := range MaxEnded - 2 {
		m = applied(t, m, 60, EndSession{Name: "ann", ID: fmt.Sprint(i), Until: 100})
	}
	if u := m.User("ann"); len(u.Ended) != MaxEnded || u.Epoch != epoch {
		t.Fatalf("%d are remembered at epoch %d", len(u.Ended), u.Epoch)
	}
	m = applied(t, m, 60, EndSession{Name: "ann", ID: "one more", Until: 100})
	if u := m.User("ann"); len(u.Ended) != 0 || u.Epoch != epoch+1 {
		t.Errorf("past the limit %d are remembered at epoch %d", len(u.Ended), u.Epoch)
	}
	if r := m.Audit(AuditFilter{Limit: 1})[0]; r.Action != Logout || string(r.After) != `{"allSessions":true}` {
		t.Errorf("it is recorded as %s %s", r.Action, r.After)
	}
	// Another password ends them all, so there is nothing to remember.
	m = applied(t, m, 61, EndSession{Name: "ann", ID: "x", Until: 100}, ModifyUser{Name: "ann", Password: "another"})
	if u := m.User("ann"); len(u.Ended) != 0 || u.Epoch != epoch+2 {
		t.Errorf("after a new password %v are remembered at epoch %d", u.Ended, u.Epoch)
	}
}

func TestLocksAreBounded(t *testing.T) {
	m := created(t)
	for i := range MaxLocks {
		m = applied(t, m, 1000, LockLogin{For: KindUser, Name: fmt.Sprint("u", i), Failures: 5, Until: 2000 + int64(i)})
	}
	m = applied(t, m, 1000, LockLogin{For: KindUser, Name: "last", Failures: 5, Until: 5000})
	if n := len(slices.Collect(m.Locks())); n != MaxLocks || m.Lock(KindUser, "u0") != nil || m.Lock(KindUser, "last") == nil {
		t.Errorf("%d locks are kept, and not those that last longest", n)
	}
	// They count for a while after, and are dropped by the next command's time.
	l := *m.Lock(KindUser, "last")
	if end := l.Until + LockKeptMillis; !l.Counts(end) || l.Counts(end+1) {
		t.Error("it does not count for as long as it says")
	}
	m = applied(t, m, 5000+LockKeptMillis, LockLogin{For: KindUser, Name: "later", Failures: 5, Until: 9_000_000})
	if m.Lock(KindUser, "last") == nil || m.Lock(KindUser, "u1") != nil {
		t.Error("what still counts was dropped, or what does not was kept")
	}
	m = applied(t, m, 8_000_000, LockLogin{For: KindUser, Name: "after", Failures: 5, Until: 9_000_000})
	if n := len(slices.Collect(m.Locks())); n != 2 {
		t.Errorf("%d locks are kept when only two matter", n)
	}
}

// TestRestoreEndsSessions: no session, logout or lock comes back with a backup.
func TestRestoreEndsSessions(t *testing.T) {
	old := applied(t, created(t), 1, CreateUser{User{Name: "ann", Role: Admin}}, CreateUser{User{Name: "bob", Role: Viewer}})
	var backup bytes.Buffer
	if err := old.Snapshot(&backup); err != nil {
		t.Fatal(err)
	}
	now := applied(t, old, 2, ModifyUser{Name: "ann", Password: "another"}, EndSession{Name: "bob", ID: "s", Until: 100}, LockLogin{For: KindUser, Name: "eve", Failures: 5, Until: 100})
	got := applied(t, now, 3, RestoreChunk{ID: "r", Data: backup.Bytes(), Last: true})
	for name, model := range map[string]*Model{"ann": now, "bob": now} {
		if is, was := got.User(name), model.User(name); is.Epoch <= was.Epoch || len(is.Ended) != 0 {
			t.Errorf("%s is at epoch %d, sessions are of %d", name, is.Epoch, was.Epoch)
		}
	}
	if got.Lock(KindUser, "eve") == nil {
		t.Error("a restore took a lock away")
	}
	// While a member knows version 1 only, a restore does what it did there.
	mixed := applied(t, now, 4, Announce{Member{ID: "n", Version: 1}})
	got = applied(t, mixed, 5, RestoreChunk{ID: "r", Data: backup.Bytes(), Last: true})
	if is, was := got.User("bob"), old.User("bob"); is.Epoch != was.Epoch {
		t.Errorf("bob is at epoch %d, which an old member does not have", is.Epoch)
	}
}

// TestS003_93_DevicesHaveNoConsistency: for target device it cannot be set, not
// when a config is made and not later, nor by a file that says so.
func TestS003_93_DevicesHaveNoConsistency(t *testing.T) {
	m := applied(t, created(t), 1, CreateInstance{ID: "a"}, CreateSync{Sync{InstanceID: "a", BizType: "D", Scope: "specified", Target: "device"}})
	with := Sync{InstanceID: "a", BizType: "D", Scope: "specified", Target: "device", Consistency: true}
	other := with
	other.BizType = "E"
	for name, op := range map[string]Op{"create": CreateSync{other}, "modify": ModifySync{Sync: with}} {
		next, r := m.Apply(Command{ID: "try " + name, Time: 2, Ops: []Op{op}})
		if r.Refused == nil || r.Refused.Path != "consistency" {
			t.Errorf("%s: %v", name, r.Refused)
		}
		if s := next.Sync("a", "D"); s.Consistency || next.Sync("a", "E") != nil {
			t.Errorf("%s: there is %+v", name, s)
		}
	}
}
