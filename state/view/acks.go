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
	points map[string]SyncPoint // by point key, taken key and claim key
	acked  map[string]int64     // by acked key
}

// SyncPoint is how far somebody is.
type SyncPoint struct {
	To     int64
	Rewind int64 // number of the last rewind of the point; 0: none
}

// nowhere stands for a point that is not on record.
var nowhere = SyncPoint{To: -1}

// applyAcks stages records of the acks partition. A device's point is what its
// last record says, higher or lower: a lower one is an app that was installed
// again. What any device ever confirmed only grows. A rewind moves a point back;
// from then on only records count whose writers knew of it.
func (v *View) applyAcks(b *pebble.Batch, records []Record) ([]schemas.Ack, error) {
	t := &v.acks
	t.acks = t.acks[:0]
	if t.points == nil {
		t.points, t.acked = make(map[string]SyncPoint), make(map[string]int64)
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
	if ack.Back {
		return v.applyRewind(b, &l, ack)
	}
	pointKey, ackedKey, takenKey := string(l.pointKey(nil, ack.DeviceID)), string(l.key(nil, kindAcked)), string(l.key(nil, kindTaken))
	point, err := v.seenPoint(pointKey)
	if err != nil {
		return err
	}
	taken, err := v.seenPoint(takenKey)
	if err != nil {
		return err
	}
	acked, err := v.seenAcked(ackedKey)
	if err != nil {
		return err
	}
	now := SyncPoint{ack.To, ack.Rewind}
	if ack.Rewind >= point.Rewind {
		v.setPoint(b, pointKey, now, ack.Time)
	}
	if taken != nowhere && ack.Rewind >= taken.Rewind && ack.To > taken.To {
		v.setPoint(b, takenKey, now, ack.Time)
	}
	if ack.To <= acked {
		return nil
	}
	v.acks.acked[ackedKey] = ack.To
	_ = b.Set([]byte(ackedKey), binary.AppendUvarint(nil, uint64(ack.To)), nil)
	arrived := ack.Entries
	if max(point.To, 0) < acked {
		// The device was behind the others: some of it had arrived before.
		arrived = min(arrived, ack.To-acked)
	}
	v.addCounts(b, &l, ack.Time, Counts{Arrivals: arrived})
	return nil
}

// applyClaim stages who was first with a device id: later ones change nothing.
func (v *View) applyClaim(b *pebble.Batch, ack *schemas.Ack) error {
	key := string(claimKey(nil, ack.InstanceID, ack.DeviceID))
	if first, err := v.seenPoint(key); err != nil || first.To > 0 {
		return err
	}
	v.setPoint(b, key, SyncPoint{To: ack.To}, ack.Time)
	return nil
}

// Claim is who was the first with a device id; 0: nobody was.
func (v *View) Claim(instanceID, deviceID string) (int64, error) {
	var room [256]byte
	first, ok, err := v.syncPoint(claimKey(room[:0], instanceID, deviceID))
	if err != nil || !ok {
		return 0, err
	}
	return first.To, nil
}

// applyRewind moves a device's point back, or, without a device, the target's.
// Never forward: somebody else may have moved it further back meanwhile. Its
// number is larger than the last one, whatever clocks the writers had.
func (v *View) applyRewind(b *pebble.Batch, l *Log, ack *schemas.Ack) error {
	key := string(l.pointKey(nil, ack.DeviceID))
	if ack.DeviceID == "" {
		key = string(l.key(nil, kindTaken))
	}
	at, err := v.seenPoint(key)
	if err != nil {
		return err
	}
	if at == nowhere && ack.DeviceID == "" {
		acked, err := v.seenAcked(string(l.key(nil, kindAcked)))
		if err != nil {
			return err
		}
		if acked > 0 {
			at.To = acked
		}
	}
	to := ack.To
	if at.To >= 0 { // else it was compacted away, and the rewind knows best
		to = min(to, at.To)
	}
	v.setPoint(b, key, SyncPoint{to, max(ack.Rewind, at.Rewind+1)}, ack.Time)
	return nil
}

// setPoint stages a point.
func (v *View) setPoint(b *pebble.Batch, key string, p SyncPoint, time int64) {
	v.acks.points[key] = p
	_ = b.Set([]byte(key), appendPoint(nil, p, time), nil)
}

// seenPoint reads a point as this batch leaves it.
func (v *View) seenPoint(key string) (SyncPoint, error) {
	if p, ok := v.acks.points[key]; ok {
		return p, nil
	}
	p, ok, err := v.syncPoint([]byte(key))
	if err == nil && ok {
		v.acks.points[key] = p
	}
	return p, err
}

// seenAcked reads an id as this batch leaves it.
func (v *View) seenAcked(key string) (int64, error) {
	if id, ok := v.acks.acked[key]; ok {
		return id, nil
	}
	id, err := v.getID([]byte(key))
	if err == nil && id > 0 {
		v.acks.acked[key] = id
	}
	return id, err
}

// appendPoint writes a point. One that was never rewound is written as releases
// wrote it that knew of no rewinds.
func appendPoint(b []byte, p SyncPoint, time int64) []byte {
	b = binary.AppendVarint(binary.AppendUvarint(b, uint64(p.To)), time)
	if p.Rewind > 0 {
		b = binary.AppendUvarint(b, uint64(p.Rewind))
	}
	return b
}

func readPoint(b []byte) (p SyncPoint, time int64, err error) {
	bad := fmt.Errorf("value %x is no sync point", b)
	id, n := binary.Uvarint(b)
	if n <= 0 {
		return p, 0, bad
	}
	b = b[n:]
	if time, n = binary.Varint(b); n <= 0 {
		return p, 0, bad
	}
	p.To = int64(id)
	if b = b[n:]; len(b) > 0 {
		rewind, n := binary.Uvarint(b)
		if n <= 0 || n != len(b) {
			return p, 0, bad
		}
		p.Rewind = int64(rewind)
	}
	return p, time, nil
}

// syncPoint reads a point by its key; nowhere if it is not on record.
func (v *View) syncPoint(key []byte) (p SyncPoint, ok bool, err error) {
	value, err := v.get(key)
	if err != nil || value == nil {
		return nowhere, false, err
	}
	p, _, err = readPoint(value)
	return p, err == nil, err
}

// Point is what a device has confirmed; ok is false if nothing is on record.
func (v *View) Point(l Log, device string) (to int64, ok bool, err error) {
	p, ok, err := v.SyncPoint(l, device)
	return p.To, ok, err
}

// SyncPoint is what a device has confirmed, with the number of the last rewind;
// ok is false if nothing is on record.
func (v *View) SyncPoint(l Log, device string) (p SyncPoint, ok bool, err error) {
	if p, ok, err = v.syncPoint(l.pointKey(nil, device)); !ok {
		p = SyncPoint{}
	}
	return p, ok, err
}

// Taken is where a target is whose devices share a point: the highest id that
// any of them confirmed, since the last rewind if there was one.
func (v *View) Taken(l Log) (SyncPoint, error) {
	p, ok, err := v.syncPoint(l.key(nil, kindTaken))
	if err != nil || ok {
		return p, err
	}
	acked, err := v.Acked(l)
	return SyncPoint{To: acked}, err
}

// Acked is the highest id of the log that any device ever confirmed; 0: none.
func (v *View) Acked(l Log) (int64, error) {
	var room [256]byte
	return v.getID(l.key(room[:0], kindAcked))
}

// DevicePoint is a device's sync point of a log.
type DevicePoint struct {
	DeviceID string
	SyncPoint
	Time int64 // of the last acknowledgement or rewind, epoch ms
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
			p.SyncPoint, p.Time, err = readPoint(it.Value())
		}
		all = append(all, p)
	}
	return all, v.done(it, err)
}
