package view

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidemarkio/tidemark/schemas"
)

func copyOf(biz string, id int64) []byte {
	e := schemas.Entry{InstanceID: "i", BizType: biz, Scope: schemas.ScopeGlobal, OplogID: id, Payload: "p"}
	return schemas.AppendChain(e.AppendCanonical(nil), e.Chain)
}

func TestGlobalAcceptsEachIdOnce(t *testing.T) {
	cfg := testConfig(t, shared(t), vfs.NewMem())
	g, err := OpenGlobal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got := g.Next(5); got != -1 {
		t.Errorf("a new store stands at %d", got)
	}
	offset := int64(0)
	apply := func(biz string, all ...int64) (accepted []int64, repeats, orphans int) {
		t.Helper()
		var records []Record
		for _, id := range all {
			records = append(records, Record{Offset: offset, Time: 1, Value: copyOf(biz, id)})
			offset++
		}
		out, err := g.Apply(5, records)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range out.Entries {
			accepted = append(accepted, a.Entry.OplogID)
		}
		return accepted, out.Repeats, out.Orphans
	}
	// The first is the base: the topic may have lost its beginning.
	if got, repeats, orphans := apply("A", 7, 8, 7, 8, 10, 9, 10); !slices.Equal(got, []int64{7, 8, 9, 10}) || repeats != 2 || orphans != 1 {
		t.Errorf("accepted %v, %d repeats, %d orphans", got, repeats, orphans)
	}
	apply("B", 1)
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if g, err = OpenGlobal(cfg); err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if got := g.Next(5); got != offset {
		t.Errorf("reopened at %d, want %d", got, offset)
	}
	if got, repeats, _ := apply("A", 9, 10, 11); !slices.Equal(got, []int64{11}) || repeats != 2 {
		t.Errorf("after reopening: accepted %v, %d repeats", got, repeats)
	}
	if head, err := g.Head(Log{"i", "", "A"}); err != nil || head != 11 {
		t.Errorf("head %d, %v", head, err)
	}
	var got []int64
	if err := g.Read(Log{"i", "", "A"}, 8, 1<<62, func(e *schemas.Entry, _ []byte) bool {
		got = append(got, e.OplogID)
		return true
	}); err != nil || !slices.Equal(got, []int64{9, 10, 11}) {
		t.Errorf("entries %v, %v", got, err)
	}
}

func TestGlobalRefusesWhatIsNotGlobal(t *testing.T) {
	g, err := OpenGlobal(testConfig(t, shared(t), vfs.NewMem()))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	log := newOplog()
	r := log.push(schemas.Entry{InstanceID: "i", LinkToken: "u", BizType: "A", Payload: "p"}, 1)
	if _, err := g.Apply(1, []Record{r}); err == nil || !strings.Contains(err.Error(), "not a global one") {
		t.Errorf("error %v", err)
	}
}

func TestInspect(t *testing.T) {
	cfg := testConfig(t, shared(t), vfs.NewMem())
	v := open(t, cfg)
	defer v.Close()
	log := newOplog()
	log.push(schemas.Entry{InstanceID: "i", LinkToken: "u", BizType: "A", ThirdMsgID: "m1", Payload: "text", ValidTimeEnd: 1_700_000_000_000}, 1_699_999_000_000)
	log.push(schemas.Entry{InstanceID: "i", LinkToken: "u", BizType: "A", ThirdMsgID: "m2", Payload: "x", NonPersistent: true}, 1_699_999_000_000)
	log.push(schemas.Entry{InstanceID: "i", LinkToken: "v", BizType: "A", ThirdMsgID: "n1", Payload: "y"}, 1_699_999_000_000)
	ack := schemas.Ack{InstanceID: "i", Target: "u", BizType: "A", DeviceID: "d", To: 1, Time: 1_699_999_500_000, Entries: 1}
	if _, err := v.Apply(log.records, []Record{{Value: ack.Append(nil)}}); err != nil {
		t.Fatal(err)
	}
	if err := v.Touch(&Device{"i", "u", "d", "iOS", "9.0", 1_699_999_000_000}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := v.Inspect(&out, Filter{Target: "u"}); err != nil {
		t.Fatal(err)
	}
	want := `acked  "i" "u" "A": 1
device "i" "u" "d": iOS 9.0, online 2023-11-14T21:56:40Z
entry  "i" "u" "A" 1: "m1", 4 bytes, valid until 2023-11-14T22:13:20Z
head   "i" "u" "A": 2
point  "i" "u" "A" device "d": 1 at 2023-11-14T22:05:00Z
counts "i" "u" "A" hour 2023-11-14T21:00:00Z: 2 pushes, 0 arrivals
counts "i" "u" "A" hour 2023-11-14T22:00:00Z: 0 pushes, 1 arrivals
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	out.Reset()
	if err := v.Inspect(&out, Filter{}); err != nil || !strings.Contains(out.String(), "position: oplog offset 3, acks offset 1") {
		t.Errorf("%v\n%s", err, out.String())
	}
	out.Reset()
	if err := v.Inspect(&out, Filter{Max: 2}); err != nil || strings.Count(out.String(), "\n") != 2 {
		t.Errorf("%v\n%s", err, out.String())
	}
}
