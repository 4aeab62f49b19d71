package roster

import (
	"slices"
	"sync"
	"time"

	"github.com/tidemarkio/tidemark/schemas"
)

// Lookback is how far back the presence topic is read at start: edges announce
// every session again within it.
const Lookback = 30 * time.Minute

// Target is a user or device that sessions are reachable as.
type Target struct{ InstanceID, Dimension, Name string }

// Roster knows the sessions. Make it with [New].
type Roster struct {
	mu      sync.RWMutex
	targets map[Target][]*schemas.Presence
	edges   map[string]lease
}

// lease is an edge's word that its sessions live.
type lease struct {
	epoch int64
	until time.Time
}

// New makes a roster of nobody.
func New() *Roster {
	return &Roster{targets: make(map[Target][]*schemas.Presence), edges: make(map[string]lease)}
}

// Apply takes the next record of a partition, which the roster keeps.
func (r *Roster) Apply(p *schemas.Presence, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.edges[p.EdgeID]
	if p.Epoch < known.epoch {
		return // of a process that is gone
	}
	if p.Epoch > known.epoch {
		r.forget(func(s *schemas.Presence) bool { return s.EdgeID == p.EdgeID })
		known = lease{epoch: p.Epoch, until: now}
	}
	if p.Lease() {
		known.until = now.Add(time.Duration(p.LeaseMillis) * time.Millisecond)
	}
	r.edges[p.EdgeID] = known
	if !p.Lease() {
		r.put(p)
	}
}

// put takes over what a record says of its session. With r.mu.
func (r *Roster) put(p *schemas.Presence) {
	t := Target{p.InstanceID, p.Dimension, p.Target}
	all := r.targets[t]
	i := slices.IndexFunc(all, func(s *schemas.Presence) bool { return s.EdgeID == p.EdgeID && s.Session == p.Session })
	switch {
	case i >= 0 && p.Gone:
		if all = slices.Delete(all, i, i+1); len(all) == 0 {
			delete(r.targets, t)
			return
		}
	case i >= 0:
		all[i] = p
	case !p.Gone:
		all = append(all, p)
	default:
		return
	}
	r.targets[t] = all
}

// forget drops sessions. With r.mu.
func (r *Roster) forget(which func(*schemas.Presence) bool) {
	for t, all := range r.targets {
		left := slices.DeleteFunc(all, which)
		if len(left) == 0 {
			delete(r.targets, t)
		} else {
			r.targets[t] = left
		}
	}
}

// Sweep forgets the edges whose leases ended a [Lookback] ago, with their
// sessions.
func (r *Roster) Sweep(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	gone := make(map[string]bool)
	for id, l := range r.edges {
		if now.Sub(l.until) > Lookback {
			gone[id] = true
			delete(r.edges, id)
		}
	}
	if len(gone) > 0 {
		r.forget(func(s *schemas.Presence) bool { return gone[s.EdgeID] })
	}
}

// Any reports whether a session that is online at a target matches. Records
// must not be changed.
func (r *Roster) Any(t Target, now time.Time, match func(*schemas.Presence) bool) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, p := range r.targets[t] {
		if l := r.edges[p.EdgeID]; l.epoch == p.Epoch && now.Before(l.until) && match(p) {
			return true
		}
	}
	return false
}

// Sessions lists the sessions that are online at a target, in the order in
// which they came. Records must not be changed.
func (r *Roster) Sessions(t Target, now time.Time) (all []*schemas.Presence) {
	r.Any(t, now, func(p *schemas.Presence) bool {
		all = append(all, p)
		return false
	})
	return all
}

// Targets is how many targets the roster has sessions of.
func (r *Roster) Targets() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.targets)
}
