package processor

import (
	"fmt"

	"github.com/tidemarkio/tidemark/state"
)

// Appended says that the entry at position was acknowledged at that offset of
// the oplog, and with it every entry before.
func (t *Task) Appended(position, offset int64) {
	for {
		p := t.flight.nextUnlogged()
		if p == nil || p.position > position {
			return
		}
		p.logged = true
		p.oplogOffset = t.applied.OplogOffset // not behind it; see state.Position
		if p.position == position {
			p.oplogOffset = offset
		}
		t.flight.bytes -= len(p.record)
		p.key, p.record = nil, nil
	}
}

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

func (t *Task) complete(p *pending) bool {
	if t.cfg.Fault == EarlyApply && t.owner {
		return true
	}
	return p.complete()
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
	for ; n < f.n && t.complete(f.at(n)); n++ {
		t.stage(f.at(n))
	}
	if n == f.n {
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
