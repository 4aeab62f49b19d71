package e2e

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	scopeGlobal    = "global"
	scopeSpecified = "specified"
)

// field is one field of a message.
type field struct {
	num   protowire.Number
	typ   protowire.Type
	int   uint64
	bytes []byte
}

// fields takes a message apart.
func fields(b []byte) ([]field, error) {
	var all []field
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		b = b[n:]
		f := field{num: num, typ: typ}
		switch typ {
		case protowire.VarintType:
			f.int, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		b = b[n:]
		all = append(all, f)
	}
	return all, nil
}

func putString(b []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}

func putInt(b []byte, num protowire.Number, v int64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), uint64(v))
}

// Entry is an OplogEntry.
type Entry struct {
	Request
	OplogID       int64
	RequestOffset int64
	PrevOffset    int64
	Revision      int64
	StreamTime    int64
	NonPersistent bool
	Chain         [16]byte
}

// Marker reports a progress marker.
func (e *Entry) Marker() bool { return e.OplogID == 0 }

// canonical is the message without its chain, fields ascending.
func (e *Entry) canonical() []byte {
	b := e.Request.Proto()
	for i, v := range []int64{e.OplogID, e.RequestOffset, e.PrevOffset, e.Revision, e.StreamTime} {
		b = putInt(b, protowire.Number(12+i), v)
	}
	if e.NonPersistent {
		b = putInt(b, 17, 1)
	}
	return b
}

// chainSuffix is how long the chain's field is at a record's end: a tag of two
// bytes, a length, 16 bytes.
const chainSuffix = 19

var errEntry = errors.New("not an OplogEntry")

// decodeEntry reads a record of oplog or broadcast.
func decodeEntry(b []byte) (*Entry, error) {
	all, err := fields(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errEntry, err)
	}
	e := new(Entry)
	last := protowire.Number(0)
	for _, f := range all {
		if f.num <= last {
			return nil, fmt.Errorf("%w: field %d comes after field %d", errEntry, f.num, last)
		}
		last = f.num
		if f.num == 30 {
			if copy(e.Chain[:], f.bytes) != 16 {
				return nil, fmt.Errorf("%w: chain of %d bytes", errEntry, len(f.bytes))
			}
			continue
		}
		if !e.set(f) {
			return nil, fmt.Errorf("%w: field %d of type %d", errEntry, f.num, f.typ)
		}
	}
	if last != 30 {
		return nil, fmt.Errorf("%w: no chain at its end", errEntry)
	}
	return e, nil
}

func (e *Entry) set(f field) bool {
	switch f.num {
	case 12:
		e.OplogID = int64(f.int)
	case 13:
		e.RequestOffset = int64(f.int)
	case 14:
		e.PrevOffset = int64(f.int)
	case 15:
		e.Revision = int64(f.int)
	case 16:
		e.StreamTime = int64(f.int)
	case 17:
		e.NonPersistent = f.int != 0
	default:
		return e.Request.set(f) == nil
	}
	return f.typ == protowire.VarintType
}

// set takes a field that SyncRequest and OplogEntry share.
func (r *Request) set(f field) error {
	texts := []*string{1: &r.InstanceID, &r.BizType, &r.LinkToken, &r.ThirdMsgID, &r.Payload, 7: &r.OSType, &r.AppMinVersion, &r.AppMaxVersion, 11: &r.Scope}
	switch {
	case f.num == 10 && f.typ == protowire.VarintType:
		r.ValidTimeEnd = int64(f.int)
	case f.num == 6 && f.typ == protowire.BytesType:
		r.Binary = f.bytes
	case f.num == 6, f.num == 10:
		return fmt.Errorf("field %d has type %d", f.num, f.typ)
	case int(f.num) < len(texts) && texts[f.num] != nil:
		if f.typ != protowire.BytesType || !utf8.Valid(f.bytes) {
			return fmt.Errorf("field %d is not text", f.num)
		}
		*texts[f.num] = string(f.bytes)
	}
	return nil
}

// Result is a SyncResult.
type Result struct {
	Msg, Reason                                string
	Success                                    bool
	InstanceID, BizType, LinkToken, ThirdMsgID string
	OplogID                                    int64
	RequestPartition                           int32
	RequestOffset                              int64
	RequestID, Value                           []byte
}

func decodeResult(b []byte) (*Result, error) {
	all, err := fields(b)
	if err != nil {
		return nil, fmt.Errorf("not a SyncResult: %w", err)
	}
	r := new(Result)
	for _, f := range all {
		switch f.num {
		case 1:
			r.Msg = string(f.bytes)
		case 2:
			r.Success = f.int != 0
		case 3:
			r.Reason = string(f.bytes)
		case 4:
			r.InstanceID = string(f.bytes)
		case 5:
			r.BizType = string(f.bytes)
		case 6:
			r.LinkToken = string(f.bytes)
		case 7:
			r.ThirdMsgID = string(f.bytes)
		case 8:
			r.OplogID = int64(f.int)
		case 9:
			r.RequestPartition = int32(f.int)
		case 10:
			r.RequestOffset = int64(f.int)
		case 11:
			r.RequestID = f.bytes
		case 12:
			r.Value = f.bytes
		default:
			return nil, fmt.Errorf("not a SyncResult: field %d", f.num)
		}
	}
	return r, nil
}
