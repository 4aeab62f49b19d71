package processor

// slabBytesMax is the size of a slab in the long run: large enough that slabs
// cost nothing, small enough that a late acknowledgement holds little back. A
// task begins with slabBytesMin, because most partitions are idle most of the
// time.
const (
	slabBytesMin = 2 << 10
	slabBytesMax = 64 << 10
)

// slab gives out memory for records from large pieces. A piece is freed by the
// collector when nothing refers to it any more.
type slab struct {
	free []byte
	size int // of the newest slab
}

// tail is an empty slice with room for at least n bytes at the end of the
// slab. What is appended belongs to the slab's user once [slab.keep] says how
// much it was.
func (s *slab) tail(n int) []byte {
	if cap(s.free) < n {
		s.size = min(max(slabBytesMin, 2*s.size), slabBytesMax)
		s.free = make([]byte, 0, max(n, s.size))
	}
	return s.free[:0]
}

// keep takes n bytes off the front: they will not be given out again.
func (s *slab) keep(n int) {
	if n > cap(s.free) { // the append outgrew the slab and went elsewhere
		return
	}
	s.free = s.free[n:n:cap(s.free)]
}
