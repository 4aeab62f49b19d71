package schemas

import (
	"errors"
	"fmt"
	"unicode/utf8"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrVersion says that an internal record was written by a newer release.
var ErrVersion = errors.New("record version unknown to this release")

// alias views b as a string without copying it.
func alias(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return unsafe.String(&b[0], len(b))
}

func appendString(b []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	b = protowire.AppendTag(b, num, protowire.BytesType)
	return protowire.AppendString(b, s)
}

func appendBytes(b []byte, num protowire.Number, s []byte) []byte {
	if len(s) == 0 {
		return b
	}
	b = protowire.AppendTag(b, num, protowire.BytesType)
	return protowire.AppendBytes(b, s)
}

func appendInt(b []byte, num protowire.Number, v int64) []byte {
	if v == 0 {
		return b
	}
	b = protowire.AppendTag(b, num, protowire.VarintType)
	return protowire.AppendVarint(b, uint64(v))
}

func appendBool(b []byte, num protowire.Number, v bool) []byte {
	if !v {
		return b
	}
	return append(protowire.AppendTag(b, num, protowire.VarintType), 1)
}

// field is one decoded field of a message: bytes or an integer.
type field struct {
	num  protowire.Number
	typ  protowire.Type
	data []byte
	n    uint64
}

// eachField walks a message's fields. Fields of types that no message of ours
// has are skipped, as protobuf asks of unknown fields.
func eachField(b []byte, visit func(field) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("read field tag: %w", protowire.ParseError(n))
		}
		b = b[n:]
		f := field{num: num, typ: typ}
		switch typ {
		case protowire.VarintType:
			f.n, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			f.data, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return fmt.Errorf("read field %d: %w", num, protowire.ParseError(n))
		}
		b = b[n:]
		if err := visit(f); err != nil {
			return err
		}
	}
	return nil
}

// text stores a string field. Bytes that are not UTF-8 are an error, as in
// every protobuf runtime, and so is a wrong wire type, which other runtimes
// pass over: a producer with another .proto file should hear of it.
func (f field) text(name string, to *string) error {
	if f.typ != protowire.BytesType {
		return fmt.Errorf("field %s: wrong wire type %d", name, f.typ)
	}
	if !utf8.Valid(f.data) {
		return fmt.Errorf("field %s: not valid UTF-8", name)
	}
	*to = alias(f.data)
	return nil
}

func (f field) bytes(name string, to *[]byte) error {
	if f.typ != protowire.BytesType {
		return fmt.Errorf("field %s: wrong wire type %d", name, f.typ)
	}
	*to = f.data
	return nil
}

func (f field) int(name string, to *int64) error {
	if f.typ != protowire.VarintType {
		return fmt.Errorf("field %s: wrong wire type %d", name, f.typ)
	}
	*to = int64(f.n)
	return nil
}

func (f field) bool(name string, to *bool) error {
	var v int64
	err := f.int(name, &v)
	*to = v != 0
	return err
}
