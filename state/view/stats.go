package view

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// StatsWindow is what statistics look back over: rolling, to the hour.
const StatsWindow = 30 * 24 * time.Hour

const hourMillis = int64(time.Hour / time.Millisecond)

// Counts are numbers of entries.
type Counts struct {
	Pushes   int64 // accepted for the target
	Arrivals int64 // confirmed by a device of the target, each entry once
}

func (c *Counts) append(b []byte) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, uint64(c.Pushes)), uint64(c.Arrivals))
}

// add adds an encoded count.
func (c *Counts) add(b []byte) error {
	pushes, n := binary.Uvarint(b)
	arrivals, m := uint64(0), 0
	if n > 0 {
		arrivals, m = binary.Uvarint(b[n:])
	}
	if n <= 0 || m <= 0 || n+m != len(b) {
		return fmt.Errorf("value %x is no count", b)
	}
	c.Pushes += int64(pushes)
	c.Arrivals += int64(arrivals)
	return nil
}

// countsMerger adds counts up inside the store, so that counting reads nothing.
// Its name is part of the format.
var countsMerger = &pebble.Merger{
	Name: "tidemark.counts.v1",
	Merge: func(_, value []byte) (pebble.ValueMerger, error) {
		sum := new(mergedCounts)
		return sum, sum.add(value)
	},
}

type mergedCounts struct{ Counts }

func (m *mergedCounts) MergeNewer(value []byte) error { return m.add(value) }
func (m *mergedCounts) MergeOlder(value []byte) error { return m.add(value) }
func (m *mergedCounts) Finish(bool) ([]byte, io.Closer, error) {
	return m.append(nil), nil, nil
}

// addCounts stages counts at a time (epoch ms).
func (s *logs) addCounts(b *pebble.Batch, l *Log, when int64, c Counts) {
	if c == (Counts{}) {
		return
	}
	s.key = l.statsKey(s.key[:0], max(when, 0)/hourMillis)
	var room [20]byte
	_ = b.Merge(s.key, c.append(room[:0]), nil)
}

// firstHour is the first hour that statistics at a time (epoch ms) count.
func firstHour(now int64) int64 {
	return now/hourMillis - int64(StatsWindow/time.Hour) + 1
}

// Stats sums up the last 30 days before now (epoch ms) for a target, by
// business. A target has up to 720 counters a business, so this takes
// milliseconds however much else the view holds.
func (s *logs) Stats(instanceID, target string, now int64) (map[string]Counts, error) {
	prefix := targetKey(nil, kindStats, instanceID, target)
	it, err := s.over(prefix)
	if err != nil {
		return nil, err
	}
	all := make(map[string]Counts)
	from := firstHour(now)
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		var biz string
		var rest []byte
		biz, rest, err = cut(it.Key()[len(prefix):])
		if err != nil || len(rest) != 4 {
			continue
		}
		if int64(binary.BigEndian.Uint32(rest)) < from {
			continue
		}
		c := all[biz]
		err = c.add(it.Value())
		all[biz] = c
	}
	return all, s.done(it, err)
}
