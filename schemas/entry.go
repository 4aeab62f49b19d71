package schemas

import (
	"bytes"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Entry is one record of an oplog: an accepted request, or (OplogID 0) a
// progress marker. See tidemark.proto for the fields.
type Entry struct {
	InstanceID       string
	BizType          string
	LinkToken        string
	ThirdMsgID       string
	Payload          string
	Binary           []byte
	OSType           string
	AppMinVersion    string
	AppMaxVersion    string
	ValidTimeEnd     int64
	Scope            string // "" or ScopeGlobal
	OplogID          int64
	RequestOffset    int64
	PrevOffset       int64
	SettingsRevision int64
	StreamTime       int64
	NonPersistent    bool
	Chain            [ChainLen]byte
}

// ChainLen is the size of a chain value.
const ChainLen = 16

// chainSuffix is what stands before the chain in every entry: tag 30, length 16.
var chainSuffix = append(protowire.AppendTag(nil, 30, protowire.BytesType), ChainLen)

// ChainSuffixLen is how many bytes at the end of a record the chain does not cover.
const ChainSuffixLen = 3 + ChainLen

// Marker reports that e is a progress marker.
func (e *Entry) Marker() bool { return e.OplogID == 0 }

// Global reports that e is for everybody.
func (e *Entry) Global() bool { return e.Scope == ScopeGlobal }

// Key is the entry's record key, as [Request.Key].
func (e *Entry) Key() string {
	if e.Global() {
		return e.InstanceID + "/" + e.BizType
	}
	return e.LinkToken
}

// AppendCanonical appends the bytes that the chain covers: the message without
// its last field.
func (e *Entry) AppendCanonical(b []byte) []byte {
	b = appendString(b, 1, e.InstanceID)
	b = appendString(b, 2, e.BizType)
	b = appendString(b, 3, e.LinkToken)
	b = appendString(b, 4, e.ThirdMsgID)
	b = appendString(b, 5, e.Payload)
	b = appendBytes(b, 6, e.Binary)
	b = appendString(b, 7, e.OSType)
	b = appendString(b, 8, e.AppMinVersion)
	b = appendString(b, 9, e.AppMaxVersion)
	b = appendInt(b, 10, e.ValidTimeEnd)
	b = appendString(b, 11, e.Scope)
	b = appendInt(b, 12, e.OplogID)
	b = appendInt(b, 13, e.RequestOffset)
	b = appendInt(b, 14, e.PrevOffset)
	b = appendInt(b, 15, e.SettingsRevision)
	b = appendInt(b, 16, e.StreamTime)
	return appendBool(b, 17, e.NonPersistent)
}

// AppendChain appends the last field, which turns canonical bytes into a record.
func AppendChain(b []byte, chain [ChainLen]byte) []byte {
	b = append(b, chainSuffix...)
	return append(b, chain[:]...)
}

// Canonical returns the part of an entry's record that the chain covers.
func Canonical(record []byte) ([]byte, error) {
	n := len(record) - len(chainSuffix) - ChainLen
	if n < 0 || !bytes.Equal(record[n:n+len(chainSuffix)], chainSuffix) {
		return nil, errors.New("oplog entry does not end with its chain")
	}
	return record[:n], nil
}

// Decode reads an OplogEntry record. Strings alias b.
func (e *Entry) Decode(b []byte) error {
	*e = Entry{}
	canonical, err := Canonical(b)
	if err == nil {
		copy(e.Chain[:], b[len(b)-ChainLen:])
		err = eachField(canonical, e.set)
	}
	if err != nil {
		return fmt.Errorf("decode OplogEntry: %w", err)
	}
	return nil
}

func (e *Entry) set(f field) error {
	switch f.num {
	case 1:
		return f.text("instance_id", &e.InstanceID)
	case 2:
		return f.text("biz_type", &e.BizType)
	case 3:
		return f.text("link_token", &e.LinkToken)
	case 4:
		return f.text("third_msg_id", &e.ThirdMsgID)
	case 5:
		return f.text("payload", &e.Payload)
	case 6:
		return f.bytes("binary_payload", &e.Binary)
	case 7:
		return f.text("os_type", &e.OSType)
	case 8:
		return f.text("app_min_version", &e.AppMinVersion)
	case 9:
		return f.text("app_max_version", &e.AppMaxVersion)
	case 10:
		return f.int("valid_time_end", &e.ValidTimeEnd)
	case 11:
		return f.text("scope", &e.Scope)
	case 12:
		return f.int("oplog_id", &e.OplogID)
	case 13:
		return f.int("request_offset", &e.RequestOffset)
	case 14:
		return f.int("prev_offset", &e.PrevOffset)
	case 15:
		return f.int("settings_revision", &e.SettingsRevision)
	case 16:
		return f.int("stream_time", &e.StreamTime)
	case 17:
		return f.bool("non_persistent", &e.NonPersistent)
	}
	return nil
}
