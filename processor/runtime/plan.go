package runtime

import (
	"cmp"
	"maps"
	"slices"
)

// member is one process of the group, as placement sees it.
type member struct {
	id       string
	owned    []int32         // partitions that it runs now
	warm     map[int32]int64 // partitions whose state it holds: positions behind the owner
	draining bool            // it wants to leave
}

// placement says who runs what.
type placement struct {
	owners  map[string][]int32
	standby map[string][]int32
	warmUp  map[string][]int32 // subset of standby: to be moved there when warm
}

// place decides who runs each of n partitions. Rules, in this order:
//
//  1. A partition that runs stays where it is, unless its owner drains.
//  2. A partition without an owner goes at once to the member with the warmest
//     state, those with room before those without; else to the emptiest.
//  3. Load is evened out, and draining members are relieved, only by moves to
//     members that are warm: nobody waits for a restore because of balance. A
//     member that should get a partition and is cold stands by for it first.
//  4. Each partition gets its standbys, where state is warm already.
//
// It is pure, and the same on every member.
func place(members []member, n int32, standbys int, acceptable int64) placement {
	p := newPlanner(members, n, acceptable)
	p.keep()
	p.adopt()
	p.relieve()
	p.even()
	p.standBy(standbys)
	return p.result()
}

type planner struct {
	members    []member // sorted by id
	active     []int    // indexes of those that do not drain; all, if all do
	n          int32
	acceptable int64
	owner      []int // partition → member index, -1: nobody
	load       []int
	standby    [][]int32
	warmUp     [][]int32
	room       int // load that no active member need exceed
}

func newPlanner(members []member, n int32, acceptable int64) *planner {
	members = slices.Clone(members)
	slices.SortFunc(members, func(a, b member) int { return cmp.Compare(a.id, b.id) })
	p := &planner{
		members: members, n: n, acceptable: acceptable,
		owner: make([]int, n), load: make([]int, len(members)),
		standby: make([][]int32, len(members)), warmUp: make([][]int32, len(members)),
	}
	for i, m := range members {
		if !m.draining {
			p.active = append(p.active, i)
		}
	}
	if len(p.active) == 0 {
		for i := range members {
			p.active = append(p.active, i)
		}
	}
	p.room = (int(n) + len(p.active) - 1) / max(1, len(p.active))
	return p
}

func (p *planner) keep() {
	for i := range p.owner {
		p.owner[i] = -1
	}
	for i, m := range p.members {
		for _, part := range m.owned {
			if part < p.n && p.owner[part] < 0 {
				p.owner[part] = i
				p.load[i]++
			}
		}
	}
}

func (p *planner) adopt() {
	for part := range p.n {
		if p.owner[part] >= 0 {
			continue
		}
		best := slices.MinFunc(p.active, func(a, b int) int { return p.compareAdopters(part, a, b) })
		p.owner[part] = best
		p.load[best]++
	}
}

func (p *planner) compareAdopters(part int32, a, b int) int {
	rank := func(i int) int {
		full, warm := p.load[i] >= p.room, p.isWarm(i, part)
		switch {
		case warm && !full:
			return 0
		case warm:
			return 1
		case !full:
			return 2
		}
		return 3
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(p.load[a], p.load[b]), cmp.Compare(p.lag(a, part), p.lag(b, part)), cmp.Compare(a, b))
}

func (p *planner) lag(i int, part int32) int64 {
	if lag, ok := p.members[i].warm[part]; ok {
		return lag
	}
	return 1 << 62
}

func (p *planner) isWarm(i int, part int32) bool { return p.lag(i, part) <= p.acceptable }

// relieve moves partitions off draining members as standbys become warm.
func (p *planner) relieve() {
	for part := range p.n {
		from := p.owner[part]
		if !p.members[from].draining || slices.Contains(p.active, from) {
			continue
		}
		to := slices.MinFunc(p.active, func(a, b int) int { return p.compareAdopters(part, a, b) })
		p.moveOrWarm(part, to)
	}
}

// even moves partitions from the fullest to the emptiest member until they
// differ by one at most, counting moves that wait for warmth as done.
func (p *planner) even() {
	planned := slices.Clone(p.load)
	pending := slices.Clone(p.owner) // where each partition will be
	for {
		full := slices.MaxFunc(p.active, func(a, b int) int { return cmp.Or(cmp.Compare(planned[a], planned[b]), cmp.Compare(b, a)) })
		empty := slices.MinFunc(p.active, func(a, b int) int { return cmp.Or(cmp.Compare(planned[a], planned[b]), cmp.Compare(a, b)) })
		if planned[full]-planned[empty] <= 1 {
			return
		}
		part := p.cheapest(pending, full, empty)
		pending[part] = empty
		planned[full]--
		planned[empty]++
		p.moveOrWarm(part, empty)
	}
}

// cheapest is the partition of from that to is warmest for.
func (p *planner) cheapest(pending []int, from, to int) int32 {
	best := int32(-1)
	for part := range p.n {
		if pending[part] == from && (best < 0 || p.lag(to, part) < p.lag(to, best)) {
			best = part
		}
	}
	return best
}

func (p *planner) moveOrWarm(part int32, to int) {
	if !p.isWarm(to, part) {
		p.warmUp[to] = append(p.warmUp[to], part)
		p.standby[to] = append(p.standby[to], part)
		return
	}
	p.load[p.owner[part]]--
	p.owner[part] = to
	p.load[to]++
}

func (p *planner) standBy(count int) {
	count = min(count, len(p.active)-1)
	for part := range p.n {
		have := 0
		for i := range p.members {
			if slices.Contains(p.standby[i], part) {
				have++
			}
		}
		for ; have < count; have++ {
			best := -1
			for _, i := range p.active {
				if i == p.owner[part] || slices.Contains(p.standby[i], part) {
					continue
				}
				if best < 0 || p.compareStandbys(part, i, best) < 0 {
					best = i
				}
			}
			if best < 0 {
				break
			}
			p.standby[best] = append(p.standby[best], part)
		}
	}
}

func (p *planner) compareStandbys(part int32, a, b int) int {
	warm := func(i int) int {
		if p.lag(i, part) < 1<<62 {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(warm(a), warm(b)), cmp.Compare(len(p.standby[a])+p.load[a], len(p.standby[b])+p.load[b]), cmp.Compare(a, b))
}

func (p *planner) result() placement {
	r := placement{owners: map[string][]int32{}, standby: map[string][]int32{}, warmUp: map[string][]int32{}}
	for i, m := range p.members {
		r.owners[m.id] = nil
		for part := range p.n {
			if p.owner[part] == i {
				r.owners[m.id] = append(r.owners[m.id], part)
			}
		}
		slices.Sort(p.standby[i])
		slices.Sort(p.warmUp[i])
		r.standby[m.id], r.warmUp[m.id] = p.standby[i], p.warmUp[i]
	}
	maps.DeleteFunc(r.standby, func(_ string, v []int32) bool { return len(v) == 0 })
	maps.DeleteFunc(r.warmUp, func(_ string, v []int32) bool { return len(v) == 0 })
	return r
}
