package view

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The first byte of a key is its kind. README.md draws them all. 'm' is package
// state's.
const (
	kindAcked  = 'a'
	kindClaim  = 'c'
	kindDevice = 'd'
	kindEntry  = 'e'
	kindHead   = 'h'
	kindPoint  = 'p'
	kindStats  = 's'
	kindTaken  = 't'
)

var errKey = errors.New("not a key of this layout")

// Log names the entries of one business for one target. A global log has no
// target.
type Log struct {
	InstanceID string
	Target     string
	BizType    string
}

// part appends a string so that no choice of strings makes two keys alike:
// its length stands before it.
func part(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// targetKey is what all keys of a kind and a target begin with.
func targetKey(b []byte, kind byte, instanceID, target string) []byte {
	return part(part(append(b, kind), instanceID), target)
}

func claimKey(b []byte, instanceID, deviceID string) []byte {
	return targetKey(b, kindClaim, instanceID, deviceID)
}

func (l *Log) key(b []byte, kind byte) []byte {
	return part(targetKey(b, kind, l.InstanceID, l.Target), l.BizType)
}

func (l *Log) entryKey(b []byte, id int64) []byte {
	return binary.BigEndian.AppendUint64(l.key(b, kindEntry), uint64(id))
}

func (l *Log) pointKey(b []byte, device string) []byte {
	return part(l.key(b, kindPoint), device)
}

func (l *Log) statsKey(b []byte, hour int64) []byte {
	return binary.BigEndian.AppendUint32(l.key(b, kindStats), uint32(hour))
}

// after is the first key behind all those that begin with a prefix. Every
// prefix of ours begins with a kind, which is never 0xff.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; ; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
}

// cut takes a part off a key.
func cut(key []byte) (part string, rest []byte, err error) {
	n, size := binary.Uvarint(key)
	if size <= 0 || n > uint64(len(key)-size) {
		return "", nil, errKey
	}
	key = key[size:]
	return string(key[:n]), key[n:], nil
}

// parseLog reads the log that a key belongs to, and gives what stands behind.
func parseLog(key []byte) (l Log, rest []byte, err error) {
	rest = key[1:]
	for _, to := range []*string{&l.InstanceID, &l.Target, &l.BizType} {
		if *to, rest, err = cut(rest); err != nil {
			return l, nil, fmt.Errorf("key %x: %w", key, err)
		}
	}
	return l, rest, nil
}

// parseEntryKey reads a key of kindEntry.
func parseEntryKey(key []byte) (Log, int64, error) {
	l, rest, err := parseLog(key)
	if err == nil && len(rest) != 8 {
		err = fmt.Errorf("key %x: %w", key, errKey)
	}
	if err != nil {
		return l, 0, err
	}
	return l, int64(binary.BigEndian.Uint64(rest)), nil
}
