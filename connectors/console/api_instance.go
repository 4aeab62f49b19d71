package console

import (
	"fmt"
	"net/http"

	"github.com/tidemarkio/tidemark/topology/registry"
	"github.com/tidemarkio/tidemark/topology/registry/configfile"
)

// Instance is an instance in a list.
type Instance struct {
	*registry.InstanceView
	Configs int `json:"configs"`
}

// Instances is a list of instances.
type Instances struct {
	Instances []Instance `json:"instances"`
	Revision  int64      `json:"revision"` // of the registry
}

// Syncs is a list of an instance's sync configs.
type Syncs struct {
	Revision int64            `json:"revision"` // of the registry
	Sync     []*registry.Sync `json:"sync"`
}

func (c *Console) listInstances(r *request) (any, error) {
	m, err := c.model(r)
	if err != nil {
		return nil, err
	}
	all := []Instance{}
	for i := range m.Instances() {
		n := 0
		for range m.Syncs(i.ID) {
			n++
		}
		all = append(all, Instance{i.View(), n})
	}
	return Instances{all, m.Revision()}, nil
}

func (c *Console) createInstance(r *request) (any, error) {
	var op registry.CreateInstance
	if err := r.decode(&op); err != nil {
		return nil, err
	}
	return c.change(r, http.StatusCreated, op)
}

// instance finds the instance that the path names. For a change it asks the
// leader: a node that is behind would refuse what it has not seen.
func (c *Console) instance(r *request) (*registry.Model, *registry.Instance, error) {
	find := c.model
	if r.Method != http.MethodGet {
		find = func(r *request) (*registry.Model, error) { return c.newest(r.Context()) }
	}
	m, err := find(r)
	if err != nil {
		return nil, nil, err
	}
	id := r.PathValue("instanceId")
	i := m.Instance(id)
	if i == nil {
		return nil, nil, &Error{http.StatusNotFound, registry.NotFound, "instanceId", fmt.Sprintf("no instance %.120q", id)}
	}
	return m, i, nil
}

func (c *Console) getInstance(r *request) (any, error) {
	_, i, err := c.instance(r)
	if err != nil {
		return nil, err
	}
	return tagged(i.Revision, i.View()), nil
}

// instanceChange is what of an instance may be changed.
type instanceChange struct {
	Description       *string                       `json:"description,omitempty"`
	SessionValidation *configfile.SessionValidation `json:"sessionValidation,omitempty"`
	JWT               *configfile.JWT               `json:"jwt,omitempty"`
}

func (c *Console) putInstance(r *request) (any, error) {
	var in instanceChange
	if err := r.decode(&in); err != nil {
		return nil, err
	}
	_, was, err := c.instance(r)
	if err != nil {
		return nil, err
	}
	expect, err := r.expected()
	if err != nil {
		return nil, err
	}
	if expect == 0 {
		expect = was.Revision // fields left out stay as they were in it
	}
	file := configfile.Instance{Description: in.Description, SessionValidation: in.SessionValidation, JWT: in.JWT}
	op := file.Modify(was)
	op.Expect = expect
	return c.change(r, http.StatusOK, op)
}

func (c *Console) deleteInstance(r *request) (any, error) {
	expect, err := r.expected()
	if err != nil {
		return nil, err
	}
	return c.change(r, http.StatusOK, registry.DeleteInstance{ID: r.PathValue("instanceId"), Expect: expect})
}

func (c *Console) listSyncs(r *request) (any, error) {
	m, i, err := c.instance(r)
	if err != nil {
		return nil, err
	}
	all := []*registry.Sync{}
	for s := range m.Syncs(i.ID) {
		all = append(all, s)
	}
	return Syncs{m.Revision(), all}, nil
}

func (c *Console) createSync(r *request) (any, error) {
	var in configfile.Sync
	if err := r.decode(&in); err != nil {
		return nil, err
	}
	return c.change(r, http.StatusCreated, registry.CreateSync{Sync: in.New(r.PathValue("instanceId"))})
}

// sync finds the config that the path names.
func (c *Console) sync(r *request) (*registry.Sync, error) {
	m, i, err := c.instance(r)
	if err != nil {
		return nil, err
	}
	biz := r.PathValue("bizType")
	s := m.Sync(i.ID, biz)
	if s == nil {
		return nil, &Error{http.StatusNotFound, registry.NotFound, "bizType", fmt.Sprintf("no config %.120q in instance %q", biz, i.ID)}
	}
	return s, nil
}

func (c *Console) getSync(r *request) (any, error) {
	s, err := c.sync(r)
	if err != nil {
		return nil, err
	}
	return tagged(s.Revision, s), nil
}

func (c *Console) putSync(r *request) (any, error) {
	var in configfile.Sync
	if err := r.decode(&in); err != nil {
		return nil, err
	}
	was, err := c.sync(r)
	if err != nil {
		return nil, err
	}
	if in.BizType != "" && in.BizType != was.BizType {
		return nil, &Error{http.StatusBadRequest, registry.Invalid, "bizType", fmt.Sprintf("the path says %q: an identifier cannot change", was.BizType)}
	}
	expect, err := r.expected()
	if err != nil {
		return nil, err
	}
	if expect == 0 {
		expect = was.Revision
	}
	is := in.Over(was)
	ops := []registry.Op{registry.ModifySync{Sync: is, Expect: expect}}
	if is.Online != was.Online {
		ops = append(ops, registry.SetOnline{InstanceID: is.InstanceID, BizType: is.BizType, Online: is.Online})
	}
	return c.change(r, http.StatusOK, ops...)
}

func (c *Console) deleteSync(r *request) (any, error) {
	expect, err := r.expected()
	if err != nil {
		return nil, err
	}
	return c.change(r, http.StatusOK, registry.DeleteSync{InstanceID: r.PathValue("instanceId"), BizType: r.PathValue("bizType"), Expect: expect})
}

func (c *Console) setOnline(online bool) func(*request) (any, error) {
	return func(r *request) (any, error) {
		expect, err := r.expected()
		if err != nil {
			return nil, err
		}
		return c.change(r, http.StatusOK, registry.SetOnline{
			InstanceID: r.PathValue("instanceId"), BizType: r.PathValue("bizType"), Online: online, Expect: expect,
		})
	}
}
