package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/zeebo/xxh3"
	"google.golang.org/protobuf/encoding/protowire"
)

var testBusinesses = Businesses{{"i", "A"}: {}, {"i", "G"}: {Global: true}}

// link gives entries their positions' chain again, from the first on.
func link(log []*Entry) (records []Record) {
	var chain [16]byte
	for i, e := range log {
		canonical := e.canonical()
		own := chain
		if !e.Marker() {
			chain = xxh3.Hash128(append(chain[:len(chain):len(chain)], canonical...)).Bytes()
			own = chain
		}
		value := protowire.AppendBytes(protowire.AppendTag(canonical, 30, protowire.BytesType), own[:])
		records = append(records, Record{Offset: int64(i), Value: value})
	}
	return records
}

func result(msg string, ok bool, q *Request, id, offset int64) Record {
	var b []byte
	b = putString(b, 1, msg)
	if ok {
		b = putInt(b, 2, 1)
	} else {
		b = putString(b, 3, "because")
	}
	for i, s := range []string{q.InstanceID, q.BizType, q.LinkToken, q.ThirdMsgID} {
		b = putString(b, protowire.Number(4+i), s)
	}
	return Record{Value: putInt(putInt(b, 8, id), 10, offset)}
}

// world is a sound system of one partition: six entries for A, a repeat of the
// third request, a bad request, a global entry.
type world struct {
	entries []*Entry
	topics  Topics
	asked   []Asked
}

func sound() *world {
	w := new(world)
	var requests, results, rejects []Record
	prev := int64(-1)
	put := func(q Request, id int64) {
		offset := int64(len(requests))
		requests = append(requests, Record{Offset: offset, Value: q.Proto()})
		results = append(results, result("SUCCESS", true, &q, id, offset))
		w.asked = append(w.asked, Asked{Request: q, Answer: Answer{Msg: "SUCCESS", Success: true, OplogID: id}})
		w.entries = append(w.entries, &Entry{Request: q, OplogID: id, RequestOffset: offset, PrevOffset: prev})
		prev = offset
	}
	for i := range int64(6) {
		put(Request{InstanceID: "i", BizType: "A", LinkToken: "u", ThirdMsgID: fmt.Sprint("m", i), Payload: "p"}, i+1)
	}
	again := w.entries[2].Request
	requests = append(requests, Record{Offset: 6, Value: again.Proto()}, Record{Offset: 7, Value: []byte("{")})
	results = append(results, result("DUPLICATED_BIZ_ID", true, &again, 3, 6))
	rejects = append(rejects, result("ARGS_INVALID", false, &Request{}, 0, 7))
	put(Request{InstanceID: "i", BizType: "G", ThirdMsgID: "g", Payload: "p", Scope: scopeGlobal}, 1)
	w.entries = append(w.entries, &Entry{RequestOffset: 8, PrevOffset: 8})
	w.topics = Topics{Requests: [][]Record{requests}, Results: [][]Record{results}, Rejects: [][]Record{rejects}}
	w.relink()
	w.topics.Broadcast = [][]Record{{w.topics.Oplog[0][6]}}
	return w
}

func (w *world) relink() { w.topics.Oplog = [][]Record{link(w.entries)} }

// rewire sets each entry's prev_offset to the one before it, as a writer that
// lost or swapped entries would.
func (w *world) rewire() {
	prev := int64(-1)
	for _, e := range w.entries {
		e.PrevOffset = prev
		if !e.Marker() {
			prev = e.RequestOffset
		}
	}
	w.relink()
}

func TestAuditPassesWhatIsSound(t *testing.T) {
	w := sound()
	// Another owner's copy and an orphan that comes again are sound, too.
	log := w.topics.Oplog[0]
	w.topics.Oplog[0] = slices.Concat(log[:2], log[1:2], log[4:5], log[2:])
	a := Check(&w.topics, testBusinesses, w.asked)
	if len(a.Findings) > 0 {
		t.Error("findings in a sound system:\n", strings.Join(a.Findings, "\n"))
	}
	if a.Repeats != 1 || a.Orphans != 1 || a.Behind(&w.topics) != 0 {
		t.Errorf("repeats %d, orphans %d, behind %d", a.Repeats, a.Orphans, a.Behind(&w.topics))
	}
}

func TestAuditFindsWhatIsPlanted(t *testing.T) {
	for _, tt := range []struct {
		name  string
		plant func(w *world)
		want  string
	}{
		{"gap", func(w *world) { w.entries[3].OplogID = 7; w.relink() }, "I1: {i A u}: oplog id 7 after 3"},
		{"reuse", func(w *world) { w.entries[3].OplogID = 3; w.relink() }, "I1: {i A u}: oplog id 3 after 3"},
		{"loss", func(w *world) { w.entries = slices.Delete(w.entries, 5, 6); w.rewire() }, "has no entry"},
		{"loss within", func(w *world) { w.topics.Oplog[0] = slices.Delete(w.topics.Oplog[0], 2, 3) }, "never came again"},
		{"reorder", func(w *world) {
			w.entries[2], w.entries[3] = w.entries[3], w.entries[2]
			w.rewire()
		}, "I1: oplog 0@3: request 2 after request 3"},
		{"wrong chain", func(w *world) { w.topics.Oplog[0][4].Value[len(w.topics.Oplog[0][4].Value)-1] ^= 1 }, "chain is"},
		{"changed payload under its chain", func(w *world) { w.entries[4].Payload = "q"; w.relink() }, "holds something else"},
		{"two truths", func(w *world) {
			other := *w.entries[1]
			other.OplogID = 9
			w.topics.Oplog[0] = append(w.topics.Oplog[0], link([]*Entry{&other})...)
		}, "with other bytes"},
		{"accepted twice", func(w *world) {
			again := *w.entries[2]
			again.RequestOffset, again.OplogID = 6, 7
			w.entries = slices.Insert(w.entries, 6, &again)
			w.rewire()
		}, "I2: {{i A u} m2} is accepted twice"},
		{"first passed over for the repeat", func(w *world) {
			moved := *w.entries[2]
			w.entries = slices.Insert(slices.Delete(w.entries, 2, 3), 5, &moved)
			moved.RequestOffset = 6
			w.rewire()
		}, "was passed over"},
		{"repeat answered with another id", func(w *world) {
			w.topics.Results[0][6] = result("DUPLICATED_BIZ_ID", true, &w.entries[2].Request, 5, 6)
		}, "I2: result"},
		{"success without an entry", func(w *world) {
			w.asked = append(w.asked, Asked{Request: Request{InstanceID: "i", BizType: "A", LinkToken: "u", ThirdMsgID: "never"}, Answer: Answer{Msg: "SUCCESS", Success: true, OplogID: 8}})
		}, "I3: HTTP answer"},
		{"refused and yet there", func(w *world) {
			w.topics.Results[0] = append(w.topics.Results[0], result("ARGS_INVALID", false, &w.entries[0].Request, 0, 0))
		}, "left an entry"},
		{"no reject", func(w *world) { w.topics.Rejects = [][]Record{nil} }, "is not in rejects"},
		{"reject of a good one", func(w *world) {
			w.topics.Rejects[0] = append(w.topics.Rejects[0], result("ARGS_INVALID", false, &Request{}, 0, 1))
		}, "is in rejects"},
		{"no broadcast", func(w *world) { w.topics.Broadcast = [][]Record{nil} }, "broadcast lacks"},
		{"broadcast of nothing", func(w *world) {
			w.topics.Broadcast[0] = append(w.topics.Broadcast[0], link([]*Entry{{Request: Request{InstanceID: "i", BizType: "G", ThirdMsgID: "x"}, OplogID: 2}})...)
		}, "no copy"},
		{"entry without a request", func(w *world) {
			w.entries = append(w.entries, &Entry{Request: Request{InstanceID: "i", BizType: "A", LinkToken: "u", ThirdMsgID: "x", Payload: "p"}, OplogID: 7, RequestOffset: 99, PrevOffset: 8})
			w.relink()
		}, "no request 99"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := sound()
			tt.plant(w)
			a := Check(&w.topics, testBusinesses, w.asked)
			if !slices.ContainsFunc(a.Findings, func(f string) bool { return strings.Contains(f, tt.want) }) {
				t.Errorf("not found: %q; findings: %q", tt.want, a.Findings)
			}
		})
	}
}

func TestSameLogsComparesBytes(t *testing.T) {
	one, other := sound(), sound()
	a := Check(&one.topics, testBusinesses, nil)
	if f := SameLogs(a, Check(&other.topics, testBusinesses, nil)); len(f) > 0 {
		t.Error(f)
	}
	other.entries[3].StreamTime = 1
	other.relink()
	if f := SameLogs(a, Check(&other.topics, testBusinesses, nil)); len(f) == 0 {
		t.Error("another stream time is not noticed")
	}
}
