package edge

import (
	"testing"

	"github.com/tidemarkio/tidemark/connectors/edge/session"
	"github.com/tidemarkio/tidemark/schemas"
)

// However much comes, the tails stay within their bytes, and what a log's tail
// holds is its newest entries without a gap.
func TestTailsAreBounded(t *testing.T) {
	ts := tails{bytesMax: 20 * (entryBytes + 200)}
	logs := []*liveLog{{}, {}, {}}
	for i := range 10_000 {
		l := logs[(i*i)%7%3]
		ts.add(l, &session.Entry{Entry: schemas.Entry{OplogID: l.head + 1}}, 100)
		if i == 5000 {
			logs[1].tail = nil // its followers have left
			logs[1] = &liveLog{head: logs[1].head}
		}
		held := 0
		for n, l := range logs {
			held += len(l.tail)
			for k, e := range l.tail {
				if want := l.head - int64(len(l.tail)-1-k); e.OplogID != want {
					t.Fatalf("after %d: log %d holds id %d, want %d", i, n, e.OplogID, want)
				}
			}
		}
		if ts.bytes > ts.bytesMax || held > 20 || len(ts.queue)-ts.first > 20 || len(ts.queue) > 45 {
			t.Fatalf("after %d: %d bytes, %d entries, a queue of %d", i, ts.bytes, held, len(ts.queue))
		}
	}
}

func TestFromTail(t *testing.T) {
	l := &liveLog{head: 7}
	if tail, to := l.fromTail(3); len(tail) != 0 || to != 7 {
		t.Errorf("without a tail: %d entries, view up to %d", len(tail), to)
	}
	for id := int64(8); id <= 10; id++ {
		(&tails{bytesMax: 1 << 20}).add(l, &session.Entry{Entry: schemas.Entry{OplogID: id}}, 1)
	}
	for after, want := range map[int64]struct {
		n  int
		to int64
	}{3: {3, 7}, 6: {3, 7}, 7: {3, 0}, 8: {2, 0}, 10: {0, 0}, 99: {0, 0}} {
		if tail, to := l.fromTail(after); len(tail) != want.n || to != want.to {
			t.Errorf("after %d: %d entries, view up to %d, want %+v", after, len(tail), to, want)
		}
	}
}
