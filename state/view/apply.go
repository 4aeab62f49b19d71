package view

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/schemas/chain"
)

// Accepted is an entry that the reader's rule accepted. It aliases the record.
type Accepted struct {
	Entry  schemas.Entry
	Record []byte
	Time   int64 // of the record, epoch ms
}

// Applied is what a batch of records came to. It is valid until the next Apply.
type Applied struct {
	Entries []Accepted    // in order; non-persistent ones too, which are kept nowhere
	Acks    []schemas.Ack // in order; they alias their records
	Repeats int           // records that were there before
	Orphans int           // records whose predecessor is missing: they will come again
	Markers int           // progress markers
}

// Apply takes the next records of the oplog partition and of the acks
// partition. What cannot be read, or breaks the chain, ends it with an error
// (see [chain.BrokenError]) that names the offset; what comes before it has
// been applied, and the position stands in front of it.
func (v *View) Apply(oplog, acks []Record) (Applied, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.begun {
		return Applied{}, fmt.Errorf("view has no position yet: call Begin")
	}
	b := v.db.Pebble().NewBatch()
	v.accepted = v.accepted[:0]
	out, stop := v.applyOplog(b, oplog)
	if stop == nil {
		out.Acks, stop = v.applyAcks(b, acks)
	}
	v.stagePosition(b)
	if err := v.db.Commit(b, false); err != nil {
		return Applied{}, err
	}
	if err := v.trimGrown(); err != nil {
		return out, err
	}
	return out, stop
}

func (v *View) applyOplog(b *pebble.Batch, records []Record) (out Applied, err error) {
	for i := range records {
		if err = v.applyRecord(b, &records[i], &out); err != nil {
			err = fmt.Errorf("oplog offset %d: %w", records[i].Offset, err)
			break
		}
		v.position.Oplog = records[i].Offset + 1
	}
	p := &v.position
	if !p.Trusting {
		p.Entry, p.Chain, p.Covered = v.reader.Position(), v.reader.Chain(), v.reader.Covered()
	}
	out.Entries = v.accepted
	return out, err
}

func (v *View) applyRecord(b *pebble.Batch, r *Record, out *Applied) error {
	v.accepted = append(v.accepted, Accepted{Record: r.Value, Time: r.Time})
	a := &v.accepted[len(v.accepted)-1]
	verdict, err := chain.Accept, a.Entry.Decode(r.Value)
	if err == nil {
		verdict, err = v.reader.Accept(r.Value, &a.Entry)
	}
	if err != nil || verdict != chain.Accept {
		v.accepted = v.accepted[:len(v.accepted)-1]
	}
	if err != nil {
		return err
	}
	switch verdict {
	case chain.Accept:
		v.position.Trusting = false
		v.put(b, a)
	case chain.Repeat:
		out.Repeats++
	case chain.Orphan:
		out.Orphans++
	case chain.Marker:
		out.Markers++
	}
	return nil
}

// put stages an accepted entry.
func (v *View) put(b *pebble.Batch, a *Accepted) {
	e := &a.Entry
	if e.Global() {
		return // it is in the global store, by way of broadcast
	}
	l := Log{e.InstanceID, e.LinkToken, e.BizType}
	if v.stage(b, &l, a) {
		v.grown[cloneLog(&l)] = struct{}{}
	}
	when := a.Time
	if when <= 0 {
		when = e.StreamTime
	}
	v.addCounts(b, &l, when, Counts{Pushes: 1})
}
