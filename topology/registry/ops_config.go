package registry

import (
	"github.com/tidemarkio/tidemark/schemas"
)

// CreateInstance makes a tenant.
type CreateInstance struct {
	ID          string `json:"id"`
	Description string `json:"description,omitempty"`
}

// Kind names the operation in the log.
func (CreateInstance) Kind() string { return "createInstance" }

func (o CreateInstance) check() error {
	if err := CheckInstanceID(o.ID); err != nil {
		return err
	}
	return checkText("description", o.Description, 0, MaxDescription)
}

func (o CreateInstance) apply(e *edit) error {
	switch {
	case e.m.Instance(o.ID) != nil:
		return refuse(Exists, "id", "instance %q exists", o.ID)
	case e.m.InstanceCount() >= MaxInstances:
		return refuse(Refused, "", "%d instances: the limit", MaxInstances)
	}
	i := &Instance{ID: o.ID, Description: o.Description}
	e.putInstance(i)
	e.changes = append(e.changes, schemas.Change{Kind: schemas.PutInstance, InstanceID: o.ID})
	e.record(InstanceCreate, i.object(), nil, i.View())
	return nil
}

// ModifyInstance gives a tenant other settings, whole. An empty JWT secret
// keeps the one that is there.
type ModifyInstance struct {
	ID                string             `json:"id"`
	Description       string             `json:"description,omitempty"`
	SessionValidation *SessionValidation `json:"sessionValidation,omitempty"`
	JWT               *JWT               `json:"jwt,omitempty"`
	Expect            int64              `json:"expect,omitempty"` // the instance's revision; 0: any
}

// Kind names the operation in the log.
func (ModifyInstance) Kind() string { return "modifyInstance" }

func (o ModifyInstance) check() error {
	if err := checkText("description", o.Description, 0, MaxDescription); err != nil {
		return err
	}
	if o.SessionValidation != nil {
		if err := o.SessionValidation.Check(); err != nil {
			return at("sessionValidation", err)
		}
	}
	return nil
}

func (o ModifyInstance) apply(e *edit) error {
	was, err := e.instance(o.ID)
	if err == nil {
		err = newer(&was.Stamps, o.Expect)
	}
	if err != nil {
		return err
	}
	is := *was
	is.Description, is.SessionValidation = o.Description, o.SessionValidation
	if is.JWT, err = o.jwt(was.JWT); err != nil {
		return at("jwt", err)
	}
	if is.sameSettings(was) {
		return nil
	}
	e.putInstance(&is)
	e.record(InstanceModify, is.object(), was.View(), is.View())
	return nil
}

func (o ModifyInstance) jwt(was *JWT) (*JWT, error) {
	if o.JWT == nil {
		return nil, nil
	}
	is := *o.JWT
	if is.Secret == "" && was != nil && len(is.Algorithms) > 0 && is.Algorithms[0] == "HS256" {
		is.Secret = was.Secret
	}
	return &is, is.Check()
}

// DeleteInstance removes a tenant that has no configs left.
type DeleteInstance struct {
	ID     string `json:"id"`
	Expect int64  `json:"expect,omitempty"`
}

// Kind names the operation in the log.
func (DeleteInstance) Kind() string { return "deleteInstance" }

func (o DeleteInstance) check() error { return nil }

func (o DeleteInstance) apply(e *edit) error {
	was, err := e.instance(o.ID)
	if err == nil {
		err = newer(&was.Stamps, o.Expect)
	}
	if err != nil {
		return err
	}
	for s := range e.m.Syncs(o.ID) {
		return refuse(Refused, "", "instance %q still has configs, such as %q: delete them first", o.ID, s.BizType)
	}
	e.m.instances = e.m.instances.drop(o.ID)
	e.touch(was.object())
	e.changes = append(e.changes, schemas.Change{Kind: schemas.DeleteInstance, InstanceID: o.ID})
	e.record(InstanceDelete, was.object(), was.View(), nil)
	return nil
}

// CreateSync makes a config.
type CreateSync struct {
	Sync Sync `json:"sync"`
}

// Kind names the operation in the log.
func (CreateSync) Kind() string { return "createSync" }

func (o CreateSync) check() error {
	s := o.Sync
	return s.Check()
}

func (o CreateSync) apply(e *edit) error {
	s := o.Sync
	s.Stamps = Stamps{}
	if _, err := e.instance(s.InstanceID); err != nil {
		return err
	}
	switch {
	case e.m.Sync(s.InstanceID, s.BizType) != nil:
		return refuse(Exists, "bizType", "%q exists in instance %q", s.BizType, s.InstanceID)
	case e.m.SyncCount() >= MaxSyncs:
		return refuse(Refused, "", "%d configs: the limit", MaxSyncs)
	}
	if err := s.Check(); err != nil { // sets what is implied
		return err
	}
	e.putSync(&s)
	e.record(ConfigCreate, s.object(), nil, &s)
	return nil
}

// ModifySync gives a config other values, whole, but for Online: see
// [SetOnline]. Scope, target and multiDevice cannot change (spec D29).
type ModifySync struct {
	Sync   Sync  `json:"sync"`
	Expect int64 `json:"expect,omitempty"` // the config's revision; 0: any
}

// Kind names the operation in the log.
func (ModifySync) Kind() string { return "modifySync" }

func (o ModifySync) check() error {
	s := o.Sync
	return s.Check()
}

func (o ModifySync) apply(e *edit) error {
	s := o.Sync
	was, err := e.sync(s.InstanceID, s.BizType, o.Expect)
	if err != nil {
		return err
	}
	if err := s.Check(); err != nil {
		return err
	}
	if err := was.keeps(&s); err != nil {
		return err
	}
	s.Online, s.Stamps = was.Online, was.Stamps
	if s.Same(was) {
		return nil
	}
	e.putSync(&s)
	e.record(ConfigModify, s.object(), was, &s)
	return nil
}

// keeps refuses a change of what identifies a config's data.
func (s *Sync) keeps(next *Sync) error {
	fixed := func(path string, is any) error {
		return invalid(path, "it is %v and cannot change: ids and sync points were given by it; delete the config and create it anew, or use another bizType", is)
	}
	switch {
	case next.Scope != s.Scope:
		return fixed("scope", s.Scope)
	case next.Target != s.Target:
		return fixed("target", s.Target)
	case next.MultiDevice != s.MultiDevice:
		return fixed("multiDevice", s.MultiDevice)
	}
	return nil
}

// SetOnline takes a config online or offline.
type SetOnline struct {
	InstanceID string `json:"instanceId"`
	BizType    string `json:"bizType"`
	Online     bool   `json:"online"`
	Expect     int64  `json:"expect,omitempty"`
}

// Kind names the operation in the log.
func (SetOnline) Kind() string { return "setOnline" }

func (o SetOnline) check() error { return nil }

func (o SetOnline) apply(e *edit) error {
	was, err := e.sync(o.InstanceID, o.BizType, o.Expect)
	if err != nil || was.Online == o.Online {
		return err
	}
	s := *was
	s.Online = o.Online
	e.putSync(&s)
	action := ConfigOffline
	if s.Online {
		action = ConfigOnline
	}
	e.record(action, s.object(), was, &s)
	return nil
}

// DeleteSync removes a config that is offline (spec D20).
type DeleteSync struct {
	InstanceID string `json:"instanceId"`
	BizType    string `json:"bizType"`
	Expect     int64  `json:"expect,omitempty"`
}

// Kind names the operation in the log.
func (DeleteSync) Kind() string { return "deleteSync" }

func (o DeleteSync) check() error { return nil }

func (o DeleteSync) apply(e *edit) error {
	was, err := e.sync(o.InstanceID, o.BizType, o.Expect)
	if err != nil {
		return err
	}
	if was.Online {
		return refuse(Refused, "online", "%q is online: take it offline before you delete it", o.BizType)
	}
	e.m.syncs = e.m.syncs.drop(syncKey(o.InstanceID, o.BizType))
	e.touch(was.object())
	e.changes = append(e.changes, schemas.Change{
		Kind: schemas.DeleteSync, InstanceID: o.InstanceID, Sync: schemas.SyncConfig{BizType: o.BizType},
	})
	e.record(ConfigDelete, was.object(), was, nil)
	return nil
}

func (e *edit) instance(id string) (*Instance, error) {
	if i := e.m.Instance(id); i != nil {
		return i, nil
	}
	return nil, refuse(NotFound, "instanceId", "no instance %.120q", id)
}

func (e *edit) putInstance(i *Instance) {
	e.stamp(&i.Stamps)
	e.m.instances = e.m.instances.put(i.ID, i)
	e.touch(i.object())
}

func (e *edit) sync(instanceID, bizType string, expect int64) (*Sync, error) {
	if _, err := e.instance(instanceID); err != nil {
		return nil, err
	}
	s := e.m.Sync(instanceID, bizType)
	if s == nil {
		return nil, refuse(NotFound, "bizType", "no config %.120q in instance %q", bizType, instanceID)
	}
	return s, newer(&s.Stamps, expect)
}

func (e *edit) putSync(s *Sync) {
	e.stamp(&s.Stamps)
	e.m.syncs = e.m.syncs.put(syncKey(s.InstanceID, s.BizType), s)
	e.touch(s.object())
	e.changes = append(e.changes, schemas.Change{Kind: schemas.PutSync, InstanceID: s.InstanceID, Sync: s.Config()})
}

func (s *Sync) object() Object {
	return Object{Kind: KindConfig, InstanceID: s.InstanceID, Name: s.BizType}
}

func (i *Instance) object() Object {
	return Object{Kind: KindInstance, InstanceID: i.ID}
}
