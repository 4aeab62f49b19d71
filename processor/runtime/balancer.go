package runtime

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// protocolName is the balancer's name in the group protocol; members that do
// not share it cannot be in one group.
const protocolName = "tidemark-lag-aware"

// memberData is what a member tells the leader when it joins.
type memberData struct {
	Name     string          `json:"name,omitempty"`
	Draining bool            `json:"draining,omitempty"`
	Warm     map[int32]int64 `json:"warm,omitempty"`
}

// assignmentData is what the leader tells a member besides its partitions.
type assignmentData struct {
	Members int     `json:"members"`
	Standby []int32 `json:"standby,omitempty"`
	WarmUp  []int32 `json:"warmUp,omitempty"`
	Coming  []int32 `json:"coming,omitempty"` // to be run by the member, now or as soon as the present owner has let go
}

// balancer places partitions by [place] in the group protocol's terms. One
// belongs to one client.
type balancer struct {
	topic      string
	standbys   int
	acceptable int64
	self       func() memberData    // what we say of ourselves
	told       func(assignmentData) // what we are told besides the partitions
}

func (b *balancer) ProtocolName() string { return protocolName }
func (b *balancer) IsCooperative() bool  { return true }

func (b *balancer) JoinGroupMetadata(interests []string, current map[string][]int32, generation int32) []byte {
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Version = 3
	meta.Topics = interests
	meta.Generation = generation
	if owned := current[b.topic]; len(owned) > 0 {
		part := kmsg.NewConsumerMemberMetadataOwnedPartition()
		part.Topic, part.Partitions = b.topic, owned
		meta.OwnedPartitions = append(meta.OwnedPartitions, part)
	}
	data, err := json.Marshal(b.self())
	if err != nil {
		panic(err) // numbers and strings
	}
	meta.UserData = data
	return meta.AppendTo(nil)
}

func (b *balancer) ParseSyncAssignment(assignment []byte) (map[string][]int32, error) {
	var a kmsg.ConsumerMemberAssignment
	if err := a.ReadFrom(assignment); err != nil {
		return nil, fmt.Errorf("read assignment: %w", err)
	}
	var data assignmentData
	if len(a.UserData) > 0 {
		if err := json.Unmarshal(a.UserData, &data); err != nil {
			return nil, fmt.Errorf("read assignment's standbys: %w", err)
		}
	}
	b.told(data)
	return kgo.ParseConsumerSyncAssignment(assignment)
}

func (b *balancer) MemberBalancer(members []kmsg.JoinGroupResponseMember) (kgo.GroupMemberBalancer, map[string]struct{}, error) {
	cb, err := kgo.NewConsumerBalancer(b, members)
	if err != nil {
		return nil, nil, err
	}
	return cb, cb.MemberTopics(), nil
}

// Balance implements kgo.ConsumerBalancerBalance: it runs on the group's leader.
func (b *balancer) Balance(cb *kgo.ConsumerBalancer, topics map[string]int32) kgo.IntoSyncAssignment {
	var members []member
	cb.EachMember(func(m *kmsg.JoinGroupResponseMember, meta *kmsg.ConsumerMemberMetadata) {
		one := member{id: m.MemberID}
		var data memberData
		if json.Unmarshal(meta.UserData, &data) == nil {
			one.draining, one.warm = data.Draining, data.Warm
		}
		for _, t := range meta.OwnedPartitions {
			if t.Topic == b.topic {
				one.owned = t.Partitions
			}
		}
		members = append(members, one)
	})
	dropStaleClaims(cb, members)
	p := place(members, topics[b.topic], b.standbys, b.acceptable)
	plan := cb.NewPlan()
	cb.EachMember(func(m *kmsg.JoinGroupResponseMember, _ *kmsg.ConsumerMemberMetadata) {
		plan.AddPartitions(m, b.topic, p.owners[m.MemberID])
	})
	plan.AdjustCooperative(cb)
	return &syncPlan{plan, p, len(members)}
}

// dropStaleClaims leaves each partition to the claimant of the highest
// generation: a member that missed rebalances still claims what it had.
func dropStaleClaims(cb *kgo.ConsumerBalancer, members []member) {
	generation := map[string]int32{}
	cb.EachMember(func(m *kmsg.JoinGroupResponseMember, meta *kmsg.ConsumerMemberMetadata) {
		generation[m.MemberID] = meta.Generation
	})
	newest := map[int32]int32{}
	for _, m := range members {
		for _, part := range m.owned {
			if g, ok := newest[part]; !ok || generation[m.id] > g {
				newest[part] = generation[m.id]
			}
		}
	}
	for i := range members {
		m := &members[i]
		m.owned = slices.DeleteFunc(slices.Clone(m.owned), func(part int32) bool { return generation[m.id] < newest[part] })
	}
}

// syncPlan adds the standbys to the plan's assignments.
type syncPlan struct {
	plan    *kgo.BalancePlan
	place   placement
	members int
}

func (s *syncPlan) IntoSyncAssignment() []kmsg.SyncGroupRequestGroupAssignment {
	all := s.plan.IntoSyncAssignment()
	for i := range all {
		id := all[i].MemberID
		data, err := json.Marshal(assignmentData{Members: s.members, Standby: s.place.standby[id], WarmUp: s.place.warmUp[id], Coming: s.place.owners[id]})
		if err != nil {
			panic(err) // numbers
		}
		var a kmsg.ConsumerMemberAssignment
		if err := a.ReadFrom(all[i].MemberAssignment); err != nil {
			panic(err) // we have just written it
		}
		a.UserData = data
		all[i].MemberAssignment = a.AppendTo(nil)
	}
	return all
}
