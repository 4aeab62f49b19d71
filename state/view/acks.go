package view

import (
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tidemarkio/tidemark/schemas"
)

// ackBatch is what the acks of one batch have written so far, for those that
// come later in it.
type ackBatch struct {
	acks   []schemas.Ack
	points map[string]int64 // by point key, or claim key
	acked  map[string]int64 // by acked key
}

// applyAcks stages records of the acks partition. A device's point is what its
// last record says, higher or lower: a lower one is an app that was installed
// again. What any device ever confirmed only grows.
func (v *View) applyAcks(b *pebble.Batch, records []Record) ([]schemas.Ack, error) {
	t := &v.acks
	t.acks = t.acks[:0]
	if t.points == nil {
		t.points, t.acked = make(map[string]int64), make(map[string]int64)
	}
	clear(t.points)
	clear(t.acked)
	for i := range records {
		r := &records[i]
		if len(r.Value) > 0 { // else a tombstone: points are never taken away
			var ack schemas.Ack
			err := ack.Decode(r.Value)
			switch {
			case err != nil:
			case ack.Claim():
				err = v.applyClaim(b, &ack)
			default:
				err = v.applyAck(b, &ack)
			}
			if err != nil {
				return t.acks, fmt.Errorf("acks offset %d: %w", r.Offset, err)
			}
			t.acks = append(t.acks, ack)
		}
		v.position.Acks = r.Offset + 1
	}
	return t.acks, nil
}

func (v *View) applyAck(b *pebble.Batch, ack *schemas.Ack) error {
	l := Log{ack.InstanceID, ack.Target, ack.BizType}
	pointKey, ackedKey := string(l.pointKey(nil, ack.DeviceID)), string(l.key(nil, kindAcked))
	point, err := v.seen(v.acks.points, pointKey)
	if err != nil {
		return err
	}
	acked, err := v.seen(v.acks.acked, ackedKey)
	if err != nil {
		return err
	}
	v.acks.points[pointKey] = ack.To
	_ = b.Set([]byte(pointKey), appendPoint(nil, ack.To, ack.Time), nil)
	if ack.To <= acked {
		return nil
	}
	v.acks.acked[ackedKey] = ack.To
	_ = b.Set([]byte(ackedKey), binary.AppendUvarint(nil, uint64(ack.To)), nil)
	arrived := ack.Entries
	if point < acked {
		// The device was behind the others: some of it had arrived before.
		arrived = min(arrived, ack.To-acked)
	}
	v.addCounts(b, &l, ack.Time, Counts{Arrivals: arrived})
	return nil
}

// applyClaim stages who was first with a device id: later ones change nothing.
func (v *View) applyClaim(b *pebble.Batch, ack *schemas.Ack) error {
	key := claimKey(nil, ack.InstanceID, ack.DeviceID)
	first, err := v.seen(v.acks.points, string(key))
	if err != nil || first != 0 {
		return err
	}
	v.acks.points[string(key)] = ack.To
	return b.Set(key, appendPoint(nil, ack.To, ack.Time), nil)
}

// Claim is who was the first with a device id; 0: nobody was.
func (v *View) Claim(instanceID, deviceID string) (int64, error) {
	var room [256]byte
	value, err := v.get(claimKey(room[:0], instanceID, deviceID))
	if err != nil || value == nil {
		return 0, err
	}
	first, _, err := readPoint(value)
	return first, err
}

// seen reads an id as this batch leaves it.
func (v *View) seen(batch map[string]int64, key string) (int64, error) {
	if id, ok := batch[key]; ok {
		return id, nil
	}
	value, err := v.get([]byte(key))
	if err != nil || value == nil {
		return 0, err
	}
	id, _ := binary.Uvarint(value)
	batch[key] = int64(id)
	return int64(id), nil
}

func appendPoint(b []byte, to, time int64) []byte {
	return binary.AppendVarint(binary.AppendUvarint(b, uint64(to)), time)
}

func readPoint(b []byte) (to, time int64, err error) {
	id, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, 0, fmt.Errorf("value %x is no sync point", b)
	}
	time, m := binary.Varint(b[n:])
	if m <= 0 || n+m != len(b) {
		return 0, 0, fmt.Errorf("value %x is no sync point", b)
	}
	return int64(id), time, nil
}

// Point is what a device has confirmed; ok is false if nothing is on record.
func (v *View) Point(l Log, device string) (to int64, ok bool, err error) {
	value, err := v.get(l.pointKey(nil, device))
	if err != nil || value == nil {
		return 0, false, err
	}
	to, _, err = readPoint(value)
	return to, err == nil, err
}

// Acked is the highest id of the log that any device ever confirmed; 0: none.
func (v *View) Acked(l Log) (int64, error) {
	var room [256]byte
	return v.getID(l.key(room[:0], kindAcked))
}

// DevicePoint is a device's sync point of a log.
type DevicePoint struct {
	DeviceID string
	To       int64
	Time     int64 // of the last acknowledgement, epoch ms
}

// Points lists the sync points of a log's devices.
func (v *View) Points(l Log) ([]DevicePoint, error) {
	prefix := l.key(nil, kindPoint)
	it, err := v.over(prefix)
	if err != nil {
		return nil, err
	}
	var all []DevicePoint
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		var p DevicePoint
		p.DeviceID, _, err = cut(it.Key()[len(prefix):])
		if err == nil {
			p.To, p.Time, err = readPoint(it.Value())
		}
		all = append(all, p)
	}
	return all, v.done(it, err)
}
