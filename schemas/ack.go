package schemas

import "fmt"

// Ack is a sync point on the acks topic: what a device has durably received of
// one business. The topic is compacted by [Ack.RecordKey]; its partition is
// that of the link token (for a global business: of the session's own target).
//
// One without a business is a claim: somebody connected with a device id that
// nobody had connected with before. Target and DeviceID are the device, To names
// who claims; of several records the first in the partition counts.
type Ack struct {
	InstanceID string
	BizType    string // empty: a claim
	Target     string // the link token; for a global business the session's user or device
	DeviceID   string // who received; also for single-device businesses, where the point is the target's
	To         int64  // every id up to and including this is received
	Time       int64  // epoch ms at the edge, for people
	Entries    int64  // delivered entries that it newly confirms, for statistics
	// Rewind is the number of the last rewind of the point that its writer knew
	// of; 0: none. What was confirmed before a rewind does not move the point
	// any more.
	Rewind int64
	// Back says that this is a rewind itself, with Rewind as its number: the
	// point goes back to To, so that what is behind it is delivered again.
	// DeviceID is empty where the point is the target's.
	Back bool
}

// Claim reports that the record claims a device id.
func (a *Ack) Claim() bool { return a.BizType == "" }

// RecordKey is the ack's compaction key: length-prefixed parts, so that no
// choice of names makes two alike. Rewinds have keys of their own: an
// acknowledgement that comes late must not take their place.
func (a *Ack) RecordKey() []byte {
	b := make([]byte, 0, 8+len(a.InstanceID)+len(a.BizType)+len(a.Target)+len(a.DeviceID))
	b = appendString(b, 1, a.InstanceID)
	b = appendString(b, 2, a.BizType)
	b = appendString(b, 3, a.Target)
	b = appendString(b, 4, a.DeviceID)
	return appendBool(b, 5, a.Back)
}

// Append appends the record's value.
func (a *Ack) Append(b []byte) []byte {
	b = append(b, internalVersion)
	b = appendString(b, 1, a.InstanceID)
	b = appendString(b, 2, a.BizType)
	b = appendString(b, 3, a.Target)
	b = appendString(b, 4, a.DeviceID)
	b = appendInt(b, 5, a.To)
	b = appendInt(b, 6, a.Time)
	b = appendInt(b, 7, a.Entries)
	b = appendInt(b, 8, a.Rewind)
	return appendBool(b, 9, a.Back)
}

// Decode reads the record's value. Strings alias b.
func (a *Ack) Decode(b []byte) error {
	*a = Ack{}
	b, err := openInternal("ack", b)
	if err != nil {
		return err
	}
	if err := eachField(b, a.set); err != nil {
		return fmt.Errorf("decode ack: %w", err)
	}
	return nil
}

func (a *Ack) set(f field) error {
	switch f.num {
	case 1:
		return f.text("instance_id", &a.InstanceID)
	case 2:
		return f.text("biz_type", &a.BizType)
	case 3:
		return f.text("target", &a.Target)
	case 4:
		return f.text("device_id", &a.DeviceID)
	case 5:
		return f.int("to", &a.To)
	case 6:
		return f.int("time", &a.Time)
	case 7:
		return f.int("entries", &a.Entries)
	case 8:
		return f.int("rewind", &a.Rewind)
	case 9:
		return f.bool("back", &a.Back)
	}
	return nil
}
