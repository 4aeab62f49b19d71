package registry

import (
	"encoding/json"
	"slices"

	"github.com/tidemarkio/tidemark/schemas"
)

// Create is the registry's first command. The first leader proposes it; a
// second one changes nothing, whatever it says.
type Create struct {
	ID         string          `json:"id"`
	ClusterKey Hash            `json:"clusterKey"`
	Pepper     Hash            `json:"pepper"`
	Topology   json.RawMessage `json:"topology"` // frozen, canonical JSON
}

// Kind names the operation in the log.
func (Create) Kind() string { return "create" }

func (o Create) check() error {
	switch {
	case o.ClusterKey == Hash{}, o.Pepper == Hash{}:
		return invalid("clusterKey", "key and pepper must be random")
	case len(o.Topology) == 0:
		return invalid("topology", "it is missing")
	}
	if err := checkName("id", o.ID, maxCommandID); err != nil {
		return err
	}
	return checkJSON("topology", o.Topology, MaxDetailBytes)
}

func (o Create) apply(e *edit) error {
	if e.m.Created() {
		return nil
	}
	e.m.cluster = Cluster{
		ID: o.ID, Key: schemas.ClusterKey(o.ClusterKey), Pepper: o.Pepper,
		Topology: slices.Clone(o.Topology), Created: e.cmd.Time,
	}
	object := Object{Kind: KindRegistry, Name: o.ID}
	e.touch(object) // so that no revision of a registry is 0, which stands for any
	e.record(RegistryCreate, object, nil, o.Topology)
	return nil
}

// SetSignature switches the check of signatures of the sync API for the whole
// service.
type SetSignature struct {
	On bool `json:"on"`
}

// Kind names the operation in the log.
func (SetSignature) Kind() string { return "setSignature" }

func (o SetSignature) check() error { return nil }

func (o SetSignature) apply(e *edit) error {
	if e.m.signature == o.On {
		return nil
	}
	e.m.signature = o.On
	action := SignatureOff
	if o.On {
		action = SignatureOn
	}
	object := Object{Kind: KindService, Name: "signature"}
	e.touch(object)
	e.record(action, object, !o.On, o.On)
	return nil
}

// Note puts an action into the audit that is no change of the registry, such
// as data sent from the console.
type Note struct {
	Action Action          `json:"action"`
	Object Object          `json:"object"`
	Detail json.RawMessage `json:"detail,omitempty"` // up to [MaxDetailBytes]
}

// Kind names the operation in the log.
func (Note) Kind() string { return "note" }

func (o Note) check() error {
	if !slices.ContainsFunc(Actions, func(a ActionInfo) bool { return a.Action == o.Action && a.noted }) {
		return invalid("action", "%.40q is not an action that can be noted", o.Action)
	}
	for _, s := range []string{o.Object.Kind, o.Object.InstanceID, o.Object.Name} {
		if err := checkText("object", s, 0, MaxDescription); err != nil {
			return err
		}
	}
	return checkJSON("detail", o.Detail, MaxDetailBytes)
}

func (o Note) apply(e *edit) error {
	var detail any
	if len(o.Detail) > 0 {
		detail = o.Detail
	}
	e.record(o.Action, o.Object, nil, detail)
	return nil
}

// Announce is a node's word about itself, when it is new or has changed.
type Announce struct {
	Member Member `json:"member"`
}

// Kind names the operation in the log.
func (Announce) Kind() string { return "announce" }

func (o Announce) check() error {
	m := &o.Member
	if m.Version < 1 {
		return invalid("member.version", "%d: 1 or more", m.Version)
	}
	if err := checkName("member.id", m.ID, MaxLabel); err != nil {
		return err
	}
	if err := checkText("member.address", m.Address, 0, MaxURL); err != nil {
		return err
	}
	return checkText("member.admin", m.Admin, 0, MaxURL)
}

func (o Announce) apply(e *edit) error {
	was := e.m.Member(o.Member.ID)
	switch {
	case was != nil && *was == o.Member:
		return nil
	case was == nil && e.m.members.len() >= MaxMembers:
		return refuse(Refused, "", "%d members: the limit", MaxMembers)
	}
	member := o.Member
	e.m.members = e.m.members.put(member.ID, &member)
	e.touch(Object{Kind: KindMember, Name: member.ID})
	return nil
}

// Forget drops a node that was removed.
type Forget struct {
	ID string `json:"id"`
}

// Kind names the operation in the log.
func (Forget) Kind() string { return "forget" }

func (o Forget) check() error { return nil }

func (o Forget) apply(e *edit) error {
	if e.m.Member(o.ID) == nil {
		return nil
	}
	e.m.members = e.m.members.drop(o.ID)
	e.touch(Object{Kind: KindMember, Name: o.ID})
	return nil
}

// PutPlacement says anew which edges keep which partition. It is the leader's
// own doing, many times a day, and not audited.
type PutPlacement struct {
	Placement Placement `json:"placement"`
	Expect    int64     `json:"expect,omitempty"` // the placement's revision; 0: any
}

// Kind names the operation in the log.
func (PutPlacement) Kind() string { return "putPlacement" }

func (o PutPlacement) check() error {
	const partitionsMax, standbysMax = 4096, 8
	if len(o.Placement.Partitions) > partitionsMax {
		return invalid("placement.partitions", "%d: at most %d", len(o.Placement.Partitions), partitionsMax)
	}
	for i := range o.Placement.Partitions {
		if len(o.Placement.Partitions[i].Standbys) > standbysMax {
			return invalid("placement.partitions", "partition %d has more than %d standbys", i, standbysMax)
		}
	}
	return nil
}

func (o PutPlacement) apply(e *edit) error {
	if was := e.m.placement; was != nil {
		if err := newer(&Stamps{Revision: was.Revision}, o.Expect); err != nil {
			return err
		}
	}
	p := o.Placement
	e.m.placement = &p
	e.stamped = append(e.stamped, &p.Revision)
	e.touch(Object{Kind: KindPlacement})
	return nil
}
