package runtime

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/state"
	"github.com/tidemarkio/tidemark/topology"
)

// span is what a log holds: offsets from start up to but not including end.
type span struct{ start, end int64 }

// bounds is what the broker says about a partition.
type bounds struct {
	requests  span
	oplog     span
	committed int64 // last position that the group has committed; -1: none
}

// readBounds asks the broker. The oplog's end is its high watermark, open
// transactions included: whatever a former owner has appended counts.
func readBounds(ctx context.Context, admin *kadm.Client, topo *topology.Topology, group string, partition int32) (bounds, error) {
	var b bounds
	topics := []string{topo.Requests.Name, topo.Oplog.Name}
	starts, err := admin.ListStartOffsets(ctx, topics...)
	if err != nil {
		return b, fmt.Errorf("list start offsets: %w", err)
	}
	ends, err := admin.ListEndOffsets(ctx, topics...)
	if err != nil {
		return b, fmt.Errorf("list end offsets: %w", err)
	}
	for i, s := range []*span{&b.requests, &b.oplog} {
		for _, l := range []struct {
			listed kadm.ListedOffsets
			to     *int64
		}{{starts, &s.start}, {ends, &s.end}} {
			o, ok := l.listed.Lookup(topics[i], partition)
			if !ok {
				return b, fmt.Errorf("topic %s has no partition %d", topics[i], partition)
			}
			if o.Err != nil {
				return b, fmt.Errorf("list offsets of %s partition %d: %w", topics[i], partition, o.Err)
			}
			*l.to = o.Offset
		}
	}
	committed, err := admin.FetchOffsetsForTopics(ctx, group, topo.Requests.Name)
	if err != nil {
		return b, fmt.Errorf("read offsets of group %s: %w", group, err)
	}
	b.committed = -1
	if o, ok := committed.Lookup(topo.Requests.Name, partition); ok && o.Err == nil && o.At >= 0 {
		b.committed = o.At - 1
	}
	return b, nil
}

// check compares a store with what the broker holds (design 4.8): a position
// that has vanished parks the task, and nothing is wiped.
func (b *bounds) check(partition int32, at state.Position) error {
	park := func(reason, remedy string) error {
		return &processor.ParkError{Partition: partition, Position: at.Request, Reason: reason, Remedy: remedy}
	}
	switch {
	case at.Request >= b.requests.end:
		return park(fmt.Sprintf("the store is at request %d, but the requests topic ends at %d: it was truncated or made anew", at.Request, b.requests.end),
			"restore the topic, or start with another topic prefix and data directory")
	case at.OplogOffset >= b.oplog.end:
		return park(fmt.Sprintf("the store has seen oplog offset %d, but the oplog ends at %d: it was truncated or made anew", at.OplogOffset, b.oplog.end),
			"restore the topic, or start with another topic prefix and data directory")
	case at.Request+1 < b.requests.start:
		return park(fmt.Sprintf("requests %d to %d are gone: retention has removed them before they were decided", at.Request+1, b.requests.start-1),
			"lengthen the retention of the requests topic; what is lost cannot be decided")
	case b.committed >= b.requests.end:
		return park(fmt.Sprintf("the group has committed request %d, but the requests topic ends at %d: it was truncated or made anew", b.committed, b.requests.end),
			"restore the topic, or start with another topic prefix and data directory")
	}
	return nil
}

// outdated reports that the store is behind what the topics still hold, so
// that only a restore from them can bring it up to date.
func (b *bounds) outdated(at state.Position) bool {
	return at.Request+1 < b.requests.start || at.OplogOffset+1 < b.oplog.start
}
