package edge

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/tidemarkio/tidemark/connectors/edge/session"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/state/view"
)

// liveLog is a log that somebody follows: who, and its newest entries.
type liveLog struct {
	log  view.Log
	subs []sub
	// head is the largest id that the view is known to hold.
	head int64
	// tail is every entry from tail[0] to head, non-persistent ones too. Readers
	// have copies of the slice: its elements are never written again.
	tail []*session.Entry
}

// sub is a session that follows a log in one of its slots.
type sub struct {
	c    *client
	slot uint8
}

// tails bounds what all live logs of a partition keep in memory: oldest first.
type tails struct {
	queue    []tailItem
	first    int // of the queue
	bytes    int
	bytesMax int
}

type tailItem struct {
	l    *liveLog
	e    *session.Entry
	size int
}

// entryBytes is what an entry in memory costs beside its record: the struct,
// and the wire forms that are made of it.
const entryBytes = 512

// add puts an entry, made of a copy of its record, at the end of its log.
func (t *tails) add(l *liveLog, e *session.Entry, recordBytes int) {
	l.tail = append(l.tail, e)
	l.head = e.OplogID
	size := 2*recordBytes + entryBytes
	t.queue = append(t.queue, tailItem{l, e, size})
	t.bytes += size
	for t.bytes > t.bytesMax && t.first < len(t.queue) {
		t.drop()
	}
	if t.first > len(t.queue)/2 {
		t.queue = slices.Delete(t.queue, 0, t.first)
		t.first = 0
	}
}

// drop forgets the oldest entry.
func (t *tails) drop() {
	item := &t.queue[t.first]
	// The log may have lost its followers, and its tail, in the meantime.
	if l := item.l; len(l.tail) > 0 && l.tail[0] == item.e {
		if l.tail = l.tail[1:]; len(l.tail) == 0 {
			l.tail = nil // or the array would hold on to what is dropped
		}
	}
	t.bytes -= item.size
	*item = tailItem{}
	t.first++
}

// newEntry makes an entry that outlives the record that from was read from.
// The names are those of its log, which live longer anyway.
func newEntry(from *schemas.Entry, l *view.Log) *session.Entry {
	e := &session.Entry{Entry: *from}
	e.InstanceID, e.BizType, e.LinkToken = l.InstanceID, l.BizType, l.Target
	e.ThirdMsgID, e.Payload, e.Binary = strings.Clone(from.ThirdMsgID), strings.Clone(from.Payload), bytes.Clone(from.Binary)
	e.OSType = strings.Clone(from.OSType)
	e.AppMinVersion, e.AppMaxVersion = strings.Clone(from.AppMinVersion), strings.Clone(from.AppMaxVersion)
	e.Scope = "" // told by the log
	if l.Target == "" {
		e.Scope = schemas.ScopeGlobal
	}
	return e
}

// fromTail gives the entries after an id, if the tail has all of them, and
// else up to where the view has to be read first.
func (l *liveLog) fromTail(after int64) (tail []*session.Entry, readTo int64) {
	if len(l.tail) == 0 {
		return nil, l.head
	}
	tail = l.tail
	first := tail[0].OplogID
	if after+1 < first {
		return tail, first - 1
	}
	at, _ := slices.BinarySearchFunc(tail, after+1, func(e *session.Entry, id int64) int { return cmp.Compare(e.OplogID, id) })
	return tail[at:], 0
}

// logOf names the log that a session's source reads.
func logOf(s *session.Source) view.Log {
	return view.Log{InstanceID: s.InstanceID, Target: s.LinkToken(), BizType: s.BizType}
}
