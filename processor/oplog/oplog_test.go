package oplog

import (
	"encoding/hex"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/zeebo/xxh3"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/schemas/chain"
)

func TestDecide(t *testing.T) {
	for _, c := range []struct {
		facts Facts
		want  Decision
	}{
		{Facts{}, Decision{ID: 1}},
		{Facts{Last: 41}, Decision{ID: 42}},
		{Facts{Original: 7, Last: 41}, Decision{Duplicate: true, ID: 7}},
		{Facts{Original: 1}, Decision{Duplicate: true, ID: 1}}, // the counter need not be looked up
	} {
		if got := Decide(c.facts); got != c.want {
			t.Errorf("%+v: %+v, want %+v", c.facts, got, c.want)
		}
	}
}

func TestValidityIsTheEarlierOfRequestAndRetention(t *testing.T) {
	// Spec D21; stream time 1000, retention 500.
	for asked, want := range map[int64]int64{0: 1500, 1200: 1200, 1500: 1500, 1501: 1500, 1: 1, schemas.MaxValidTime: 1500} {
		r := schemas.Request{BizType: "A", LinkToken: "u", ValidTimeEnd: asked}
		if e := Entry(&r, &schemas.SyncConfig{Persistent: true}, Place{StreamTime: 1000}, 500); e.ValidTimeEnd != want {
			t.Errorf("asked for %d: valid until %d, want %d", asked, e.ValidTimeEnd, want)
		}
	}
}

func TestAnEntryHasAllThatItsRequestHas(t *testing.T) {
	r := schemas.Request{InstanceID: "i", BizType: "A", LinkToken: "u", ThirdMsgID: "m", Payload: "p", Binary: []byte("b"),
		OSType: "iOS", AppMinVersion: "1", AppMaxVersion: "2", ValidTimeEnd: 7, Scope: schemas.ScopeSpecified}
	at := Place{ID: 3, Request: 9, Prev: 8, Revision: 4, StreamTime: 1000}
	want := schemas.Entry{InstanceID: "i", BizType: "A", LinkToken: "u", ThirdMsgID: "m", Payload: "p", Binary: []byte("b"), OSType: "iOS", AppMinVersion: "1", AppMaxVersion: "2",
		ValidTimeEnd: 7, OplogID: 3, RequestOffset: 9, PrevOffset: 8, SettingsRevision: 4, StreamTime: 1000}
	if got := Entry(&r, &schemas.SyncConfig{Persistent: true}, at, 500); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	want.NonPersistent = true
	if got := Entry(&r, &schemas.SyncConfig{}, at, 500); !reflect.DeepEqual(got, want) {
		t.Errorf("not persistent: %+v", got)
	}
	// For everybody: no link token, and always kept (D14).
	r.Scope, want.Scope, want.LinkToken, want.NonPersistent = schemas.ScopeGlobal, schemas.ScopeGlobal, "", false
	if got := Entry(&r, &schemas.SyncConfig{}, at, 500); !reflect.DeepEqual(got, want) {
		t.Errorf("global: %+v", got)
	}
}

func TestKeysAreDistinct(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 9))
	parts := []string{"", "a", "b", "ab", "aa", "a\x00", "\x00a", "\x1a\x01a", "é", strings.Repeat("x", 100), strings.Repeat("語", 100)}
	type name struct{ instance, biz, link, id string }
	counters, dedupes := map[[16]byte]name{}, map[[16]byte]name{}
	for range 50_000 {
		pick := func() string { return parts[rng.IntN(len(parts))] }
		n := name{pick(), pick(), pick(), pick()}
		k := KeysOf([]byte("whatever"), &schemas.Request{InstanceID: n.instance, BizType: n.biz, LinkToken: n.link, ThirdMsgID: n.id})
		counter := name{n.instance, n.biz, n.link, ""}
		if was, ok := counters[k.Counter]; ok && was != counter {
			t.Fatalf("%+v and %+v are counted together", was, counter)
		}
		if was, ok := dedupes[k.Dedupe]; ok && was != n {
			t.Fatalf("%+v and %+v are one key", was, n)
		}
		counters[k.Counter], dedupes[k.Dedupe] = counter, n
		if string(k.CounterText) != string(schemas.CounterKey(nil, n.instance, n.biz, n.link)) || xxh3.Hash128(k.CounterText).Bytes() != k.Counter {
			t.Fatalf("%+v: text %x, hash %x", n, k.CounterText, k.Counter)
		}
	}
}

func TestKeysDoNotDependOnTheBuffer(t *testing.T) {
	r := schemas.Request{InstanceID: "i", BizType: "A", LinkToken: "u", ThirdMsgID: strings.Repeat("m", 300)}
	want := KeysOf(nil, &r)
	for _, buf := range [][]byte{make([]byte, 0, 4), make([]byte, 0, 20), make([]byte, 0, 4096), []byte("something before")} {
		if got := KeysOf(buf, &r); !reflect.DeepEqual(got, want) {
			t.Errorf("buffer of %d: %+v", cap(buf), got)
		}
	}
	if cap(want.CounterText) != len(want.CounterText) {
		t.Error("appending to CounterText would overwrite what follows it")
	}
}

func TestWindow(t *testing.T) {
	w := Window{Millis: 60, Bucket: 30}
	for _, c := range []struct{ time, at, oldest int64 }{
		{0, 0, 0}, {29, 0, 0}, {30, 1, 0}, {60, 2, 0}, {89, 2, 0}, {90, 3, 1}, {119, 3, 1}, {120, 4, 2},
	} {
		if w.At(c.time) != c.at || w.Oldest(c.time) != c.oldest {
			t.Errorf("time %d: bucket %d, oldest %d", c.time, w.At(c.time), w.Oldest(c.time))
		}
	}
}

// A key is remembered for the window at least, and for a bucket longer at most.
func TestAKeyIsRememberedForTheWindow(t *testing.T) {
	rng := rand.New(rand.NewPCG(10, 11))
	for range 100_000 {
		w := Window{Bucket: 1 + rng.Int64N(100)}
		w.Millis = w.Bucket * (1 + rng.Int64N(4))
		put := rng.Int64N(10_000)
		now := put + rng.Int64N(3*w.Millis)
		remembered := w.At(put) >= w.Oldest(now)
		if age := now - put; age <= w.Millis && !remembered || age >= w.Millis+w.Bucket && remembered {
			t.Fatalf("%+v: put at %d, remembered at %d: %t", w, put, now, remembered)
		}
		if w.Oldest(now) > w.Oldest(now+1) || w.At(now) > w.At(now+1) || w.Oldest(now) > w.At(now) {
			t.Fatalf("%+v goes back at %d", w, now)
		}
	}
}

// The rules of version 1, as they stand in logs that exist: if this test has to
// change, the rules need a new version.
func TestTheRulesOfVersion1AreFrozen(t *testing.T) {
	if Version != 1 {
		t.Fatal("add a test for the new version, and keep this one")
	}
	r := schemas.Request{InstanceID: "demo_APP1", BizType: "UCHAT", LinkToken: "u", ThirdMsgID: "m", Payload: "p",
		OSType: "iOS", AppMinVersion: "1", AppMaxVersion: "2.0", ValidTimeEnd: 1_800_000_100_000}
	k := KeysOf(nil, &r)
	e := Entry(&r, &schemas.SyncConfig{}, Place{ID: 2, Request: 300, Prev: 299, Revision: 5, StreamTime: 1_800_000_000_000}, 30*24*3600*1000)
	_, record, next := Append([]byte("in front"), &e, chain.Value{15: 1})
	for what, c := range map[string]struct {
		got  []byte
		want string
	}{
		"counter":      {k.Counter[:], "097836cfca2418300a5af1a5d3935203"},
		"dedupe":       {k.Dedupe[:], "bfa6f69d3fe07ca10df6191edcc8f200"},
		"counter text": {k.CounterText, "0a0964656d6f5f41505031120555434841541a0175"},
		"record":       {record, "0a0964656d6f5f41505031120555434841541a017522016d2a01703a03694f534201314a03322e3050a0adf7c2b134600268ac0270ab027805800180a0f1c2b134880101f20110d13a2b277f4b27afcb6a6f88b5d6f5e3"},
		"chain":        {next[:], "d13a2b277f4b27afcb6a6f88b5d6f5e3"},
	} {
		if got := hex.EncodeToString(c.got); got != c.want {
			t.Errorf("%s: %s, want %s", what, got, c.want)
		}
	}
}

func TestAppendWritesTheRecordBehindScratch(t *testing.T) {
	e := schemas.Entry{InstanceID: "i", BizType: "A", OplogID: 1, RequestOffset: 5, PrevOffset: -1}
	prev := chain.Value{1, 2, 3}
	for _, size := range []int{0, 10, 40, 4096} {
		buf := append(make([]byte, 0, size+8), "in front"...)
		grown, record, next := Append(buf, &e, prev)
		canonical := e.AppendCanonical(nil)
		if want := xxh3.Hash128(append(append([]byte{}, prev[:]...), canonical...)).Bytes(); next != want {
			t.Errorf("chain %x, want %x", next, want)
		}
		if want := schemas.AppendChain(canonical, next); string(record) != string(want) {
			t.Errorf("record %x, want %x", record, want)
		}
		if string(grown[:8]) != "in front" || len(grown) != 8+schemas.ChainLen+len(record) || cap(record) != len(record) {
			t.Errorf("grown to %d, record of %d, capacity %d", len(grown), len(record), cap(record))
		}
		if v, err := chain.Resume(-1, prev, -1).Accept(record, decoded(t, record)); v != chain.Accept || err != nil {
			t.Errorf("a reader says %s, %v", v, err)
		}
	}
}

func decoded(t *testing.T, record []byte) *schemas.Entry {
	var e schemas.Entry
	if err := e.Decode(record); err != nil {
		t.Fatal(err)
	}
	return &e
}
