package edge

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/connectors/edge/session"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/state/view"
)

const asked = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// tracedRecord is a record of the oplog with a traceparent.
func tracedRecord(e schemas.Entry, traceparent string) *kgo.Record {
	return &kgo.Record{Value: schemas.AppendChain(e.AppendCanonical(nil), e.Chain),
		Headers: []kgo.RecordHeader{{Key: schemas.HeaderTraceparent, Value: []byte(traceparent)}}}
}

func TestTracesFollowAnEntryToItsFirstPushAndAck(t *testing.T) {
	var begun []string
	tr := newTraces(func(name, parent string, _ time.Time) (string, func(error)) {
		begun = append(begun, name+" under "+parent)
		return "span of " + name, func(err error) { begun = append(begun, fmt.Sprint(name, " ended: ", err)) }
	})
	entry := func(link string, id int64) schemas.Entry {
		return schemas.Entry{InstanceID: "i", BizType: "A", LinkToken: link, ThirdMsgID: "m", Payload: "x", OplogID: id, PrevOffset: -1}
	}
	unasked := asked[:len(asked)-1] + "0"
	tr.note([]*kgo.Record{tracedRecord(entry("u", 1), asked), tracedRecord(entry("u", 2), unasked), tracedRecord(entry("", 3), asked), {Value: []byte("x")}})
	spans := func(id int64) []session.Span {
		return []session.Span{{BizType: "A", Entries: []*session.Entry{{Entry: entry("u", id)}}}}
	}
	tr.written(spans(2)) // not asked for
	tr.written(spans(1))
	tr.written(spans(1)) // another device
	l := view.Log{InstanceID: "i", Target: "u", BizType: "A"}
	tr.acknowledged(l, 0, time.Time{})(nil) // covers nothing
	end := tr.acknowledged(l, 2, time.Time{})
	end(nil)
	tr.acknowledged(l, 2, time.Time{})(nil)
	want := []string{"push under " + asked, "push ended: <nil>", "ack under span of push", "ack ended: <nil>"}
	if fmt.Sprint(begun) != fmt.Sprint(want) {
		t.Errorf("began %q, want %q", begun, want)
	}
	if n := tr.some.Load(); n != 0 || len(tr.logs) != 0 {
		t.Errorf("%d entries in %d logs are still followed", n, len(tr.logs))
	}
}

func TestTracesAreBounded(t *testing.T) {
	tr := newTraces(func(string, string, time.Time) (string, func(error)) { return "s", func(error) {} })
	for id := range int64(3 * tracesMax) {
		e := schemas.Entry{InstanceID: "i", BizType: "A", LinkToken: "u", OplogID: id + 1}
		tr.note([]*kgo.Record{tracedRecord(e, asked)})
		if id%2 == 0 { // some are pushed and never acknowledged
			tr.written([]session.Span{{Entries: []*session.Entry{{Entry: e}}}})
		}
	}
	held := len(tr.waiting) + len(tr.pushed)
	if held > tracesMax || len(tr.order) > tracesMax || len(tr.logs[view.Log{InstanceID: "i", Target: "u", BizType: "A"}]) > tracesMax {
		t.Errorf("%d entries are followed, %d in order: at most %d", held, len(tr.order), tracesMax)
	}
	var none *traces
	none.note([]*kgo.Record{tracedRecord(schemas.Entry{OplogID: 1}, asked)}) // off: nothing happens
	none.written(nil)
	none.acknowledged(view.Log{}, 1, time.Time{})(nil)
}
