package view

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/tidemarkio/tidemark/schemas"
)

// Filter chooses what Inspect prints. The zero Filter chooses everything.
type Filter struct {
	InstanceID string // empty: all
	Target     string // empty: all
	BizType    string // empty: all
	Max        int    // lines at most; 0: no limit
}

func (f *Filter) admits(l *Log) bool {
	return (f.InstanceID == "" || f.InstanceID == l.InstanceID) &&
		(f.Target == "" || f.Target == l.Target) && (f.BizType == "" || f.BizType == l.BizType)
}

// Inspect prints a store, a line per key, for people.
func (s *logs) Inspect(w io.Writer, f Filter) error {
	it, err := s.db.Pebble().NewIter(nil)
	if err != nil {
		return fmt.Errorf("read view %s: %w", s.db.Dir(), err)
	}
	lines := 0
	for ok := it.First(); ok && err == nil && (f.Max == 0 || lines < f.Max); ok = it.Next() {
		var line string
		line, err = describe(it.Key(), it.Value(), &f)
		if err != nil || line == "" {
			continue
		}
		lines++
		_, err = fmt.Fprintln(w, line)
	}
	return s.done(it, err)
}

// describe puts a key and its value into words; empty if the filter does not
// admit it.
func describe(key, value []byte, f *Filter) (string, error) {
	if key[0] == 'm' {
		return describeMeta(key, value, f), nil
	}
	if key[0] == kindDevice {
		return describeDevice(key, value, f)
	}
	if key[0] == kindClaim {
		return describeClaim(key, value, f)
	}
	l, rest, err := parseLog(key)
	if err != nil || !f.admits(&l) {
		return "", err
	}
	at := fmt.Sprintf("%q %q %q", l.InstanceID, l.Target, l.BizType)
	switch key[0] {
	case kindEntry:
		var e schemas.Entry
		if err := e.Decode(value); err != nil {
			return "", fmt.Errorf("key %x: %w", key, err)
		}
		return fmt.Sprintf("entry  %s %d: %q, %d bytes, valid until %s", at, idOf(key), e.ThirdMsgID, len(e.Payload)+len(e.Binary), stamp(e.ValidTimeEnd)), nil
	case kindHead, kindAcked:
		id, _ := binary.Uvarint(value)
		return fmt.Sprintf("%s  %s: %d", map[byte]string{kindHead: "head ", kindAcked: "acked"}[key[0]], at, id), nil
	case kindPoint:
		device, _, err := cut(rest)
		p, when, perr := readPoint(value)
		if err == nil {
			err = perr
		}
		return fmt.Sprintf("point  %s device %q: %d at %s%s", at, device, p.To, stamp(when), rewound(p)), err
	case kindTaken:
		p, when, err := readPoint(value)
		return fmt.Sprintf("taken  %s: %d at %s%s", at, p.To, stamp(when), rewound(p)), err
	case kindStats:
		if len(rest) != 4 {
			return "", fmt.Errorf("key %x: %w", key, errKey)
		}
		var c Counts
		err := c.add(value)
		hour := int64(binary.BigEndian.Uint32(rest)) * hourMillis
		return fmt.Sprintf("counts %s hour %s: %d pushes, %d arrivals", at, stamp(hour), c.Pushes, c.Arrivals), err
	}
	return "", fmt.Errorf("key %x: %w", key, errKey)
}

func rewound(p SyncPoint) string {
	if p.Rewind == 0 {
		return ""
	}
	return fmt.Sprintf(", behind rewind %d", p.Rewind)
}

func describeMeta(key, value []byte, f *Filter) string {
	if *f != (Filter{Max: f.Max}) {
		return ""
	}
	var p Position
	if string(key) == string(keyPosition) && p.decode(value) == nil {
		return fmt.Sprintf("position: oplog offset %d, acks offset %d, last entry of request %d, covered %d, chain %x, trusting %v",
			p.Oplog, p.Acks, p.Entry, p.Covered, p.Chain, p.Trusting)
	}
	return fmt.Sprintf("meta   %q: %.300q", key[1:], value)
}

func describeDevice(key, value []byte, f *Filter) (string, error) {
	var d Device
	rest := key[1:]
	var err error
	for _, to := range []*string{&d.InstanceID, &d.UserID, &d.DeviceID} {
		if *to, rest, err = cut(rest); err != nil {
			return "", fmt.Errorf("key %x: %w", key, err)
		}
	}
	if l := (Log{InstanceID: d.InstanceID, Target: d.UserID}); f.BizType != "" || !f.admits(&l) {
		return "", nil
	}
	if err := d.decode(value); err != nil {
		return "", fmt.Errorf("key %x: %w", key, err)
	}
	return fmt.Sprintf("device %q %q %q: %s %s, online %s", d.InstanceID, d.UserID, d.DeviceID, d.OS, d.AppVersion, stamp(d.Online)), nil
}

func describeClaim(key, value []byte, f *Filter) (string, error) {
	var l Log
	rest := key[1:]
	var err error
	for _, to := range []*string{&l.InstanceID, &l.Target} {
		if *to, rest, err = cut(rest); err != nil {
			return "", fmt.Errorf("key %x: %w", key, err)
		}
	}
	if f.BizType != "" || !f.admits(&l) {
		return "", nil
	}
	_, when, err := readPoint(value)
	return fmt.Sprintf("claim  %q %q: first connected %s", l.InstanceID, l.Target, stamp(when)), err
}

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }
