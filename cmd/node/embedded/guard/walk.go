package guard

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kbin"
)

// Limits of one request's body.
const (
	// MaxElements bounds the array elements of a request, all arrays
	// together. An element of one byte on the wire can be hundreds in memory.
	MaxElements = 20_000
	// MaxTags bounds the tags of one struct. The decoder behind us loops over
	// their count even after the bytes have run out.
	MaxTags = 16
)

// place is where a noted field stands in a frame.
type place struct {
	note       note
	start, end int
}

// walk goes through a request's body as the broker's decoder would, without
// building anything. It appends the noted fields to places.
func (s *shape) walk(body []byte, version int16, places []place) ([]place, error) {
	w := walker{size: len(body), version: version, flexible: s.flexible >= 0 && version >= s.flexible, places: places}
	w.r.Src = body
	if err := w.fields(s.body); err != nil {
		return w.places, err
	}
	if w.flexible {
		if err := w.tags(s.knownTags); err != nil {
			return w.places, err
		}
	}
	if !w.r.Ok() {
		return w.places, errShort
	}
	if n := len(w.r.Src); n > 0 {
		return w.places, fmt.Errorf("%d bytes too many", n)
	}
	return w.places, nil
}

var errShort = errors.New("it ends early, or a length is wrong")

type walker struct {
	r        kbin.Reader
	size     int
	version  int16
	flexible bool
	elements int
	places   []place
}

func (w *walker) at() int { return w.size - len(w.r.Src) }

func (w *walker) fields(fs []field) error {
	for i := range fs {
		f := &fs[i]
		if w.version < f.from || w.version > f.to {
			continue
		}
		if err := w.field(f); err != nil {
			return err
		}
		if !w.r.Ok() {
			return errShort
		}
	}
	return nil
}

func (w *walker) field(f *field) error {
	start := w.at()
	switch f.kind {
	case kindFixed:
		w.r.Span(f.size)
	case kindString:
		n := w.shortLen()
		start = w.at()
		w.span(n)
	case kindBytes:
		n := w.longLen()
		start = w.at()
		w.span(n)
	case kindArray:
		return w.array(f)
	}
	if f.note != noteNone {
		w.places = append(w.places, place{f.note, start, w.at()})
	}
	return nil
}

// span passes over n bytes; a null has none.
func (w *walker) span(n int) {
	if n > 0 {
		w.r.Span(n)
	}
}

func (w *walker) shortLen() int {
	if w.flexible {
		return int(w.r.Uvarint()) - 1
	}
	return int(w.r.Int16())
}

func (w *walker) longLen() int {
	if w.flexible {
		return int(w.r.Uvarint()) - 1
	}
	return int(w.r.Int32())
}

func (w *walker) array(f *field) error {
	n := int32(0)
	if w.flexible {
		n = w.r.CompactArrayLen()
	} else {
		n = w.r.ArrayLen()
	}
	if n <= 0 {
		return nil
	}
	if w.elements += int(n); w.elements > MaxElements {
		return fmt.Errorf("over %d array elements", MaxElements)
	}
	for range n {
		if err := w.fields(f.sub); err != nil {
			return err
		}
		if w.flexible && !f.plain {
			if err := w.tags(0); err != nil {
				return err
			}
		}
	}
	return nil
}

// tags passes over the tags at a struct's end; those below known are refused.
func (w *walker) tags(known uint32) error {
	n := w.r.Uvarint()
	if n > MaxTags {
		return fmt.Errorf("%d tags in one struct, at most %d", n, MaxTags)
	}
	for range n {
		if tag := w.r.Uvarint(); tag < known {
			return fmt.Errorf("tag %d, which only brokers send", tag)
		}
		w.r.Span(int(w.r.Uvarint()))
	}
	if !w.r.Ok() {
		return errShort
	}
	return nil
}
