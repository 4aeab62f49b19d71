package edge

import (
	"slices"

	"github.com/tidemarkio/tidemark/connectors/edge/session"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/state/view"
)

// Counts are the numbers of connections.
type Counts struct {
	Connections int // connections with a session
	Handshakes  int // connections being set up
	Max         int // connections that there may be
}

// Counts says how many connections there are.
func (s *Server) Counts() Counts {
	return Counts{Connections: s.hub.len(), Handshakes: int(s.handshakes.Load()), Max: s.cfg.ConnectionsMax}
}

// PartitionStatus is how one oplog partition stands at this edge.
type PartitionStatus struct {
	Partition int32
	Offset    int64  // of the oplog, to be read next
	End       int64  // of the oplog, as last heard
	Lag       int64  // records between them
	Acks      int64  // offset of the acks partition, to be read next
	Parked    string // why it stands still; empty: it does not
	Online    int64  // sessions announced at targets of this partition
	Repeats   int64  // records that came again since the start
	Orphans   int64  // records whose predecessor was missing
}

// Partitions says how the partitions stand.
func (s *Server) Partitions() []PartitionStatus {
	all := make([]PartitionStatus, len(s.partitions))
	for i, p := range s.partitions {
		at := p.view.Position()
		all[i] = PartitionStatus{
			Partition: p.n, Offset: at.Oplog, End: p.end.Load(), Lag: max(0, p.end.Load()-at.Oplog), Acks: at.Acks,
			Online: p.online.Load(), Repeats: p.repeats.Load(), Orphans: p.orphans.Load(),
		}
		if why := p.parked.Load(); why != nil {
			all[i].Parked = *why
		}
	}
	return all
}

// Position is where the view of a partition stands.
func (s *Server) Position(partition int32) view.Position {
	return s.partitions[partition].view.Position()
}

// SessionStatus is one live session. Of one at another edge, what presence does
// not tell is left out: Blocked, Unacked and Biz.
type SessionStatus struct {
	EdgeID     string
	Session    string
	Transport  string
	DeviceID   string
	UserID     string
	OS         string
	AppVersion string
	Foreground bool
	Verified   bool // the tenant called the user's session valid
	Blocked    bool // entries wait for the client to acknowledge some
	Unacked    session.Window
	Biz        []schemas.Standing
}

// BusinessStatus is how a business stands for a target.
type BusinessStatus struct {
	BizType  string
	Head     int64 // newest id
	First    int64 // oldest id that is kept; 0: none
	Acked    int64 // highest id that any device confirmed
	Points   []view.DevicePoint
	Pushes   int64 // accepted in the last 30 days
	Arrivals int64 // confirmed in the last 30 days
}

// TargetStatus is what is known of a user or device.
type TargetStatus struct {
	InstanceID string
	Dimension  string // schemas.TargetUser or TargetDevice
	Target     string
	Connected  bool            // here, or reachable at another edge
	Sessions   []SessionStatus // those here come first
	Devices    []view.Device   // that a user was online with
	Businesses []BusinessStatus
	Pushes     int64 // over all businesses of the dimension
	Arrivals   int64
}

// Target says how a user or device stands. Someone who was never heard of has
// no businesses; that is no error.
func (s *Server) Target(instanceID, dimension, target string) (*TargetStatus, error) {
	t := &TargetStatus{InstanceID: instanceID, Dimension: dimension, Target: target}
	t.Sessions = append(s.sessionsOf(instanceID, dimension, target), s.elsewhere.sessionsOf(instanceID, dimension, target)...)
	t.Connected = len(t.Sessions) > 0
	v := s.partitionOf(target).view
	if dimension == schemas.TargetUser {
		var err error
		if t.Devices, err = v.Devices(instanceID, target); err != nil {
			return nil, err
		}
	}
	businesses, err := v.Businesses(instanceID, target)
	if err != nil {
		return nil, err
	}
	counts, err := v.Stats(instanceID, target, s.nowMillis())
	if err != nil {
		return nil, err
	}
	slices.Sort(businesses)
	for _, biz := range businesses {
		cfg := s.settings().Sync(instanceID, biz)
		if cfg != nil && cfg.Target != dimension {
			continue // another dimension's name that happens to be the same
		}
		b, err := s.business(view.Log{InstanceID: instanceID, Target: target, BizType: biz}, cfg, counts[biz])
		if err != nil {
			return nil, err
		}
		t.Businesses = append(t.Businesses, b)
		t.Pushes += b.Pushes
		t.Arrivals += b.Arrivals
	}
	return t, nil
}

func (s *Server) business(l view.Log, cfg *schemas.SyncConfig, c view.Counts) (BusinessStatus, error) {
	b := BusinessStatus{BizType: l.BizType, Pushes: c.Pushes, Arrivals: c.Arrivals}
	p := s.partitionOf(l.Target)
	var err error
	if b.Points, err = p.view.Points(l); err != nil {
		return b, err
	}
	if b.Acked, err = p.highest(l); err != nil {
		return b, err
	}
	if cfg == nil || cfg.Scope != schemas.ScopeGlobal {
		if b.Head, err = p.head(l); err == nil {
			b.First, err = p.view.First(l)
		}
		return b, err
	}
	l.Target = ""
	if b.Head, err = s.globals.store.Head(l); err != nil {
		return b, err
	}
	if b.First, err = s.globals.store.First(l); err != nil {
		return b, err
	}
	counts, err := s.globals.store.Stats(l.InstanceID, "", s.nowMillis())
	b.Pushes = counts[l.BizType].Pushes
	return b, err
}

// sessionsOf lists the live sessions of a target.
func (s *Server) sessionsOf(instanceID, dimension, target string) []SessionStatus {
	var clients []*client
	if dimension == schemas.TargetDevice {
		if c := s.hub.find(deviceKey{instanceID, target}); c != nil {
			clients = append(clients, c)
		}
	} else {
		clients = s.users.sessions(userKey{instanceID, target})
	}
	var all []SessionStatus
	for _, c := range clients {
		if st, ok := c.status(); ok {
			all = append(all, st)
		}
	}
	return all
}

func (c *client) status() (SessionStatus, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := c.session.Identity()
	return SessionStatus{
		EdgeID: c.s.cfg.EdgeID, Session: c.name, Transport: c.wire.name(), DeviceID: id.DeviceID, UserID: id.UserID, OS: id.OS, AppVersion: id.AppVersion,
		Foreground: c.session.Foreground(), Verified: c.session.Verified(), Blocked: c.session.Blocked(),
		Unacked: c.session.Unacked(), Biz: c.session.Standings(),
	}, !c.closed
}

// Push is one entry of a target, as operators see it.
type Push struct {
	BizType      string
	ID           int64
	ThirdMsgID   string
	Bytes        int
	Time         int64 // stream time at acceptance, epoch ms
	ValidTimeEnd int64
	Arrived      bool // a device confirmed it, or one behind it
}

// PushListMax bounds a push list.
const PushListMax = 1000

// Pushes lists the newest kept entries of a target, newest first within each
// business, at most limit of each (0: PushListMax).
func (s *Server) Pushes(instanceID, target string, limit int) ([]Push, error) {
	if limit <= 0 || limit > PushListMax {
		limit = PushListMax
	}
	p := s.partitionOf(target)
	businesses, err := p.view.Businesses(instanceID, target)
	if err != nil {
		return nil, err
	}
	slices.Sort(businesses)
	var all []Push
	for _, biz := range businesses {
		l := view.Log{InstanceID: instanceID, Target: target, BizType: biz}
		acked, err := p.highest(l)
		if err != nil {
			return nil, err
		}
		n := 0
		if err := p.view.Newest(l, func(e *schemas.Entry) bool {
			all = append(all, Push{
				BizType: biz, ID: e.OplogID, ThirdMsgID: string([]byte(e.ThirdMsgID)), Bytes: len(e.Payload) + len(e.Binary),
				Time: e.StreamTime, ValidTimeEnd: e.ValidTimeEnd, Arrived: e.OplogID <= acked,
			})
			n++
			return n < limit
		}); err != nil {
			return nil, err
		}
	}
	return all, nil
}
