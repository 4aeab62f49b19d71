package sim

import (
	"encoding/binary"
	"fmt"

	"github.com/zeebo/xxh3"

	"github.com/tidemarkio/tidemark/processor"
)

// Invariant names what a violation breaks: those of the design, and what the
// task promises besides.
type Invariant string

// The invariants that are checked.
const (
	I1      Invariant = "I1: ids without gap, in order"
	I2      Invariant = "I2: one entry for a key"
	I3      Invariant = "I3: an answer is true"
	I4      Invariant = "I4: the log is a function of the requests"
	I5      Invariant = "I5: the store is the log's shadow"
	Sides   Invariant = "side outputs come at least once"
	Resume  Invariant = "a store can go on from its oplog offset"
	Parked  Invariant = "no task parks without cause"
	Forked  Invariant = "a truncated log is healed or parks"
	Stuck   Invariant = "every request is decided in the end"
	Crashed Invariant = "no panic"
)

// breach is a violation before it has its schedule.
type breach struct {
	invariant Invariant
	what      string
}

func (b *breach) Error() string { return string(b.invariant) + ": " + b.what }

func violated(i Invariant, format string, args ...any) error {
	return &breach{i, fmt.Sprintf(format, args...)}
}

// checkSide judges a side output on its arrival.
func (p *partition) checkSide(o *processor.Output) error {
	out := p.model.at(o.Position)
	if out == nil {
		return violated(Sides, "%s of position %d, which is no request", o.Kind, o.Position)
	}
	s := out.expects(o)
	if s == nil {
		return violated(Sides, "unexpected %s of position %d for partition %d: %s", o.Kind, o.Position, o.Partition, describe(o))
	}
	s.seen++
	promises := o.Kind == processor.Broadcast || o.Kind == processor.Result && o.Answer.Code.OK()
	if promises && !p.reader.has(out.answers) {
		return violated(I3, "the %s of position %d went out (%s), and the log does not have the entry of position %d", o.Kind, o.Position, describe(o), out.answers)
	}
	return nil
}

func describe(o *processor.Output) string {
	if o.Answer == nil {
		return fmt.Sprintf("key %q", o.Key)
	}
	return fmt.Sprintf("%s id %d, request id %q", o.Answer.Code, o.Answer.OplogID, o.RequestID)
}

// expects finds the side output that o is, or nil.
func (x *outcome) expects(o *processor.Output) *side {
	for _, s := range x.sides {
		if s.kind == o.Kind && s.matches(o) {
			return s
		}
	}
	return nil
}

func (s *side) matches(o *processor.Output) bool {
	switch s.kind {
	case processor.Broadcast:
		return s.key == string(o.Key) && s.value == string(o.Value)
	case processor.Forward:
		return s.partition == o.Partition && s.key == string(o.Key) && s.value == string(o.Value)
	case processor.Result:
		return s.partition == o.Partition && s.key == string(o.RequestID) && s.code == o.Answer.Code && s.id == o.Answer.OplogID &&
			string(o.Answer.RequestID) == s.key && o.Answer.RequestOffset == o.Position
	}
	return s.partition == o.Partition && s.code == o.Answer.Code && s.value == string(o.Answer.Value) &&
		o.Answer.RequestOffset == o.Position && o.Answer.RequestPartition == s.partition
}

func (x *outcome) done() bool {
	if x == nil {
		return true
	}
	for _, s := range x.sides {
		if s.seen == 0 {
			return false
		}
	}
	return true
}

// checkStore compares a store with the log and with what went out, right after
// the store was written.
func (p *partition) checkStore(r *replica) error {
	at := r.store.Position()
	if at.Request < 0 || p.w.outside {
		return nil
	}
	o := p.model.at(at.Request)
	if o == nil {
		return violated(I5, "%s stands at position %d, which is no request", r.name, at.Request)
	}
	if at.Entry >= 0 && !p.reader.has(at.Entry) {
		return violated(I5, "%s stands at position %d with the entry of %d, which is not in the log", r.name, at.Request, at.Entry)
	}
	if at.Entry != o.last || at.Chain != o.chain {
		return violated(I5, "%s stands at position %d with last entry %d, chain %x; it should have %d, %x", r.name, at.Request, at.Entry, at.Chain, o.last, o.chain)
	}
	if at.StreamTime != o.time || at.Revision != o.revision {
		return violated(I5, "%s stands at position %d with time %d and revision %d; it should have %d and %d", r.name, at.Request, at.StreamTime, at.Revision, o.time, o.revision)
	}
	if !p.sidesUpTo(at.Request) {
		return violated(Sides, "%s stands at position %d, and side outputs up to there are missing", r.name, at.Request)
	}
	return p.checkResume(r)
}

// sidesUpTo reports whether all side outputs up to the position have arrived.
func (p *partition) sidesUpTo(position int64) bool {
	for ; int64(p.sidesDone) <= position; p.sidesDone++ {
		if !p.model.outcomes[p.sidesDone].done() {
			return false
		}
	}
	return true
}

// checkResume: no entry that the store does not have may stand at or before
// the offset from which it would be read on.
func (p *partition) checkResume(r *replica) error {
	at := r.store.Position()
	if p.truncated {
		return nil // offsets mean nothing any more; the task has to notice
	}
	if at.OplogOffset >= int64(len(p.log)) {
		return violated(Resume, "%s stands at oplog offset %d, and the log ends at %d", r.name, at.OplogOffset, len(p.log))
	}
	for next := at.Entry + 1; next < int64(len(p.model.outcomes)); next++ {
		if o := p.model.outcomes[next]; o == nil || o.entry == nil {
			continue
		}
		if offset, ok := p.reader.offsets[next]; ok && offset <= at.OplogOffset {
			return violated(Resume, "%s stands at entry %d, oplog offset %d; entry %d stands before that, at offset %d, and would never be read", r.name, at.Entry, at.OplogOffset, next, offset)
		}
		return nil
	}
	return nil
}

// checkContent compares all that a store remembers with the model as it was at
// the store's position.
func (p *partition) checkContent(r *replica) error {
	at := r.store.Position()
	o := p.model.at(at.Request)
	if o == nil || p.w.outside {
		return nil
	}
	last, original := map[string]int64{}, map[string]*outcome{}
	oldest := p.model.bucket(max(0, o.time-p.model.topo.Window.Milliseconds()))
	for i := range at.Request + 1 {
		if x := p.model.outcomes[i]; x != nil && x.entry != nil {
			last[x.counter] = x.id
			original[x.dedupe] = x
			if err := p.checkCounter(r, i, last[x.counter], at.Request); err != nil {
				return err
			}
		}
	}
	for i := range at.Request + 1 {
		x := p.model.outcomes[i]
		if x == nil || x.entry == nil || original[x.dedupe] != x || x.bucket < oldest {
			continue
		}
		e, err := parse(x.entry)
		if err != nil {
			return err
		}
		id, err := r.store.Original(xxh3.Hash128(append(append(counterKey(&e), 0), e.thirdMsg...)).Bytes(), oldest, p.model.bucket(o.time))
		if err != nil || id != x.id {
			return violated(I5, "%s at position %d remembers %s with id %d, not %d (%v)", r.name, at.Request, x.dedupe, id, x.id, err)
		}
	}
	return nil
}

// checkCounter: the store is at least where the entry at position i was, and
// exactly there if it was the last.
func (p *partition) checkCounter(r *replica, i, id, upTo int64) error {
	x := p.model.outcomes[i]
	for later := i + 1; later <= upTo; later++ {
		if y := p.model.outcomes[later]; y != nil && y.counter == x.counter {
			return nil
		}
	}
	e, err := parse(x.entry)
	if err != nil {
		return err
	}
	key := counterKey(&e)
	got, err := r.store.Last(xxh3.Hash128(key).Bytes(), key)
	if err != nil || got != id {
		return violated(I5, "%s at position %d counts %s to %d, not %d (%v)", r.name, upTo, x.counter, got, id, err)
	}
	return nil
}

// counterKey is the key of an entry's counter: each part with its field number
// and length.
func counterKey(e *entry) []byte {
	var b []byte
	for num, s := range []string{e.instance, e.biz, e.linkToken} {
		if s != "" {
			b = append(b, byte(num+1)<<3|2)
			b = binary.AppendUvarint(b, uint64(len(s)))
			b = append(b, s...)
		}
	}
	return b
}

// checkEnd is asked when everything has come to rest.
func (p *partition) checkEnd() error {
	var want [][]byte
	for i, o := range p.model.outcomes {
		if o != nil && o.entry != nil {
			want = append(want, o.entry)
		}
		if !o.done() {
			return violated(Sides, "side outputs of p%d position %d never came", p.id, i)
		}
	}
	if err := same("the accepted log", p.reader.records, want); err != nil {
		return err
	}
	straight, err := p.straight()
	if err != nil {
		return violated(I4, "a straight run without faults: %v", err)
	}
	return same("a straight run without faults", straight, want)
}

func same(what string, got, want [][]byte) error {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return violated(I4, "%s ends after %d entries, %d are due", what, len(got), len(want))
		case i >= len(want):
			return violated(I4, "%s has %d entries, %d are due", what, len(got), len(want))
		case string(got[i]) != string(want[i]):
			return violated(I4, "entry %d of %s is %x, want %x", i, what, got[i], want[i])
		}
	}
	return nil
}

// straight decides all requests in one go, on an empty store.
func (p *partition) straight() ([][]byte, error) {
	store := processor.NewMemory()
	t := processor.New(processor.Config{Partition: p.id, Topology: p.w.topo, ClusterKey: clusterKey, InFlightMax: 1 << 30}, store)
	if err := t.Own(); err != nil {
		return nil, err
	}
	var all [][]byte
	for _, q := range p.requests {
		if q == nil {
			continue
		}
		if err := t.Input(&q.rec); err != nil {
			return nil, err
		}
	}
	for out := t.Take(); len(out) > 0; out = t.Take() {
		for _, o := range out {
			switch {
			case o.Kind == processor.Append:
				all = append(all, o.Value)
				if err := t.Appended(o.Position, int64(len(all)-1)); err != nil {
					return nil, err
				}
			case o.Kind.Side():
				t.Sent(o.Position)
			}
		}
	}
	if _, err := t.Apply(); err != nil {
		return nil, err
	}
	return all, p.checkContent(&replica{name: "the straight run's store", store: store})
}
