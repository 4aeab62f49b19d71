package registry

// MaxHistory is how many changed objects are remembered for watchers that
// come back. Who was away for longer starts from everything.
const MaxHistory = 10_000

// Touch says that an object changed at a revision.
type Touch struct {
	Revision int64  `json:"revision"`
	Object   Object `json:"object"`
}

// Kinds of [Object] that watchers are told of.
const (
	KindInstance  = "instance"
	KindConfig    = "config"
	KindKey       = "key"
	KindUser      = "user"
	KindMember    = "member"
	KindService   = "service" // the signature switch, the rules
	KindPlacement = "placement"
	KindRegistry  = "registry"
)

// history is the newest touches, and the revision above which it is whole.
type history struct {
	touches queue[Touch]
	whole   int64
}

func (h history) add(touched []*Touch) history {
	h.touches = h.touches.push(touched...)
	if drop := h.touches.len() - MaxHistory; drop > 0 {
		first := h.touches.first + int64(drop)
		h.whole = h.touches.at(first - 1).Revision
		h.touches = h.touches.dropTo(first)
	}
	return h
}

// Since names the objects that changed after a revision, each once, oldest
// change first; what they are now stands in the model. If that is no longer
// known (too long ago, or of another history), reset is true: take everything.
func (m *Model) Since(revision int64) (touched []Object, reset bool) {
	if revision < 1 || revision < m.history.whole || revision > m.revision {
		return nil, true
	}
	q := m.history.touches
	n := q.next
	for n > q.first && q.at(n-1).Revision > revision {
		n--
	}
	seen := make(map[Object]bool)
	for ; n < q.next; n++ {
		if o := q.at(n).Object; !seen[o] {
			seen[o] = true
			touched = append(touched, o)
		}
	}
	return touched, false
}
