package processor

import (
	"fmt"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/schemas/chain"
)

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
	verdict, err := t.reader.Accept(record, e)
	if err != nil {
		return verdict, t.park(e.RequestOffset, fmt.Sprintf("its oplog is damaged at offset %d", offset),
			"do not delete anything; compare the two records, and restore the topic from a replica or backup", err)
	}
	if verdict != chain.Accept {
		return verdict, nil
	}
	p := t.flight.nextUnlogged()
	switch {
	case p == nil || p.position > e.RequestOffset:
		return verdict, t.diverged(e.RequestOffset, "the log has an entry here, and deciding again makes none", e)
	case p.position < e.RequestOffset:
		return verdict, t.diverged(p.position, "deciding again makes an entry here, and the log has none", e)
	case p.chain != e.Chain:
		return verdict, t.diverged(p.position, fmt.Sprintf("deciding again makes another entry than the log has (oplog id %d, chain %x)", p.id, p.chain), e)
	}
	p.logged, p.oplogOffset = true, offset
	return verdict, nil
}

// Committed says that an owner has sent all side outputs up to and including
// the position: a follower may let go of them and write its state that far.
func (t *Task) Committed(position int64) { t.committed = max(t.committed, position) }

// Own makes the task the partition's owner: the caller has read the oplog to
// the high watermark that it had after the partition was assigned. What was
// decided and is not in the log is appended now. Every error is a [ParkError].
func (t *Task) Own() error {
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

func (t *Task) diverged(position int64, what string, logged *schemas.Entry) error {
	if logged != nil {
		what += fmt.Sprintf("; logged: position %d, prev %d, oplog id %d, settings %d, chain %x",
			logged.RequestOffset, logged.PrevOffset, logged.OplogID, logged.SettingsRevision, logged.Chain)
	}
	return t.park(position, "deciding is not what it was: "+what,
		"compare release, topology and cluster key with those that wrote the log; run tidemark state inspect", nil)
}
