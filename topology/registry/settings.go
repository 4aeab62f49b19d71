package registry

import (
	"fmt"
	"maps"
	"slices"

	"github.com/tidemarkio/tidemark/schemas"
)

// Settings are the instances and businesses that requests are decided by.
// They do not change: [Settings.With] makes new ones. The zero Settings hold
// nothing.
type Settings struct {
	Revision  int64
	instances map[string]map[string]*schemas.SyncConfig
}

// With applies changes and gives settings at the revision. A change of an
// object that is not there is no error: the objects' new states are what
// counts.
func (s *Settings) With(revision int64, changes []schemas.Change) *Settings {
	next := &Settings{Revision: revision, instances: maps.Clone(s.instances)}
	if next.instances == nil {
		next.instances = make(map[string]map[string]*schemas.SyncConfig)
	}
	own := make(map[string]bool) // instances whose map is already a copy
	for i := range changes {
		c := &changes[i]
		id := c.InstanceID
		switch c.Kind {
		case schemas.PutInstance:
			if next.instances[id] == nil {
				next.instances[id] = make(map[string]*schemas.SyncConfig)
				own[id] = true
			}
		case schemas.DeleteInstance:
			delete(next.instances, id)
		case schemas.PutSync, schemas.DeleteSync:
			if next.instances[id] == nil {
				continue
			}
			if !own[id] {
				next.instances[id] = maps.Clone(next.instances[id])
				own[id] = true
			}
			if c.Kind == schemas.PutSync {
				sync := c.Sync
				next.instances[id][sync.BizType] = &sync
			} else {
				delete(next.instances[id], c.Sync.BizType)
			}
		}
	}
	return next
}

// Changes lists the settings whole, as changes that make them from nothing, in
// a fixed order.
func (s *Settings) Changes() []schemas.Change {
	var all []schemas.Change
	for _, id := range slices.Sorted(maps.Keys(s.instances)) {
		all = append(all, schemas.Change{Kind: schemas.PutInstance, InstanceID: id})
		for _, biz := range slices.Sorted(maps.Keys(s.instances[id])) {
			all = append(all, schemas.Change{Kind: schemas.PutSync, InstanceID: id, Sync: *s.instances[id][biz]})
		}
	}
	return all
}

// Instances lists the ids of all instances, sorted.
func (s *Settings) Instances() []string { return slices.Sorted(maps.Keys(s.instances)) }

// HasInstance reports whether the instance exists.
func (s *Settings) HasInstance(id string) bool {
	_, ok := s.instances[id]
	return ok
}

// Businesses lists an instance's businesses, sorted by bizType.
func (s *Settings) Businesses(instanceID string) []*schemas.SyncConfig {
	m := s.instances[instanceID]
	all := make([]*schemas.SyncConfig, 0, len(m))
	for _, biz := range slices.Sorted(maps.Keys(m)) {
		all = append(all, m[biz])
	}
	return all
}

// Sync finds a business, or nil. It must not be changed.
func (s *Settings) Sync(instanceID, bizType string) *schemas.SyncConfig {
	return s.instances[instanceID][bizType]
}

// Admit checks a request against everything but dedupe, in the fixed order of
// spec D4: instance, then what [schemas.Request.Validate] checks, then config
// online, then scope. It gives the business, or the first fault.
//
// The sync task decides with it; ingress uses it to refuse early what no
// change of settings could heal.
func (s *Settings) Admit(r *schemas.Request) (*schemas.SyncConfig, schemas.Fault) {
	if r.InstanceID == "" {
		return nil, schemas.Fault{Code: schemas.ArgsIsNull, Reason: "instanceId is missing"}
	}
	syncs, ok := s.instances[r.InstanceID]
	if !ok {
		return nil, schemas.Fault{Code: schemas.BizNotOnline, Reason: fmt.Sprintf("no instance %.120q", r.InstanceID)}
	}
	if f := r.Validate(); !f.None() {
		return nil, f
	}
	sync := syncs[r.BizType]
	switch {
	case sync == nil:
		return nil, schemas.Fault{Code: schemas.BizNotOnline, Reason: fmt.Sprintf("no business %q in instance %q", r.BizType, r.InstanceID)}
	case !sync.Online:
		return nil, schemas.Fault{Code: schemas.BizNotOnline, Reason: fmt.Sprintf("business %q is offline", r.BizType)}
	case r.Global() && sync.Scope != schemas.ScopeGlobal:
		return nil, schemas.Fault{Code: schemas.NotSupportGlobal, Reason: fmt.Sprintf("business %q is for single targets: use the single API", r.BizType)}
	case !r.Global() && sync.Scope == schemas.ScopeGlobal:
		return nil, schemas.Fault{Code: schemas.NotSupportGlobal, Reason: fmt.Sprintf("business %q is global: use the global API", r.BizType)}
	}
	return sync, schemas.Fault{}
}
