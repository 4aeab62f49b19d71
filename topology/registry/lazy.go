package registry

import (
	"slices"
	"sync/atomic"

	"github.com/tidemarkio/tidemark/schemas"
)

// lazyMax is how many commands' changes of settings are put off at most.
const lazyMax = 64

// lazySettings are settings that are made when somebody looks: a replay of
// thousands of commands would make as many that nobody sees. Who looks first
// makes them; two at once make the same.
type lazySettings struct {
	made     atomic.Pointer[Settings]
	prev     atomic.Pointer[lazySettings] // nil once made
	changes  []schemas.Change             // since prev
	revision int64
	waiting  int // how many before this one are not made
}

func madeSettings(s *Settings) *lazySettings {
	l := &lazySettings{}
	l.made.Store(s)
	return l
}

// with gives settings after changes.
func (l *lazySettings) with(revision int64, changes []schemas.Change) *lazySettings {
	if l == nil {
		l = madeSettings(&Settings{})
	}
	next := &lazySettings{changes: changes, revision: revision, waiting: l.waiting + 1}
	if l.made.Load() != nil {
		next.waiting = 1
	}
	next.prev.Store(l)
	if next.waiting >= lazyMax {
		next.get()
	}
	return next
}

func (l *lazySettings) get() *Settings {
	if l == nil {
		return &Settings{}
	}
	var late [][]schemas.Change
	p := l
	for p.made.Load() == nil {
		prev := p.prev.Load()
		if prev == nil {
			continue // made just now, by somebody else
		}
		late = append(late, p.changes)
		p = prev
	}
	s := p.made.Load()
	if p != l {
		slices.Reverse(late)
		s = s.With(l.revision, slices.Concat(late...))
		l.made.Store(s)
		l.prev.Store(nil)
	}
	return s
}
