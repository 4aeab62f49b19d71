package edge

import (
	"slices"
	"testing"
)

// A client is visited once, at the soonest time that was said, and stands in
// few slots however often it is put forward.
func TestWheelVisitsOnce(t *testing.T) {
	w := newWheel(nil)
	c := new(client)
	const now = 1000
	w.add(c, now, now+30)
	w.add(c, now, now+500) // further than it can see, and later than what is said
	for at := int64(now + 29); at > now; at-- {
		w.add(c, now, at)
		w.add(c, now, at)
	}
	standing := 0
	for _, all := range w.slots {
		standing += len(all)
	}
	if standing != 30 {
		t.Errorf("it stands in %d slots, 30 were named", standing)
	}
	if got := w.take(now + 1); !slices.Equal(got, []*client{c}) {
		t.Errorf("visits of the first second: %v", got)
	}
	w.add(c, now+1, now+40)
	for at := int64(now + 2); at < now+40; at++ {
		if len(w.take(at)) != 0 {
			t.Errorf("visited at %d, and 40 was said", at-now)
		}
	}
	if len(w.take(now+40)) != 1 || c.slots != 0 {
		t.Errorf("not visited when it was said, or slots %b are left", c.slots)
	}
}

// What is further away than the wheel can see comes with its last second, and a
// wheel that is late by a turn or more forgets nobody.
func TestWheelThatIsLate(t *testing.T) {
	w := newWheel(nil)
	far, late := new(client), new(client)
	w.add(far, 1000, 5000)
	w.add(late, 1000+2*wheelSlots, 1000+2*wheelSlots+5)
	visits := make(map[*client]int64)
	for at := int64(1001); at < 1000+3*wheelSlots; at++ {
		for _, c := range w.take(at) {
			visits[c] = at
		}
	}
	if visits[far] != 1000+wheelSlots-1 || visits[late] != 1000+2*wheelSlots+5 {
		t.Errorf("far at %d, late at %d", visits[far], visits[late])
	}
}
