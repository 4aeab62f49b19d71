package chain

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/tidemarkio/tidemark/schemas"
)

var rewrite = flag.Bool("rewrite", false, "write schemas/testdata/chain.json anew")

const goldenFile = "../testdata/chain.json"

// golden is a log for other languages to check their reader with: see
// schemas/testdata/chain.py for one.
type golden struct {
	Comment string         `json:"comment"`
	Records []goldenRecord `json:"records"`
}

type goldenRecord struct {
	About   string         `json:"about"`
	Entry   map[string]any `json:"entry"`  // by the names of tidemark.proto; bytes in hex
	Record  string         `json:"record"` // the value on the topic, in hex
	Verdict string         `json:"verdict"`
	// After the record:
	Position int64  `json:"position"`
	Chain    string `json:"chain"` // in hex
}

// log is the golden log: entries, and what a log holds besides.
func log() (g golden) {
	g.Comment = "A partition's oplog, in order. Read it by the rule of tidemark.proto: each record must get the verdict, and lead to the position and chain."
	r := Start()
	add := func(about string, e schemas.Entry, prev Value) Value {
		canonical := e.AppendCanonical(nil)
		e.Chain = prev
		if !e.Marker() {
			e.Chain = Next(prev, append(make([]byte, schemas.ChainLen), canonical...))
		}
		record := schemas.AppendChain(canonical, e.Chain)
		v, err := r.Accept(record, &e)
		if err != nil {
			panic(err)
		}
		position, chain := r.Position(), r.Chain()
		g.Records = append(g.Records, goldenRecord{about, fieldsOf(&e), hex.EncodeToString(record), v.String(), position, hex.EncodeToString(chain[:])})
		return e.Chain
	}
	first := schemas.Entry{InstanceID: "demo_APP1", BizType: "UCHAT", LinkToken: "2088102147396225", ThirdMsgID: "m1", Payload: "hello",
		ValidTimeEnd: 1_802_592_000_000, OplogID: 1, RequestOffset: 4, PrevOffset: None, SettingsRevision: 1, StreamTime: 1_800_000_000_000}
	second := schemas.Entry{InstanceID: "demo_APP1", BizType: "UCHAT", LinkToken: "2088102147396225", ThirdMsgID: "m2", Binary: []byte{0, 0xff, 0x80},
		OSType: "iOS", AppMinVersion: "8.6.0.9999", AppMaxVersion: "9.0.0.9999", ValidTimeEnd: 1_800_000_060_000,
		OplogID: 2, RequestOffset: 5, PrevOffset: 4, SettingsRevision: 1, StreamTime: 1_800_000_000_000, NonPersistent: true}
	global := schemas.Entry{InstanceID: "demo_APP1", BizType: "NEWS", ThirdMsgID: "g-1", Payload: "日本語 😀\n\"", Scope: schemas.ScopeGlobal,
		ValidTimeEnd: 1_802_592_010_000, OplogID: 1, RequestOffset: 300, PrevOffset: 5, SettingsRevision: 2, StreamTime: 1_800_000_010_000}
	last := schemas.Entry{InstanceID: "demo_APP1", BizType: "UCHAT", LinkToken: "u", ThirdMsgID: "m1", Payload: "p",
		OplogID: 1 << 40, RequestOffset: 1 << 41, PrevOffset: 300, SettingsRevision: 1 << 20, StreamTime: 0}

	add("a marker before the first entry", schemas.Entry{RequestOffset: 3, PrevOffset: None}, Value{})
	c1 := add("the first entry: text", first, Value{})
	c2 := add("an entry with bytes, filters and a validity of its own, for sessions online now", second, c1)
	add("the second entry again: another owner wrote the same", second, c1)
	c3 := add("an entry for everybody: no link token", global, c2)
	orphan := schemas.Entry{InstanceID: "demo_APP1", BizType: "UCHAT", LinkToken: "u", ThirdMsgID: "m2", Payload: "q",
		OplogID: 1<<40 + 1, RequestOffset: 1<<41 + 1, PrevOffset: 1 << 41, SettingsRevision: 1 << 20}
	lost := Next(c3, append(make([]byte, schemas.ChainLen), last.AppendCanonical(nil)...))
	add("an orphan: the append before it failed", orphan, lost)
	c4 := add("the entry that was missing: large numbers", last, c3)
	add("the orphan comes again, and is accepted", orphan, c4)
	add("a marker of an owner that is behind", schemas.Entry{RequestOffset: 299, PrevOffset: 5}, c2)
	return g
}

// fieldsOf lists the fields that are not default, by their names in the .proto.
func fieldsOf(e *schemas.Entry) map[string]any {
	all := map[string]any{
		"instance_id": e.InstanceID, "biz_type": e.BizType, "link_token": e.LinkToken, "third_msg_id": e.ThirdMsgID, "payload": e.Payload,
		"binary_payload": hex.EncodeToString(e.Binary), "os_type": e.OSType, "app_min_version": e.AppMinVersion, "app_max_version": e.AppMaxVersion,
		"valid_time_end": e.ValidTimeEnd, "scope": e.Scope, "oplog_id": e.OplogID, "request_offset": e.RequestOffset, "prev_offset": e.PrevOffset,
		"settings_revision": e.SettingsRevision, "stream_time": e.StreamTime, "non_persistent": e.NonPersistent, "chain": hex.EncodeToString(e.Chain[:]),
	}
	for name, v := range all {
		if v == "" || v == int64(0) || v == false {
			delete(all, name)
		}
	}
	return all
}

// The bytes on the topic and the chain are a contract with other languages and
// with logs that exist: this file never changes, it only grows.
func TestTheGoldenLogIsWhatWeWrite(t *testing.T) {
	got, err := json.MarshalIndent(log(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *rewrite {
		if err := os.WriteFile(goldenFile, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s is not what is written now:\n%s", goldenFile, got)
	}
}

func TestTheGoldenLogIsReadByTheRule(t *testing.T) {
	b, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	r := Start()
	for _, rec := range g.Records {
		record, err := hex.DecodeString(rec.Record)
		if err != nil {
			t.Fatal(err)
		}
		var e schemas.Entry
		if err := e.Decode(record); err != nil {
			t.Fatal(err)
		}
		v, err := r.Accept(record, &e)
		if chain := r.Chain(); err != nil || v.String() != rec.Verdict || r.Position() != rec.Position || hex.EncodeToString(chain[:]) != rec.Chain {
			t.Errorf("%s: %s, position %d, chain %x, %v", rec.About, v, r.Position(), chain, err)
		}
	}
}
