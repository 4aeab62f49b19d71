package node

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/connectors/console"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/schemas/chain"
	"github.com/tidemarkio/tidemark/state/view"
)

// oplogOf makes the records of n entries, and the state after each.
func oplogOf(n int) (records [][]byte, after []view.Position) {
	var prev chain.Value
	at := chain.None
	for i := range n {
		e := schemas.Entry{InstanceID: "i", BizType: fmt.Sprint("B", i%2), LinkToken: "t", ThirdMsgID: fmt.Sprint(i), OplogID: int64(i + 1), RequestOffset: int64(10 * i), PrevOffset: at}
		canonical := e.AppendCanonical(nil)
		prev = chain.Next(prev, append(make([]byte, schemas.ChainLen), canonical...))
		at = e.RequestOffset
		records = append(records, schemas.AppendChain(canonical, prev))
		after = append(after, view.Position{Entry: at, Chain: prev, Covered: at})
	}
	return records, after
}

// TestTailReader: of a log with repeats and orphans in it, a tail shows each
// entry once and in order, beginning some entries before where it was opened.
func TestTailReader(t *testing.T) {
	entries, after := oplogOf(8)
	// Offsets 0 to 11: entries 1 and 2 come twice, and 7 before its time.
	log := [][]byte{entries[0], entries[1], entries[0], entries[2], entries[1], entries[3], entries[4], entries[4], entries[6], entries[5], entries[6], entries[7]}
	for name, tt := range map[string]struct {
		open int64 // offset of the record that the state stands at
		q    console.TailQuery
		want string
	}{
		"from the start":   {-1, console.TailQuery{}, "1 2 3 4 5 6 7 8"},
		"from the middle":  {3, console.TailQuery{}, "4 5 6 7 8"},
		"with a few":       {5, console.TailQuery{Last: 2}, "3 4 5 6 7 8"},
		"with all":         {5, console.TailQuery{Last: 100}, "1 2 3 4 5 6 7 8"},
		"of one business":  {5, console.TailQuery{Last: 2, BizType: "B0"}, "1 3 5 7"},
		"of another":       {5, console.TailQuery{InstanceID: "other"}, ""},
		"of another token": {5, console.TailQuery{LinkToken: "u"}, ""},
	} {
		at := view.Position{Entry: chain.None, Covered: chain.None}
		if tt.open >= 0 {
			var e schemas.Entry
			if err := e.Decode(log[tt.open]); err != nil {
				t.Fatal(err)
			}
			at = after[e.OplogID-1]
			at.Oplog = tt.open + 1
		}
		r := newTailReader(at, tt.q)
		got := ""
		for i, value := range log {
			found, err := r.read(&kgo.Record{Offset: int64(i), Value: value})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for _, e := range found {
				if got != "" {
					got += " "
				}
				got += fmt.Sprint(e.OplogID)
			}
		}
		if got != tt.want {
			t.Errorf("%s: shown %q, want %q", name, got, tt.want)
		}
	}
	other := schemas.Entry{InstanceID: "i", BizType: "B0", LinkToken: "t", ThirdMsgID: "x", OplogID: 1, RequestOffset: 5, PrevOffset: chain.None}
	r := newTailReader(view.Position{Entry: chain.None, Covered: chain.None}, console.TailQuery{})
	if _, err := r.read(&kgo.Record{Value: schemas.AppendChain(other.AppendCanonical(nil), chain.Value{1})}); err == nil {
		t.Error("a log that contradicts itself was shown")
	}
}
