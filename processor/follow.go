package processor

import (
	"fmt"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/schemas/chain"
	"github.com/tidemarkio/tidemark/state"
)

// stand is where the store stood when the task was made, and whether the log
// was found to agree.
type stand struct {
	at       state.Position
	checking bool // its record was read, and the entries behind lead to at.Entry
}

// ReadFrom is the offset of the oplog from which [Task.Tail] wants to read:
// that of the record on which the store stands, which shows whether the log is
// still the one that the store knows. If the log begins later, because
// retention has taken that record, read from its beginning.
func (t *Task) ReadFrom() int64 { return max(0, t.stand.at.OplogOffset) }

// Tail takes the next record of the task's own oplog while the task follows:
// e is record decoded, offset where it stands. Requests up to e.RequestOffset
// must have been decided before. Every error is a [ParkError].
//
// Each entry that the log accepts must be the next one that this task decided,
// with the same chain: that is how a restart proves that it decides as before.
func (t *Task) Tail(record []byte, e *schemas.Entry, offset int64) (chain.Verdict, error) {
	if t.owner {
		panic("processor: Tail after Own")
	}
	t.next = max(t.next, offset+1)
	if offset == t.stand.at.OplogOffset {
		return chain.Repeat, t.checkStand(e)
	}
	verdict, err := t.reader.Accept(record, e)
	if err != nil {
		return verdict, t.park(e.RequestOffset, fmt.Sprintf("its oplog is damaged at offset %d", offset),
			"do not delete anything; compare the two records, and restore the topic from a replica or backup", err)
	}
	if verdict != chain.Accept {
		return verdict, nil
	}
	if t.stand.checking {
		return chain.Repeat, t.checkPath(e)
	}
	return verdict, t.match(e, offset)
}

// match compares an accepted entry with the next one that was decided.
func (t *Task) match(e *schemas.Entry, offset int64) error {
	p := t.flight.nextUnlogged()
	switch {
	case p == nil || p.position > e.RequestOffset:
		return t.diverged(e.RequestOffset, "the log has an entry here, and deciding again makes none", e)
	case p.position < e.RequestOffset:
		return t.diverged(p.position, "deciding again makes an entry here, and the log has none", e)
	case p.chain != e.Chain:
		return t.diverged(p.position, fmt.Sprintf("deciding again makes another entry than the log has (oplog id %d, chain %x)", p.id, p.chain), e)
	}
	p.logged, p.oplogOffset = true, offset
	return nil
}

// checkStand looks at the record on which the store stands: it is the store's
// last entry, or one before it, from which the log then leads there.
func (t *Task) checkStand(e *schemas.Entry) error {
	at := &t.stand.at
	if e.Marker() || e.RequestOffset > at.Entry || e.RequestOffset == at.Entry && e.Chain != at.Chain {
		return t.truncated(at.Request, fmt.Sprintf("at oplog offset %d, where its store stands, is another record (position %d, oplog id %d)", at.OplogOffset, e.RequestOffset, e.OplogID))
	}
	if e.RequestOffset < at.Entry {
		t.stand.checking = true
		t.reader = chain.Resume(e.RequestOffset, e.Chain, e.RequestOffset)
	}
	return nil
}

// checkPath follows the log from there to the store's last entry.
func (t *Task) checkPath(e *schemas.Entry) error {
	at := &t.stand.at
	if e.RequestOffset < at.Entry {
		return nil
	}
	t.stand.checking = false
	if e.RequestOffset > at.Entry || e.Chain != at.Chain {
		return t.truncated(at.Request, fmt.Sprintf("the log does not lead to the entry of position %d, which its store has", at.Entry))
	}
	return nil
}

// Committed says that an owner has sent all side outputs up to and including
// the position: a follower may let go of them and write its state that far.
func (t *Task) Committed(position int64) { t.committed = max(t.committed, position) }

// Own makes the task the partition's owner: the caller has read the oplog to
// the high watermark that it had after the partition was assigned. What was
// decided and is not in the log is appended now. Every error is a [ParkError].
func (t *Task) Own() error {
	if t.stand.checking {
		return t.truncated(t.stand.at.Request, fmt.Sprintf("the log ends before the entry of position %d, which its store has", t.stand.at.Entry))
	}
	t.alone = true
	t.covered = t.reader.Covered()
	t.stated = t.covered
	t.owner = true
	for i := range t.flight.n {
		p := t.flight.at(i)
		if !p.entry || p.logged {
			continue
		}
		if p.position <= t.covered {
			return t.diverged(p.position, "the log says that this position makes no entry, and it makes one now", nil)
		}
		t.append(p)
	}
	return nil
}

// Replaying reports that the task has not yet decided all that an earlier
// owner covered.
func (t *Task) Replaying() bool { return t.decided < max(t.covered, t.reader.Covered()) }

// truncated parks: the log has lost records that were acknowledged.
func (t *Task) truncated(position int64, what string) error {
	return t.park(position, "its oplog was truncated or made anew: "+what,
		"restore the topic, or start with another topic prefix and data directory", nil)
}

func (t *Task) diverged(position int64, what string, logged *schemas.Entry) error {
	if logged != nil {
		what += fmt.Sprintf("; logged: position %d, prev %d, oplog id %d, settings %d, chain %x",
			logged.RequestOffset, logged.PrevOffset, logged.OplogID, logged.SettingsRevision, logged.Chain)
	}
	return t.park(position, "deciding is not what it was: "+what,
		"compare release, topology and cluster key with those that wrote the log; run tidemark state inspect", nil)
}
