package schemas

import (
	"bytes"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Checkpoint is a record of changelog.counters: one counter, or the partition's
// base. A restore from nothing takes the base and every counter, and then the
// oplog; counters keep ids alive after the oplog's retention has passed.
type Checkpoint struct {
	Base *Base // or a counter:

	InstanceID string
	BizType    string
	LinkToken  string // empty for a global business
	OplogID    int64  // the last id given
	Position   int64  // request offset that gave it
}

// Base is where a partition stood: all state as of Position, but for counters
// and dedupe keys, which the other records and the oplog give.
type Base struct {
	Position    int64 // last request covered, side outputs included
	OplogOffset int64 // offset in the oplog of the last accepted record; -1: none
	Entry       int64 // request offset of the last entry; -1: none
	Chain       [ChainLen]byte
	StreamTime  int64
	Revision    int64
	Rules       int64
	Topology    string   // hash of the frozen topology
	ClusterKey  string   // id of the key that signs control records
	Changes     []Change // the settings, whole
}

// baseKey is the record key of a partition's base; counters' keys are longer.
var baseKey = []byte("base")

// RecordKey is the compaction key.
func (c *Checkpoint) RecordKey() []byte {
	if c.Base != nil {
		return baseKey
	}
	return CounterKey(nil, c.InstanceID, c.BizType, c.LinkToken)
}

// CounterKey appends the key under which a counter is kept: length-prefixed
// parts, readable by [ParseCounterKey].
func CounterKey(b []byte, instanceID, bizType, linkToken string) []byte {
	b = appendString(b, 1, instanceID)
	b = appendString(b, 2, bizType)
	return appendString(b, 3, linkToken)
}

// ParseCounterKey takes a counter's key apart.
func ParseCounterKey(key []byte) (instanceID, bizType, linkToken string, err error) {
	err = eachField(key, func(f field) error {
		switch f.num {
		case 1:
			return f.text("instance_id", &instanceID)
		case 2:
			return f.text("biz_type", &bizType)
		case 3:
			return f.text("link_token", &linkToken)
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("read counter key: %w", err)
	}
	return instanceID, bizType, linkToken, err
}

// Append appends the record's value.
func (c *Checkpoint) Append(b []byte) []byte {
	b = append(b, internalVersion)
	if c.Base != nil {
		b = protowire.AppendTag(b, 6, protowire.BytesType)
		return protowire.AppendBytes(b, c.Base.append(nil))
	}
	b = appendString(b, 1, c.InstanceID)
	b = appendString(b, 2, c.BizType)
	b = appendString(b, 3, c.LinkToken)
	b = appendInt(b, 4, c.OplogID)
	return appendInt(b, 5, c.Position)
}

func (s *Base) append(b []byte) []byte {
	b = appendInt(b, 1, s.Position)
	b = appendInt(b, 2, s.OplogOffset)
	b = appendInt(b, 3, s.Entry)
	b = appendBytes(b, 4, s.Chain[:])
	b = appendInt(b, 5, s.StreamTime)
	b = appendInt(b, 6, s.Revision)
	b = appendInt(b, 7, s.Rules)
	b = appendString(b, 8, s.Topology)
	b = appendString(b, 9, s.ClusterKey)
	for i := range s.Changes {
		b = protowire.AppendTag(b, 10, protowire.BytesType)
		b = protowire.AppendBytes(b, s.Changes[i].append(nil))
	}
	return b
}

// Decode reads the record's value. Strings alias b, but for a base's.
func (c *Checkpoint) Decode(b []byte) error {
	*c = Checkpoint{}
	b, err := openInternal("checkpoint", b)
	if err != nil {
		return err
	}
	if err := eachField(b, c.set); err != nil {
		return fmt.Errorf("decode checkpoint: %w", err)
	}
	return nil
}

func (c *Checkpoint) set(f field) error {
	switch f.num {
	case 1:
		return f.text("instance_id", &c.InstanceID)
	case 2:
		return f.text("biz_type", &c.BizType)
	case 3:
		return f.text("link_token", &c.LinkToken)
	case 4:
		return f.int("oplog_id", &c.OplogID)
	case 5:
		return f.int("position", &c.Position)
	case 6:
		if err := f.nested("base"); err != nil {
			return err
		}
		c.Base = new(Base)
		return eachField(bytes.Clone(f.data), c.Base.set)
	}
	return nil
}

func (s *Base) set(f field) error {
	switch f.num {
	case 1:
		return f.int("position", &s.Position)
	case 2:
		return f.int("oplog_offset", &s.OplogOffset)
	case 3:
		return f.int("entry", &s.Entry)
	case 4:
		if len(f.data) != ChainLen {
			return fmt.Errorf("field chain: %d bytes, want %d", len(f.data), ChainLen)
		}
		copy(s.Chain[:], f.data)
	case 5:
		return f.int("stream_time", &s.StreamTime)
	case 6:
		return f.int("revision", &s.Revision)
	case 7:
		return f.int("rules", &s.Rules)
	case 8:
		return f.text("topology", &s.Topology)
	case 9:
		return f.text("cluster_key", &s.ClusterKey)
	case 10:
		if err := f.nested("changes"); err != nil {
			return err
		}
		var ch Change
		if err := ch.Decode(f.data); err != nil {
			return err
		}
		s.Changes = append(s.Changes, ch)
	}
	return nil
}
