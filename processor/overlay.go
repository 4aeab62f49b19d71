package processor

import "github.com/tidemarkio/tidemark/state"

// overlay is the state of decided positions that the store does not have yet.
type overlay struct {
	originals map[state.Hash]original
	lasts     map[state.Hash]int64
}

type original struct {
	id     int64
	bucket int64
}

func newOverlay() overlay {
	return overlay{originals: make(map[state.Hash]original), lasts: make(map[state.Hash]int64)}
}

func (o *overlay) original(key state.Hash, oldest int64) int64 {
	if v, ok := o.originals[key]; ok && v.bucket >= oldest {
		return v.id
	}
	return 0
}

func (o *overlay) last(counter state.Hash) int64 { return o.lasts[counter] }

func (o *overlay) put(p *pending) {
	o.originals[p.dedupe] = original{p.id, p.bucket}
	o.lasts[p.counter] = p.id
}

// drop forgets what the store now has; a later decision for the same key stays.
func (o *overlay) drop(p *pending) {
	if o.originals[p.dedupe].id == p.id {
		delete(o.originals, p.dedupe)
	}
	if o.lasts[p.counter] == p.id {
		delete(o.lasts, p.counter)
	}
}
