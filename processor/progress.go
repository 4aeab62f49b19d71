package processor

import (
	"fmt"

	"github.com/tidemarkio/tidemark/state"
)

// Appended says that the entry at position was acknowledged at that offset of
// the oplog, and with it every entry before. Every error is a [ParkError].
//
// The offset is where a reader may go on behind the entry only if nobody else
// has written since the task became the owner: behind another owner's records
// this one may be a repeat, with entries in front of it that the store does
// not have. From the first foreign record on the store's offset stands still;
// see [Task.Alone].
func (t *Task) Appended(position, offset int64) error {
	first, records := -1, int64(0)
	for p := t.flight.nextUnlogged(); p != nil && p.position <= position; p = t.flight.nextUnlogged() {
		if first < 0 {
			first = t.flight.unlogged
		}
		records += p.markers + 1
		p.logged = true
		t.flight.bytes -= len(p.record)
		p.key, p.record = nil, nil
	}
	if first < 0 {
		return nil
	}
	earliest := t.next + records - 1
	if offset < earliest {
		return t.truncated(position, fmt.Sprintf("an append was acknowledged at oplog offset %d, which should be %d or more", offset, earliest))
	}
	t.alone = t.alone && offset == earliest
	if t.alone {
		t.place(first, position)
	}
	t.next = offset + 1
	return nil
}

// place notes where the entries stand that were acknowledged together, from
// the first one up to the position: one behind the other, from t.next on.
func (t *Task) place(first int, position int64) {
	at := t.next - 1
	for i := first; i < t.flight.n; i++ {
		p := t.flight.at(i)
		if p.position > position {
			return
		}
		if p.entry {
			at += p.markers + 1
			p.oplogOffset = at
		}
	}
}

// Alone reports that since [Task.Own] nobody else has appended to the log. If
// somebody has (a zombie, or a record of a former life that came late), the
// store's oplog offset stands still until the task is started again, so that a
// restart has more to read. An owner that is no longer alone may start its
// task again when it is quiet.
func (t *Task) Alone() bool { return !t.owner || t.alone }

// Sent says that one side output of the position was acknowledged.
func (t *Task) Sent(position int64) {
	p := t.flight.find(position)
	if p == nil || p.sides == 0 {
		panic(fmt.Sprintf("processor: side output of position %d acknowledged, but none is outstanding", position))
	}
	p.sides--
}

// release hands out the side outputs of positions whose entries, and all
// entries before, are logged. A follower lets go of those that an owner has
// sent, and keeps the others for the day it is the owner.
func (t *Task) release() {
	f := &t.flight
	stop := f.n
	if f.nextUnlogged() != nil {
		stop = f.unlogged
	}
	for ; f.held < stop; f.held++ {
		p := f.at(f.held)
		if p.position <= t.committed {
			p.held = nil
		} else if !t.owner {
			return
		}
		t.releaseOne(p)
	}
}

func (t *Task) releaseOne(p *pending) {
	p.released = true
	p.sides += len(p.held)
	t.out = append(t.out, p.held...)
	p.held = nil
}

// Apply writes all that is complete to the store, as one batch with the
// position that it leads to, and forgets it. It reports whether there was
// anything. An error leaves the task unusable: start a new one.
func (t *Task) Apply() (bool, error) {
	t.release()
	f := &t.flight
	b := &t.batch
	b.Reset()
	b.Position = t.applied
	n := 0
	for ; n < f.n && f.at(n).complete(); n++ {
		t.stage(f.at(n))
	}
	staged := n
	for ; staged < f.n && t.cfg.Fault == EarlyApply; staged++ {
		t.stage(f.at(staged))
	}
	if staged == f.n {
		b.Position.Request = t.decided
	}
	if b.Position == t.applied {
		return false, nil
	}
	if oldest := t.window.Oldest(b.Position.StreamTime); oldest > t.window.Oldest(t.applied.StreamTime) {
		b.ExpireBefore = oldest
	}
	if err := t.store.Apply(b); err != nil {
		return false, t.park(b.Position.Request, "its store cannot be written", "free or replace the disk, then restart", err)
	}
	t.applied = b.Position
	for range n {
		if p := f.at(0); p.entry {
			t.overlay.drop(p)
		}
		f.pop()
	}
	return true, nil
}

// stage adds one complete position to the batch.
func (t *Task) stage(p *pending) {
	b := &t.batch
	at := &b.Position
	at.Request = p.position
	if p.entry {
		at.Entry, at.Chain = p.position, p.chain
		at.OplogOffset = max(at.OplogOffset, p.oplogOffset)
		b.Dedupe = append(b.Dedupe, state.DedupePut{Bucket: p.bucket, Key: p.dedupe, ID: p.id})
		b.Counters = append(b.Counters, state.CounterPut{Hash: p.counter, Key: p.counterText, ID: p.id, Position: p.position})
	}
	if c := p.control; c != nil {
		at.StreamTime, at.Revision, at.Rules = c.streamTime, c.revision, c.rules
		b.Changes = append(b.Changes, c.changes...)
	}
}
