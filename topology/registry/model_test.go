package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemarkio/tidemark/schemas"
)

// anOp draws an operation on few names, so that operations meet.
func anOp(t *rapid.T) Op {
	instance := rapid.SampledFrom([]string{"a", "b", "a/b", "实例"}).Draw(t, "instance")
	biz := rapid.SampledFrom([]string{"A", "B", "C-D", "业务"}).Draw(t, "biz")
	sync := Sync{
		InstanceID: instance, BizType: biz,
		Scope:       rapid.SampledFrom([]string{"specified", "specified", "global"}).Draw(t, "scope"),
		Target:      rapid.SampledFrom([]string{"user", "user", "device"}).Draw(t, "target"),
		MultiDevice: rapid.Bool().Draw(t, "multi"), Persistent: rapid.Bool().Draw(t, "persistent"),
		Consistency: rapid.Bool().Draw(t, "consistency"), Online: rapid.Bool().Draw(t, "online"),
		Description: rapid.SampledFrom([]string{"", "x", strings.Repeat("é", MaxDescription)}).Draw(t, "description"),
	}
	if rapid.Bool().Draw(t, "repush") {
		sync.Repush = &Repush{Mode: rapid.SampledFrom([]string{"queue", "threshold"}).Draw(t, "mode"), Threshold: rapid.Int64Range(-1, 3).Draw(t, "n")}
	}
	hash := Hash{byte(rapid.IntRange(0, 3).Draw(t, "hash"))}
	disabled := rapid.Bool().Draw(t, "disabled")
	name := rapid.SampledFrom([]string{"ann", "bob"}).Draw(t, "name")
	return rapid.SampledFrom([]Op{
		CreateInstance{ID: instance}, CreateInstance{ID: instance}, DeleteInstance{ID: instance},
		ModifyInstance{ID: instance, Description: sync.Description[:min(1, len(sync.Description))]},
		CreateSync{sync}, CreateSync{sync}, CreateSync{sync}, ModifySync{Sync: sync}, ModifySync{Sync: sync},
		SetOnline{InstanceID: instance, BizType: biz, Online: sync.Online}, DeleteSync{InstanceID: instance, BizType: biz},
		AddKey{InstanceID: instance, For: ClientKey, Key: Key{ID: hash.ID(), Hash: hash}, Retire: rapid.Int64Range(0, 5000).Draw(t, "retire")},
		DeleteKey{InstanceID: instance, For: ClientKey, ID: hash.ID()},
		KeysUsed{[]KeyUse{{instance, ClientKey, hash.ID(), 7}}},
		CreateUser{User{Name: name, Role: Admin}}, ModifyUser{Name: name, Role: Viewer, Disabled: &disabled}, DeleteUser{Name: name}, Login{Name: name, OK: disabled},
		EndSession{Name: name, ID: biz, Until: rapid.Int64Range(1, 5000).Draw(t, "ends")},
		LockLogin{For: rapid.SampledFrom([]string{KindUser, KindAddress}).Draw(t, "for"), Name: name, Failures: rapid.IntRange(1, 9).Draw(t, "failures"), Until: rapid.Int64Range(1, 5000).Draw(t, "until")},
		UnlockLogin{For: KindUser, Name: name},
		SetSignature{sync.Online}, SetRules{rapid.Int64Range(1, 3).Draw(t, "rules")},
		Note{Action: Redeliver, Object: Object{Kind: KindConfig, Name: biz}},
		Announce{Member{ID: name, Address: biz, Version: rapid.IntRange(1, 2).Draw(t, "version")}}, Forget{name},
		PutPlacement{Placement: Placement{Partitions: []Assignment{{Primary: name}}}},
		MeetTopic{Topic: biz, Revision: rapid.Int64Range(0, 300).Draw(t, "topic revision")},
		PublishAll{}, MarkPublished{Revision: rapid.Int64Range(0, 100).Draw(t, "published"), Topic: biz},
		unknownOp{"later"},
	}).Draw(t, "op")
}

func aCommand(t *rapid.T, n int) Command {
	return Command{
		ID: fmt.Sprint(rapid.IntRange(max(0, n-2), n).Draw(t, "id")), Actor: "ann", Time: int64(n) * 100,
		Ops: rapid.SliceOfN(rapid.Custom(anOp), 1, 4).Draw(t, "ops"),
	}
}

// TestReplay: what the log gives is what the log's encoding gives, is what any
// snapshot of the way gives; and no model changes once it is made.
func TestReplay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := created(t)
		other := m
		restoreAt := rapid.IntRange(0, 39).Draw(t, "restore at")
		var old *Model
		var before string
		for n := range 40 {
			c := aCommand(t, n)
			if n == restoreAt {
				other = restored(t, other)
				old, before = m, text(t, m)
			}
			next, r := m.Apply(c)
			if again, r2 := m.Apply(c); text(t, again) != text(t, next) || !reflect.DeepEqual(r, r2) {
				t.Fatalf("%d: one model and one command give two models", n)
			}
			m = next
			encoded, err := c.Append(nil)
			if err != nil {
				other, _ = other.Apply(c) // what no proposer would let through
				continue
			}
			decoded, err := DecodeCommand(encoded)
			if err != nil {
				t.Fatal(err)
			}
			other, _ = other.Apply(decoded)
		}
		if a, b := text(t, m), text(t, other); a != b {
			t.Fatalf("log replay and restore differ:\n%s\n---\n%s", a, b)
		}
		if !slices.Equal(m.Settings().Changes(), other.Settings().Changes()) {
			t.Fatal("settings differ")
		}
		if text(t, old) != before {
			t.Fatal("a model that others may hold was changed")
		}
	})
}

// TestControlsMakeSettings: a task that takes every control record in order
// has the registry's settings; revisions only rise.
func TestControlsMakeSettings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, held, last := created(t), &Settings{}, int64(0)
		take := func() {
			for p := m.NextPending(last); p != nil; p = m.NextPending(last) {
				if p.Control.Revision <= last {
					t.Fatalf("revision %d after %d", p.Control.Revision, last)
				}
				last = p.Control.Revision
				held = held.With(last, p.Control.Changes)
			}
		}
		for n := range 60 {
			c := aCommand(t, n)
			c.Ops = slices.DeleteFunc(c.Ops, func(o Op) bool { _, ok := o.(MeetTopic); return ok })
			if len(c.Ops) == 0 {
				continue
			}
			var r Result
			m, r = m.Apply(c)
			if r.Publish != 0 && m.NextPending(r.Publish-1) == nil {
				t.Fatalf("revision %d is to be published and does not wait", r.Publish)
			}
			take()
		}
		if want, got := m.Settings().Changes(), held.Changes(); !slices.Equal(want, got) {
			t.Fatalf("the control records make %v, the registry has %v", got, want)
		}
		if m.Settings().Revision != last {
			t.Fatalf("settings are at %d, the last control record at %d", m.Settings().Revision, last)
		}
	})
}

// twin is the dumber model: the rules of configs over a plain map.
type twin map[string]map[string]schemas.SyncConfig

func (w twin) takes(op Op) bool {
	switch o := op.(type) {
	case CreateInstance:
		if w[o.ID] != nil {
			return false
		}
		w[o.ID] = make(map[string]schemas.SyncConfig)
	case DeleteInstance:
		if w[o.ID] == nil || len(w[o.ID]) > 0 {
			return false
		}
		delete(w, o.ID)
	case CreateSync:
		c, ok := w.plain(o.Sync)
		if _, exists := w[o.Sync.InstanceID][o.Sync.BizType]; !ok || w[o.Sync.InstanceID] == nil || exists {
			return false
		}
		w[o.Sync.InstanceID][o.Sync.BizType] = c
	case ModifySync:
		c, ok := w.plain(o.Sync)
		was, exists := w[o.Sync.InstanceID][o.Sync.BizType]
		if !ok || !exists || was.Scope != c.Scope || was.Target != c.Target || was.MultiDevice != c.MultiDevice {
			return false
		}
		c.Online = was.Online
		w[o.Sync.InstanceID][o.Sync.BizType] = c
	case SetOnline:
		c, exists := w[o.InstanceID][o.BizType]
		if !exists {
			return false
		}
		c.Online = o.Online
		w[o.InstanceID][o.BizType] = c
	case DeleteSync:
		if c, exists := w[o.InstanceID][o.BizType]; !exists || c.Online {
			return false
		}
		delete(w[o.InstanceID], o.BizType)
	}
	return true
}

// plain is a config with what is implied, and whether its fields go together.
func (w twin) plain(s Sync) (schemas.SyncConfig, bool) {
	c := s.Config()
	global, device := c.Scope == "global", c.Target == "device"
	c.MultiDevice = c.MultiDevice || global
	if c.Persistent && s.Repush == nil {
		c.RepushMode = "queue"
	}
	ok := !(device && c.Consistency) && !(device && c.MultiDevice && !global) && !(global && !c.Persistent) &&
		(c.Persistent || s.Repush == nil) &&
		(c.RepushMode != "queue" || c.Threshold == 0) && (c.RepushMode != "threshold" || c.Threshold > 0)
	return c, ok
}

func TestConfigRulesAgainstTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, w := created(t), twin{}
		for n := range 60 {
			op := rapid.Custom(anOp).Filter(func(o Op) bool {
				switch o.(type) {
				case CreateInstance, DeleteInstance, CreateSync, ModifySync, SetOnline, DeleteSync:
					return true
				}
				return false
			}).Draw(t, "op")
			next, r := m.Apply(Command{ID: fmt.Sprint(n), Time: 1, Ops: []Op{op}})
			if ok := w.takes(op); ok != (r.Refused == nil) {
				t.Fatalf("%#v: the twin says %t, the model %v", op, ok, r.Refused)
			}
			m = next
		}
		for id, syncs := range w {
			have := make(map[string]schemas.SyncConfig)
			for _, c := range m.Settings().Businesses(id) {
				have[c.BizType] = *c
			}
			if !maps.Equal(syncs, have) || !m.Settings().HasInstance(id) {
				t.Fatalf("instance %q: the twin has %v, the model %v", id, syncs, have)
			}
		}
	})
}

func TestLargeSetsAreSplit(t *testing.T) {
	m := created(t)
	const configs = MaxCommandOps
	var biggest, records int
	c := Command{ID: "many", Time: 1, Ops: []Op{CreateInstance{ID: strings.Repeat("界", 100)}}}
	for i := range configs - 1 {
		c.Ops = append(c.Ops, CreateSync{Sync{
			InstanceID: strings.Repeat("界", 100), BizType: fmt.Sprintf("%s%04d", strings.Repeat("业", 26), i), Scope: "specified", Target: "user",
			Persistent: true, Description: strings.Repeat("说", MaxDescription),
		}})
	}
	m, r := m.Apply(c)
	if r.Refused != nil {
		t.Fatal(r.Refused)
	}
	held := &Settings{}
	for p := m.NextPending(0); p != nil; p = m.NextPending(p.Control.Revision) {
		record := p.Control
		record.Partition, record.Time = 4095, 1<<50
		biggest = max(biggest, len(record.Append(nil, schemas.ClusterKey{})))
		held = held.With(record.Revision, record.Changes)
		records++
	}
	if records < 4 || biggest > schemas.MaxControlBytes {
		t.Errorf("%d control records, the biggest of %d bytes; the limit is %d", records, biggest, schemas.MaxControlBytes)
	}
	if got := len(held.Businesses(strings.Repeat("界", 100))); got != configs-1 {
		t.Errorf("the control records make %d configs of %d", got, configs-1)
	}
	if r.Revision != int64(records)+1 || r.Publish != r.Revision || m.Sync(strings.Repeat("界", 100), c.Ops[1].(CreateSync).Sync.BizType).Revision != r.Revision {
		t.Errorf("result %+v for %d records: object, result and last record share one revision", r, records)
	}
}

func TestPendingIsBounded(t *testing.T) {
	m := created(t)
	var r Result
	for i := range MaxPending + 1 {
		m, r = m.Apply(Command{ID: fmt.Sprint(i), Time: 1, Ops: []Op{CreateInstance{ID: fmt.Sprint(i % 2)}}})
		if r.Refused != nil && r.Refused.Problem == Exists {
			m, r = m.Apply(Command{ID: fmt.Sprint(i, "d"), Time: 1, Ops: []Op{DeleteInstance{ID: fmt.Sprint(i % 2)}}})
		}
	}
	if r.Refused == nil || r.Refused.Problem != Refused || m.PendingCount() != MaxPending {
		t.Fatalf("%d wait, the last answer is %+v", m.PendingCount(), r)
	}
	if _, r = m.Apply(Command{ID: "switch", Time: 1, Ops: []Op{SetSignature{true}}}); r.Refused != nil {
		t.Errorf("what tasks need not learn is refused too: %v", r.Refused)
	}
}

func TestAnswersAreBounded(t *testing.T) {
	m := created(t)
	for i := range MaxAnswers + 10 {
		m, _ = m.Apply(Command{ID: fmt.Sprint("s", i), Time: 1, Ops: []Op{SetSignature{i%2 == 0}}})
	}
	if n := m.answers.byID.len(); n != MaxAnswers || m.answers.order.len() != n {
		t.Errorf("%d answers are remembered in a row of %d", n, m.answers.order.len())
	}
	if m.answers.of("s9") != nil || m.answers.of(fmt.Sprint("s", MaxAnswers+9)) == nil {
		t.Error("it is not the newest that are remembered")
	}
}

func TestOldModelVersionsHoldUpTheNew(t *testing.T) {
	m := created(t)
	m, _ = m.Apply(Command{ID: "1", Ops: []Op{Announce{Member{ID: "old", Version: 1}}}})
	m, _ = m.Apply(Command{ID: "2", Ops: []Op{Announce{Member{ID: "new", Version: 7}}}})
	if got := m.version(); got != 1 {
		t.Errorf("model version %d with a member at 1", got)
	}
	if got := m.Skip(); got.Skipped() != 1 || got.Applied() != m.Applied()+1 {
		t.Error("an unreadable entry is not counted")
	}
}

func TestKindsAreNamedAlike(t *testing.T) {
	for name, read := range kinds {
		op, err := read(json.RawMessage("{}"))
		if err != nil || op.Kind() != name {
			t.Errorf("%s decodes to an operation that says %s (%v)", name, op.Kind(), err)
		}
	}
}

func TestCommandLimits(t *testing.T) {
	big := Command{ID: "x", Ops: []Op{Note{Action: Redeliver, Detail: json.RawMessage(`"` + strings.Repeat("x", MaxDetailBytes-2) + `"`)}}}
	if _, err := big.Append(nil); err != nil {
		t.Errorf("a detail at the limit: %v", err)
	}
	for range 16 {
		big.Ops = append(big.Ops, big.Ops[0])
	}
	if _, err := big.Append(nil); err == nil {
		t.Error("a command over the limit was encoded")
	}
	for name, c := range map[string]Command{
		"no id":   {Ops: []Op{SetSignature{}}},
		"no ops":  {ID: "x"},
		"many":    {ID: "x", Ops: slices.Repeat([]Op{SetSignature{}}, MaxCommandOps+1)},
		"actor":   {ID: "x", Actor: "a\nb", Ops: []Op{SetSignature{}}},
		"unicode": {ID: "x", Actor: "a\xff", Ops: []Op{SetSignature{}}},
	} {
		if c.Check() == nil {
			t.Errorf("%s: passes", name)
		}
	}
}

func TestTopologyDiff(t *testing.T) {
	c := created(t).Cluster()
	if err := c.CheckTopology([]byte(`{"keyHash":"murmur2","partitions":8}`)); err != nil {
		t.Errorf("the same in another order: %v", err)
	}
	err := c.CheckTopology([]byte(`{"partitions":16,"keyHash":"murmur2","extra":1}`))
	const want = "extra is 1 here, but the cluster was made with <nil>\npartitions is 16 here, but the cluster was made with 8"
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func TestKeyCheck(t *testing.T) {
	m := created(t)
	add := func(kind KeyKind, secret string, retire int64) {
		var r Result
		m, r = m.Apply(Command{ID: fmt.Sprint(m.Applied()), Time: 1000, Ops: []Op{AddKey{InstanceID: "a", For: kind, Key: m.NewKey(kind, secret, ""), Retire: retire}}})
		if r.Refused != nil {
			t.Fatal(r.Refused)
		}
	}
	m, _ = m.Apply(Command{ID: "i", Ops: []Op{CreateInstance{ID: "a"}, CreateInstance{ID: "b"}}})
	add(ClientKey, "old", 0)
	add(ClientKey, "new", 5000)
	add(APIKey, "server", 0)
	for _, tt := range []struct {
		instance string
		kind     KeyKind
		secret   string
		now      int64
		want     bool
	}{
		{"a", ClientKey, "old", 4999, true},
		{"a", ClientKey, "old", 5000, false},
		{"a", ClientKey, "new", 5000, true},
		{"b", ClientKey, "new", 5000, false},
		{"a", APIKey, "new", 5000, false},
		{"a", APIKey, "server", 5000, true},
		{"a", ClientKey, "", 0, false},
		{"gone", ClientKey, "new", 0, false},
		{"a", ClientKey, strings.Repeat("x", MaxKeyLength+1), 0, false},
	} {
		if got := m.CheckKey(tt.instance, tt.kind, tt.secret, tt.now) != nil; got != tt.want {
			t.Errorf("%+v: opens %t", tt, got)
		}
	}
	if k := m.Instance("a").APIKeys[0]; k.Sign == nil || *k.Sign != SigningKey("server") {
		t.Error("an API key without what it signs with")
	}
	if s := text(t, m); strings.Contains(s, "server") || strings.Contains(s, `"old"`) {
		t.Error("a snapshot holds a key itself")
	}
}

func TestAuditFilters(t *testing.T) {
	m := created(t)
	for i := range 1500 {
		c := Command{ID: fmt.Sprint(i), Actor: []string{"ann", "bob"}[i%2], Time: int64(i), Ops: []Op{SetSignature{i%2 == 0}}}
		m, _ = m.Apply(c)
	}
	for _, tt := range []struct {
		name        string
		f           AuditFilter
		count       int
		first, last int64 // times
	}{
		{"all, capped", AuditFilter{}, 1000, 1499, 500},
		{"next page", AuditFilter{Before: m.Audit(AuditFilter{})[999].Seq}, 501, 499, 0},
		{"actor", AuditFilter{Actor: "bob", Limit: 10}, 10, 1499, 1481},
		{"action", AuditFilter{Actions: []Action{SignatureOn}, Limit: 3}, 3, 1498, 1494},
		{"both ends inclusive", AuditFilter{From: 100, To: 110}, 11, 110, 100},
		{"together", AuditFilter{From: 100, To: 110, Actor: "ann", Actions: []Action{SignatureOn}}, 6, 110, 100},
		{"contradiction", AuditFilter{Actor: "bob", Actions: []Action{SignatureOn}}, 0, 0, 0},
		{"object", AuditFilter{Object: Object{Kind: KindRegistry}}, 1, 0, 0},
	} {
		got := m.Audit(tt.f)
		if len(got) != tt.count {
			t.Errorf("%s: %d records, want %d", tt.name, len(got), tt.count)
		} else if tt.count > 0 && (got[0].Time != tt.first || got[len(got)-1].Time != tt.last) {
			t.Errorf("%s: from %d to %d, want %d to %d", tt.name, got[0].Time, got[len(got)-1].Time, tt.first, tt.last)
		}
	}
	if r := m.AuditRecord(7); r == nil || r.Seq != 7 || m.AuditRecord(0) != nil || m.AuditRecord(1502) != nil {
		t.Errorf("record 7 is %+v", r)
	}
}

func TestAuditIsBounded(t *testing.T) {
	a := audit{}
	big := json.RawMessage(strings.Repeat("x", 1<<20))
	for range 300 {
		a = a.add([]*Record{{After: big}})
	}
	if a.bytes > MaxAuditBytes || a.records.len() < 200 || a.records.first == 0 {
		t.Errorf("%d records of %d bytes, %d dropped", a.records.len(), a.bytes, a.records.first)
	}
}

func TestRestoreThroughTheLog(t *testing.T) {
	old := created(t)
	apply := func(m *Model, id string, ops ...Op) *Model {
		next, r := m.Apply(Command{ID: id, Actor: "ann", Time: 5000, Ops: ops})
		if r.Refused != nil {
			t.Fatal(r.Refused)
		}
		return next
	}
	sync := Sync{InstanceID: "a", BizType: "KEPT", Scope: "specified", Target: "user", Persistent: true}
	later := sync
	later.BizType = "LATER"
	old = apply(old, "1", CreateInstance{ID: "a"}, CreateSync{sync})
	var backup bytes.Buffer
	if err := old.Snapshot(&backup); err != nil {
		t.Fatal(err)
	}
	now := apply(old, "2", CreateSync{later}, CreateInstance{ID: "b"})
	now = apply(now, "3", MeetTopic{Topic: "t"}, Announce{Member{ID: "n", Version: 1}})
	now = apply(now, "4", MarkPublished{Revision: now.Revision(), Time: 9, Topic: "t"})

	half := backup.Len() / 2
	first := RestoreChunk{ID: "r", Data: backup.Bytes()[:half]}
	last := RestoreChunk{ID: "r", Part: 1, Data: backup.Bytes()[half:], Last: true}
	if _, r := now.Apply(Command{ID: "x", Ops: []Op{last}}); r.Refused == nil {
		t.Fatal("a restore may begin in the middle")
	}
	got := apply(now, "5", first)
	got = restored(t, got) // a snapshot in between keeps the first half
	got = apply(got, "6", last)

	if got.Sync("a", "KEPT") == nil || got.Sync("a", "LATER") != nil || got.Instance("b") != nil {
		t.Error("the state is not the backup's")
	}
	if got.Revision() <= now.Revision() || got.Member("n") == nil || got.Audit(AuditFilter{Limit: 1})[0].Action != RegistryRestored {
		t.Errorf("revision %d after %d, newest record %s", got.Revision(), now.Revision(), got.Audit(AuditFilter{Limit: 1})[0].Action)
	}
	if got.AuditLen() != now.AuditLen()+1 {
		t.Errorf("%d audit records, %d before: a restore wiped some out", got.AuditLen(), now.AuditLen())
	}
	for revision := range now.Revision() + 2 {
		if _, reset := got.Since(revision); !reset && revision < got.Revision() {
			t.Errorf("a watcher at %d is not told to start anew", revision)
		}
	}
	// A task that has what was published before must end up with the backup's settings.
	held := now.Settings()
	got = apply(got, "7", MeetTopic{Topic: "t"})
	for p := got.NextPending(0); p != nil; p = got.NextPending(p.Control.Revision) {
		if p.Control.Revision > held.Revision {
			held = held.With(p.Control.Revision, p.Control.Changes)
		}
	}
	if !slices.Equal(held.Changes(), old.Settings().Changes()) {
		t.Errorf("a task has %v after the restore, the backup %v", held.Changes(), old.Settings().Changes())
	}

	if _, r := now.Apply(Command{ID: "y", Ops: []Op{RestoreChunk{ID: "z", Data: []byte("no backup"), Last: true}}}); r.Refused == nil {
		t.Error("anything is a backup")
	}
	// Into a registry that was never created: it becomes the backup's.
	if fresh, r := (&Model{}).Apply(Command{ID: "f", Time: 1, Ops: []Op{RestoreChunk{ID: "z", Data: backup.Bytes(), Last: true}}}); r.Refused != nil || fresh.Cluster().Key != old.Cluster().Key {
		t.Errorf("a new registry does not take the backup: %v", r.Refused)
	}
}

func TestRestoreRefuses(t *testing.T) {
	whole := text(t, created(t))
	lines := strings.SplitAfter(whole, "\n")
	for name, s := range map[string]string{
		"empty":           "",
		"not ours":        `{"format":"other"}` + "\n",
		"a newer version": strings.Replace(whole, `"version":1`, `"version":2`, 1),
		"cut short":       strings.Join(lines[:len(lines)-2], ""),
		"a line missing":  lines[0] + strings.Join(lines[2:], ""),
		"unknown line":    lines[0] + `{"future":1}` + "\n" + strings.Join(lines[1:], ""),
		"garbage":         lines[0] + "garbage\n",
		"more":            whole + "{}\n",
	} {
		if _, err := readLines(strings.NewReader(s)); err == nil {
			t.Errorf("%s: is restored", name)
		}
	}
	if _, err := readLines(strings.NewReader(whole)); err != nil {
		t.Fatal(err)
	}
}

func TestRoles(t *testing.T) {
	if !Admin.May(Viewer) || !Operator.May(Operator) || Viewer.May(Operator) || Role("").May(Viewer) || Role("").May("") {
		t.Error("roles do not include each other as they should")
	}
}
