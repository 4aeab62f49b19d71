package view

import (
	"bytes"
	"testing"
)

// Whatever the names, a key reads back as what it was made of, and the range
// of one log never holds a key of another.
func FuzzKeys(f *testing.F) {
	f.Add("i", "u", "A", "i", "u", "A", int64(1))
	f.Add("i", "u\x01A", "", "i", "u", "A", int64(-1))
	f.Add("", "\xff", "a\x00", "\x00", "", "", int64(1<<62))
	f.Fuzz(func(t *testing.T, i1, t1, b1, i2, t2, b2 string, id int64) {
		one, two := Log{i1, t1, b1}, Log{i2, t2, b2}
		key := one.entryKey(nil, id)
		got, gotID, err := parseEntryKey(key)
		if err != nil || got != one || gotID != id {
			t.Fatalf("%+v %d became %+v %d, %v", one, id, got, gotID, err)
		}
		prefix := two.key(nil, kindEntry)
		in := bytes.Compare(key, prefix) >= 0 && bytes.Compare(key, after(prefix)) < 0
		if in != (one == two) {
			t.Fatalf("%+v in the range of %+v: %v", one, two, in)
		}
		target := targetKey(nil, kindEntry, i2, t2)
		if in := bytes.HasPrefix(key, target); in != (i1 == i2 && t1 == t2) {
			t.Fatalf("%+v under target %q %q: %v", one, i2, t2, in)
		}
	})
}

func FuzzValues(f *testing.F) {
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Position
		var c Counts
		var d Device
		_ = p.decode(b)
		_ = c.add(b)
		_ = d.decode(b)
		_, _, _ = readPoint(b)
		if len(b) > 0 {
			_, _ = describe(b, b, &Filter{})
		}
	})
}
