package session

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/tidemarkio/tidemark/schemas"
)

// ready reports whether a Deliver would find something.
func (s *Session) ready() bool {
	if s.background || s.full() {
		return false
	}
	for i := range s.biz {
		if s.biz[i].pending && !s.held(&s.biz[i]) {
			return true
		}
	}
	return false
}

// held reports that a business pauses, its point where it is: it was taken
// offline (spec D20), or wants a session that the tenant called valid
// (S003-85). Devices are never asked (S003-93).
func (s *Session) held(b *business) bool {
	return b.cfg == nil || !b.cfg.Online ||
		wantsVerdict(b.cfg) && !s.verified
}

func wantsVerdict(cfg *schemas.SyncConfig) bool {
	return cfg.Consistency && cfg.Target != schemas.TargetDevice
}

// full reports that the client must acknowledge before it gets more.
func (s *Session) full() bool {
	return s.unacked.Entries >= s.window.Entries || s.unacked.Bytes >= s.window.Bytes
}

// room is what is left of a Deliver.
type room struct {
	entries, bytes int
	used           bool // something was taken: bytes bind from now on
}

func (r *room) fits(size int) bool { return r.entries > 0 && (!r.used || size <= r.bytes) }

func (r *room) take(size int) {
	r.entries--
	r.bytes -= size
	r.used = true
}

// deliver goes once round the businesses, beginning behind the one at which the
// last Deliver ran out of room, so that a long backlog holds nobody up.
func (s *Session) deliver(now int64, in Deliver, out *Output) {
	for rest := in.Changed; rest != 0; rest &= rest - 1 {
		if i := bits.TrailingZeros64(rest); i < len(s.biz) {
			s.biz[i].pending = true
		}
	}
	if s.background {
		return
	}
	if in.Scratch == nil {
		in.Scratch = new(Scratch)
	}
	in.Scratch.spans, in.Scratch.entries = in.Scratch.spans[:0], in.Scratch.entries[:0]
	left := room{entries: in.Entries, bytes: in.Bytes}
	if left.entries == 0 {
		left.entries = DeliverEntries
	}
	if left.bytes == 0 {
		left.bytes = DeliverBytes
	}
	s.blocked = false
	first := s.turn
	for n := range s.biz {
		i := (first + n) % len(s.biz)
		b := &s.biz[i]
		if !b.pending || s.held(b) {
			continue
		}
		s.turn = (i + 1) % len(s.biz)
		if !s.read(now, b, &left, in.Scratch, out) {
			break
		}
	}
	out.Spans = in.Scratch.spans
	out.More = out.Err == nil && !s.blocked && s.ready()
}

// read takes what there is of one business. It reports whether the next
// business may have its turn.
func (s *Session) read(now int64, b *business, left *room, scratch *Scratch, out *Output) bool {
	src, _ := s.source(b.cfg)
	first := len(scratch.entries)
	var run segment
	skipped, whole := 0, true
	out.Err = s.reader.Read(&src, b.scan, func(e *Entry) bool {
		if e.OplogID > b.stop && !b.before(e) {
			return false
		}
		size := Size(&e.Entry)
		switch {
		case !s.wants(now, b, e):
			skipped++
			whole = skipped < skipMax
		case s.full() || s.unacked.Entries > 0 && s.unacked.Bytes+size > s.window.Bytes:
			s.blocked, whole = true, false
			return false
		case !left.fits(size):
			whole = false
			return false
		default:
			left.take(size)
			s.unacked.add(size)
			run.add(e.OplogID, size)
			scratch.entries = append(scratch.entries, e)
		}
		b.scan = e.OplogID
		b.head = max(b.head, e.OplogID)
		return whole
	})
	b.pending = !whole
	if run.entries > 0 {
		b.window = push(b.window, run)
		scratch.spans = append(scratch.spans, Span{
			BizType: b.name, From: b.sent, To: run.to, Rewind: b.rewind, Entries: slices.Clip(scratch.entries[first:]),
		})
		b.sent, b.resumed = run.to, true
	}
	return out.Err == nil && whole
}

// before reports that a global entry was written before the client came, though
// it was seen later. Who connects when the call has returned gets the entry.
func (b *business) before(e *Entry) bool { return e.Written != 0 && e.Written < b.since }

// wants decides whether an entry is for this client now.
func (s *Session) wants(now int64, b *business, e *Entry) bool {
	switch {
	case e.NonPersistent && e.Arrival <= b.arrival: // it came while the client was away
		return false
	case e.ValidTimeEnd != 0 && now > e.ValidTimeEnd:
		return false
	case !e.Filter().Admits(s.id.OS, s.id.AppVersion):
		return false
	}
	return len(s.peers) == 0 || !singleDevice(b.cfg) || !s.taken(b, e)
}

// taken reports that a device of the user that came online later takes the
// entry (spec D25).
func (s *Session) taken(b *business, e *Entry) bool {
	for _, p := range s.peers {
		if slices.Contains(p.Biz, b.name) && (!b.cfg.Consistency || p.Verified) && e.Filter().Admits(p.OS, p.AppVersion) {
			return true
		}
	}
	return false
}

// Size is what an entry counts in a window.
func Size(e *schemas.Entry) int {
	return len(e.Payload) + (len(e.Binary)+2)/3*4 + len(e.ThirdMsgID) + entryOverhead
}

// ack takes a client's word that it holds everything up to an id.
func (s *Session) ack(in Ack, out *Output) {
	i := s.find(in.BizType)
	if i < 0 || in.BizType == "" || s.biz[i].cfg == nil {
		out.Refused = fmt.Sprintf("business %.40q is not one that this session follows", in.BizType)
		return
	}
	b := &s.biz[i]
	if in.Rewind != 0 && in.Rewind < b.rewind || in.To > b.sent && in.To <= b.head && b.rewind > max(in.Rewind, 0) {
		return // said of what it got before the point was moved back
	}
	if in.To > b.sent {
		out.Refused = fmt.Sprintf("id %d of business %q was never sent on this session (it got up to %d)", in.To, b.name, b.sent)
		return
	}
	if in.To <= b.acked {
		return // said before
	}
	var freed Window
	b.window, freed = pop(b.window, in.To)
	s.unacked.Entries -= freed.Entries
	s.unacked.Bytes -= freed.Bytes
	b.acked = in.To
	if freed.Entries > 0 {
		s.blocked = false
	}
	src, _ := s.source(b.cfg)
	out.Points = append(out.Points, Point{Source: src, To: in.To, Rewind: b.rewind, Entries: int64(freed.Entries)})
}
