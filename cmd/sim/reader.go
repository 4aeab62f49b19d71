package sim

import "fmt"

// reader is an edge, a data team, anybody: it reads the oplog by the rule of
// schemas/tidemark.proto, in code of its own. It never goes back: after a
// truncation it goes on with what comes.
type reader struct {
	m        *model
	position int64
	chain    [16]byte
	ids      map[string]int64   // last id by target and business
	keys     map[string][]int64 // stream times at which a dedupe key was accepted
	offsets  map[int64]int64    // accepted position → offset in the log
	records  [][]byte           // accepted

	careless bool // the planted fault: prev_offset is not looked at
	orphans  int
	repeats  int
}

func newReader(m *model, careless bool) *reader {
	return &reader{m: m, position: -1, careless: careless, ids: map[string]int64{}, keys: map[string][]int64{}, offsets: map[int64]int64{}}
}

// take judges a record. The error says which invariant it breaks.
func (r *reader) take(record []byte, offset int64) (verdict string, err error) {
	e, err := parse(record)
	if err != nil {
		return "", violated(I1, "offset %d of the oplog cannot be read: %v", offset, err)
	}
	switch {
	case r.careless && e.id == 0:
		return "marker", nil
	case r.careless:
		return "accepted", r.accept(record, &e, offset)
	case e.prev < r.position:
		r.repeats++
		return "repeat", r.checkRepeat(record, &e)
	case e.prev > r.position:
		r.orphans++
		return "orphan", nil
	case e.id == 0:
		if e.chain != r.chain {
			return "", violated(I1, "the marker at offset %d carries chain %x, the log has %x", offset, e.chain, r.chain)
		}
		return "marker", r.checkMarker(&e)
	}
	if _, next := link(e.canonical, r.chain); next != e.chain {
		return "", violated(I1, "the chain breaks at offset %d (position %d)", offset, e.request)
	}
	return "accepted", r.accept(record, &e, offset)
}

func (r *reader) accept(record []byte, e *entry, offset int64) error {
	r.position, r.chain = e.request, e.chain
	r.offsets[e.request] = offset
	r.records = append(r.records, record)
	o := r.m.at(e.request)
	if o == nil || o.entry == nil {
		return violated(I4, "position %d has an entry (oplog id %d) and should have none", e.request, e.id)
	}
	target := fmt.Sprintf("%q %q %q", e.instance, e.biz, e.linkToken)
	if r.ids[target]++; e.id != r.ids[target] {
		return violated(I1, "%s gets oplog id %d after %d (position %d)", target, e.id, r.ids[target]-1, e.request)
	}
	key := fmt.Sprintf("%s %q", target, e.thirdMsg)
	for _, before := range r.keys[key] {
		if o.time-before <= r.m.topo.Window.Milliseconds() {
			return violated(I2, "%s is accepted twice within the window, the second time at position %d", key, e.request)
		}
	}
	r.keys[key] = append(r.keys[key], o.time)
	if string(record) != string(o.entry) {
		return violated(I4, "position %d has another entry than it should:\n  log  %x\n  want %x", e.request, record, o.entry)
	}
	return nil
}

// checkRepeat compares a repeat with what was accepted.
func (r *reader) checkRepeat(record []byte, e *entry) error {
	if e.id == 0 {
		return r.checkMarker(e)
	}
	if o := r.m.at(e.request); o == nil || string(record) != string(o.entry) {
		return violated(I4, "a second, different entry for position %d is in the log", e.request)
	}
	return nil
}

// checkMarker: what a marker covers has no entry.
func (r *reader) checkMarker(e *entry) error {
	o := r.m.at(e.request)
	if o == nil || o.last != e.prev {
		return violated(I4, "a marker says that the last entry up to position %d is at %d", e.request, e.prev)
	}
	return nil
}

// has reports whether the entry of a position was ever accepted.
func (r *reader) has(position int64) bool {
	_, ok := r.offsets[position]
	return ok
}

// at gives the outcome of a position, or nil.
func (m *model) at(position int64) *outcome {
	if position < 0 || position >= int64(len(m.outcomes)) {
		return nil
	}
	return m.outcomes[position]
}
