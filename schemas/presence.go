package schemas

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Presence is a record of the presence topic: a session that came, changed or
// went at one of its targets, or (without a session) an edge's lease. It is
// not deterministic and touches nothing but result codes and status pages.
//
// A session counts as online while it is not Gone and its edge's lease, with
// the same epoch, is fresh. So a dead edge takes all its sessions with it.
type Presence struct {
	EdgeID      string
	Epoch       int64  // of the edge process: its start, epoch ms; a newer one voids the older
	Session     string // unique within the edge's epoch; empty: this is a lease
	InstanceID  string
	Target      string   // the user or device it is reachable as; decides the partition
	Dimension   string   // TargetUser or TargetDevice: what Target is
	DeviceID    string   // the session's device
	OS          string   // as the client said, or empty
	AppVersion  string   // as the client said, or empty
	Biz         []string // businesses registered by the session
	Verified    bool     // the tenant called the session valid, or is never asked
	Gone        bool     // the session ended
	Time        int64    // epoch ms at the edge
	LeaseMillis int64    // leases: how long it stays fresh
	UserID      string   // who is logged in at the session, or empty
	Transport   string   // how the session is connected, for status pages
}

// Lease reports that the record is an edge's lease.
func (p *Presence) Lease() bool { return p.Session == "" }

// RecordKey is the compaction key.
func (p *Presence) RecordKey() []byte {
	b := appendString(nil, 1, p.EdgeID)
	b = appendString(b, 2, p.Session)
	b = appendString(b, 3, p.Dimension)
	b = appendString(b, 4, p.InstanceID)
	return appendString(b, 5, p.Target)
}

// Append appends the record's value.
func (p *Presence) Append(b []byte) []byte {
	b = append(b, internalVersion)
	b = appendString(b, 1, p.EdgeID)
	b = appendInt(b, 2, p.Epoch)
	b = appendString(b, 3, p.Session)
	b = appendString(b, 4, p.InstanceID)
	b = appendString(b, 5, p.Target)
	b = appendString(b, 6, p.Dimension)
	b = appendString(b, 7, p.DeviceID)
	b = appendString(b, 8, p.OS)
	b = appendString(b, 9, p.AppVersion)
	for _, biz := range p.Biz {
		b = protowire.AppendTag(b, 10, protowire.BytesType)
		b = protowire.AppendString(b, biz)
	}
	b = appendBool(b, 11, p.Verified)
	b = appendBool(b, 12, p.Gone)
	b = appendInt(b, 13, p.Time)
	b = appendInt(b, 14, p.LeaseMillis)
	b = appendString(b, 15, p.UserID)
	return appendString(b, 16, p.Transport)
}

// Decode reads the record's value. Strings alias b.
func (p *Presence) Decode(b []byte) error {
	*p = Presence{}
	b, err := openInternal("presence", b)
	if err != nil {
		return err
	}
	if err := eachField(b, p.set); err != nil {
		return fmt.Errorf("decode presence: %w", err)
	}
	return nil
}

func (p *Presence) set(f field) error {
	switch f.num {
	case 1:
		return f.text("edge_id", &p.EdgeID)
	case 2:
		return f.int("epoch", &p.Epoch)
	case 3:
		return f.text("session", &p.Session)
	case 4:
		return f.text("instance_id", &p.InstanceID)
	case 5:
		return f.text("target", &p.Target)
	case 6:
		return f.text("dimension", &p.Dimension)
	case 7:
		return f.text("device_id", &p.DeviceID)
	case 8:
		return f.text("os", &p.OS)
	case 9:
		return f.text("app_version", &p.AppVersion)
	case 10:
		var biz string
		if err := f.text("biz", &biz); err != nil {
			return err
		}
		p.Biz = append(p.Biz, biz)
	case 11:
		return f.bool("verified", &p.Verified)
	case 12:
		return f.bool("gone", &p.Gone)
	case 13:
		return f.int("time", &p.Time)
	case 14:
		return f.int("lease_millis", &p.LeaseMillis)
	case 15:
		return f.text("user_id", &p.UserID)
	case 16:
		return f.text("transport", &p.Transport)
	}
	return nil
}
