package session

// segmentsMax bounds a business's segments. Past it neighbours are joined.
const segmentsMax = 64

// segment is a run of delivered entries that are not acknowledged: those with
// from < id <= to, the first of them right behind from.
type segment struct {
	from, to int64
	entries  int32
	bytes    int32
}

func (g *segment) add(id int64, size int) {
	if g.entries == 0 {
		g.from = id - 1
	}
	g.to = id
	g.entries++
	g.bytes += int32(size)
}

func (w *Window) add(size int) {
	w.Entries++
	w.Bytes += size
}

func (w *Window) take(g segment) {
	w.Entries -= int(g.entries)
	w.Bytes -= int(g.bytes)
}

// push puts a segment behind the others.
func push(all []segment, g segment) []segment {
	if len(all) < segmentsMax {
		return append(all, g)
	}
	return append(join(all), g)
}

// join halves the number of segments. What one acknowledgement in the middle
// of a joined segment frees is then an estimate; its end frees what is left.
func join(all []segment) []segment {
	n := 0
	for i := 0; i+1 < len(all); i += 2 {
		a, b := all[i], all[i+1]
		all[n] = segment{from: a.from, to: b.to, entries: a.entries + b.entries, bytes: a.bytes + b.bytes}
		n++
	}
	return all[:n]
}

// pop takes off what is acknowledged up to an id.
func pop(all []segment, to int64) (rest []segment, freed Window) {
	for len(all) > 0 && all[0].to <= to {
		freed.Entries += int(all[0].entries)
		freed.Bytes += int(all[0].bytes)
		all = all[1:]
	}
	if len(all) > 0 && all[0].from < to {
		g := &all[0]
		part := g.split(to)
		freed.Entries += int(part.entries)
		freed.Bytes += int(part.bytes)
	}
	if len(all) == 0 {
		return nil, freed
	}
	return all, freed
}

// split takes the part up to an id off a segment, as if its entries were
// spread evenly over its ids.
func (g *segment) split(to int64) segment {
	share := func(n int32) int32 { return int32(int64(n) * (to - g.from) / (g.to - g.from)) }
	part := segment{from: g.from, to: to, entries: share(g.entries), bytes: share(g.bytes)}
	g.from = to
	g.entries -= part.entries
	g.bytes -= part.bytes
	return part
}
