package embedded

import (
	"math/rand/v2"

	"github.com/tidemarkio/tidemark/cmd/node/embedded/guard"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// oddMember is a member of a consumer group that nearly keeps to the protocol:
// requests in any order, ids and epochs mostly as the broker gave them.
type oddMember struct {
	group    string
	id       string
	instance *string
	epoch    int32 // or generation
	owned    []kmsg.ConsumerGroupHeartbeatRequestTopic
}

func newOddMember(r *rand.Rand) *oddMember {
	m := &oddMember{group: []string{"classic", "next", "mixed"}[r.IntN(3)]}
	if r.IntN(3) == 0 {
		name := []string{"i1", "i2"}[r.IntN(2)]
		m.instance = &name
	}
	return m
}

// next makes up the member's next request.
func (m *oddMember) next(r *rand.Rand, topicID [16]byte) kmsg.Request {
	id, epoch, instance := m.id, m.epoch, m.instance
	if r.IntN(10) == 0 {
		id = []string{"", "m", "i1"}[r.IntN(3)]
	}
	if r.IntN(10) == 0 {
		epoch += int32(r.IntN(5)) - 2
	}
	if r.IntN(20) == 0 {
		instance = nil
	}
	classic := m.group == "classic" || m.group == "mixed" && r.IntN(2) == 0
	var req kmsg.Request
	switch n := r.IntN(10); {
	case n == 0:
		req = commitOf(m.group, id, instance, epoch)
	case n == 1:
		req = leaveOf(m.group, id, instance)
	case n == 2:
		req = fetchOffsetsOf(m.group, id, epoch)
	case classic && n < 6:
		req = joinOf(r, m.group, id, instance)
	case classic && n < 8:
		req = syncOf(r, m.group, id, instance, epoch)
	case classic:
		hb := kmsg.NewPtrHeartbeatRequest()
		hb.Group, hb.MemberID, hb.InstanceID, hb.Generation = m.group, id, instance, epoch
		req = hb
	default:
		req = m.heartbeat(r, id, instance, epoch, topicID)
	}
	top, _ := guard.Versions().LookupMaxKeyVersion(req.Key())
	req.SetVersion(top)
	if req.Key() == 11 && r.IntN(3) == 0 {
		req.SetVersion(int16(r.IntN(int(top) + 1)))
	}
	return req
}

func commitOf(group, id string, instance *string, epoch int32) kmsg.Request {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.InstanceID, req.Generation = group, id, instance, epoch
	return req
}

func leaveOf(group, id string, instance *string) kmsg.Request {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = group
	req.Members = []kmsg.LeaveGroupRequestMember{{MemberID: id, InstanceID: instance}}
	return req
}

func fetchOffsetsOf(group, id string, epoch int32) kmsg.Request {
	req := kmsg.NewPtrOffsetFetchRequest()
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group, g.MemberID, g.MemberEpoch = group, &id, epoch
	req.Groups = append(req.Groups, g)
	return req
}

func joinOf(r *rand.Rand, group, id string, instance *string) kmsg.Request {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.InstanceID = group, id, instance
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 6000, int32(r.IntN(50))
	req.ProtocolType = "consumer"
	for _, name := range []string{"range", "cooperative-sticky", "uniform"} {
		if r.IntN(2) == 0 {
			meta := kmsg.NewConsumerMemberMetadata()
			meta.Topics = []string{"odd"}
			p := kmsg.NewJoinGroupRequestProtocol()
			p.Name, p.Metadata = name, meta.AppendTo(nil)
			req.Protocols = append(req.Protocols, p)
		}
	}
	return req
}

func syncOf(r *rand.Rand, group, id string, instance *string, generation int32) kmsg.Request {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.InstanceID, req.Generation = group, id, instance, generation
	if r.IntN(3) > 0 {
		kind, name := "consumer", []string{"range", "cooperative-sticky", "uniform"}[r.IntN(3)]
		req.ProtocolType, req.Protocol = &kind, &name
	}
	if r.IntN(2) == 0 {
		req.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: id, MemberAssignment: []byte{0, 0}}}
	}
	return req
}

func (m *oddMember) heartbeat(r *rand.Rand, id string, instance *string, epoch int32, topicID [16]byte) kmsg.Request {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Group, req.MemberID, req.InstanceID, req.MemberEpoch = m.group, id, instance, epoch
	req.RebalanceTimeoutMillis = -1
	switch r.IntN(6) {
	case 0:
		req.MemberEpoch = 0
	case 1:
		req.MemberEpoch = -1 - int32(r.IntN(2))
	}
	if req.MemberEpoch == 0 || r.IntN(5) == 0 {
		req.RebalanceTimeoutMillis = int32(1 + r.IntN(100))
		req.SubscribedTopicNames = []string{"odd", "none"}[:r.IntN(3)]
		if r.IntN(3) == 0 {
			regex := []string{"o.*", "(", "", ".*"}[r.IntN(4)]
			req.SubscribedTopicRegex = &regex
		}
		if r.IntN(3) == 0 {
			assignor := []string{"uniform", "range", "none"}[r.IntN(3)]
			req.ServerAssignor = &assignor
		}
		req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	switch r.IntN(3) {
	case 0:
		req.Topics = m.owned
	case 1:
		t := kmsg.NewConsumerGroupHeartbeatRequestTopic()
		t.TopicID, t.Partitions = topicID, []int32{0, 1, 7}[:r.IntN(4)]
		req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{t}
	}
	return req
}

// learn takes over what the broker says.
func (m *oddMember) learn(resp kmsg.Response) {
	switch resp := resp.(type) {
	case *kmsg.JoinGroupResponse:
		if resp.MemberID != "" {
			m.id, m.epoch = resp.MemberID, resp.Generation
		}
	case *kmsg.ConsumerGroupHeartbeatResponse:
		if resp.MemberID != nil && *resp.MemberID != "" {
			m.id, m.epoch = *resp.MemberID, resp.MemberEpoch
		}
		if resp.Assignment == nil {
			return
		}
		m.owned = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		for _, t := range resp.Assignment.Topics {
			o := kmsg.NewConsumerGroupHeartbeatRequestTopic()
			o.TopicID, o.Partitions = t.TopicID, t.Partitions
			m.owned = append(m.owned, o)
		}
	}
}
