package configfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// Plan is what has to change for the registry to be as a file says.
type Plan struct {
	Ops []registry.Op
	// Diff is the plan for people, a line for each thing: + made, ~ changed,
	// - removed.
	Diff []string

	paths []string // where in the file each operation comes from
}

// Plan compares the file with a model. With prune it removes what the file
// does not list. All that the model would refuse is reported at once, with
// lines.
func (f *File) Plan(m *registry.Model, prune bool) (*Plan, error) {
	p := &Plan{}
	if f.Signature != nil && *f.Signature != m.Signature() {
		p.add("signature", registry.SetSignature{On: *f.Signature}, "~ signature: %s -> %s", onOff(m.Signature()), onOff(*f.Signature))
	}
	listed := make(map[string]bool)
	for i := range f.Instances {
		listed[f.Instances[i].ID] = true
		p.instance(m, &f.Instances[i], fmt.Sprintf("instances[%d]", i), prune)
	}
	if prune {
		for i := range m.Instances() {
			if !listed[i.ID] {
				p.removeInstance(m, i)
			}
		}
	}
	return p, p.judge(m, f)
}

func (p *Plan) add(path string, op registry.Op, format string, args ...any) {
	p.Ops, p.paths = append(p.Ops, op), append(p.paths, path)
	if format != "" {
		p.Diff = append(p.Diff, fmt.Sprintf(format, args...))
	}
}

// judge has the model say what it would refuse.
func (p *Plan) judge(m *registry.Model, f *File) error {
	var errs []error
	for i, err := range m.Judge(p.Ops) {
		errs = append(errs, f.lines.fault(p.paths[i], err))
	}
	return errors.Join(errs...)
}

// Commands cuts the plan into commands that are small enough for the log, in
// the order in which they must be applied. Base gives them actor, source and
// time; their IDs are its ID and a number. Each expects the revision that the
// one before it left: who proposes them fills Expect in.
func (p *Plan) Commands(base registry.Command) []registry.Command {
	const bytesMax = registry.MaxCommandBytes / 2
	var all []registry.Command
	size := bytesMax
	for _, op := range p.Ops {
		b, err := json.Marshal(op)
		if err != nil {
			panic(err) // our own plain structs
		}
		n := len(b) + 64
		if size+n > bytesMax || len(all[len(all)-1].Ops) == registry.MaxCommandOps {
			c := base
			c.ID, c.Ops = fmt.Sprintf("%s-%d", base.ID, len(all)), nil
			all, size = append(all, c), 0
		}
		size += n
		c := &all[len(all)-1]
		c.Ops = append(c.Ops, op)
	}
	return all
}

func (p *Plan) instance(m *registry.Model, in *Instance, path string, prune bool) {
	was := m.Instance(in.ID)
	if was == nil {
		p.add(path, registry.CreateInstance{ID: in.ID, Description: value(in.Description, "")}, "+ instance %s", in.ID)
		was = &registry.Instance{ID: in.ID, Description: value(in.Description, "")}
	}
	p.tenant(was, in, path)
	p.keys(m, was, registry.ClientKey, in.ClientKey, path+".clientKey", prune)
	p.keys(m, was, registry.APIKey, in.APIKeys, path+".apiKeys", prune)
	for i := range in.Sync {
		p.sync(m, in.ID, &in.Sync[i], fmt.Sprintf("%s.sync[%d]", path, i))
	}
	if !prune || in.Sync == nil {
		return
	}
	for s := range m.Syncs(in.ID) {
		if !slices.ContainsFunc(in.Sync, func(l Sync) bool { return l.BizType == s.BizType }) {
			p.removeSync(s)
		}
	}
}

// tenant plans an instance's own settings.
func (p *Plan) tenant(was *registry.Instance, in *Instance, path string) {
	is := in.Modify(was)
	var changed []string
	if is.Description != was.Description {
		changed = append(changed, arrow("description", was.Description, is.Description))
	}
	if !sameJSON(is.SessionValidation, was.SessionValidation) {
		changed = append(changed, "sessionValidation")
	}
	if !sameJSON(is.JWT, was.JWT) {
		changed = append(changed, "jwt")
	}
	if len(changed) > 0 {
		p.add(path, is, "~ instance %s: %s", in.ID, strings.Join(changed, ", "))
	}
}

// Modify is the operation that gives an instance the settings which are
// mentioned here; the others stay as they are.
func (in *Instance) Modify(was *registry.Instance) registry.ModifyInstance {
	is := registry.ModifyInstance{
		ID: was.ID, Description: value(in.Description, was.Description), SessionValidation: was.SessionValidation, JWT: was.JWT,
	}
	if in.SessionValidation != nil {
		is.SessionValidation = in.SessionValidation.form()
	}
	if in.JWT != nil {
		is.JWT = in.JWT.form()
		if is.JWT != nil && is.JWT.Secret == "" && was.JWT != nil && slices.Equal(is.JWT.Algorithms, was.JWT.Algorithms) {
			is.JWT.Secret = was.JWT.Secret // who leaves it out keeps it
		}
	}
	return is
}

func (v *SessionValidation) form() *registry.SessionValidation {
	if *v == (SessionValidation{}) {
		return nil
	}
	form := registry.SessionValidation(*v)
	return &form
}

func (j *JWT) form() *registry.JWT {
	if sameJSON(j, &JWT{}) {
		return nil
	}
	form := registry.JWT(*j)
	return &form
}

// keys plans an instance's keys of a kind. They are compared by their hashes.
func (p *Plan) keys(m *registry.Model, was *registry.Instance, kind registry.KeyKind, want Keys, path string, prune bool) {
	wanted := make(map[registry.Hash]bool)
	for i, secret := range want {
		key := m.NewKey(kind, secret, "")
		wanted[key.Hash] = true
		if !slices.ContainsFunc(was.Keys(kind), func(k registry.Key) bool { return k.Hash == key.Hash }) {
			p.add(fmt.Sprintf("%s[%d]", path, i), registry.AddKey{InstanceID: was.ID, For: kind, Key: key}, "+ %s key %s of %s", kind, key.ID, was.ID)
		}
	}
	if !prune || want == nil {
		return
	}
	for _, k := range was.Keys(kind) {
		if !wanted[k.Hash] {
			p.add(path, registry.DeleteKey{InstanceID: was.ID, For: kind, ID: k.ID}, "- %s key %s of %s", kind, k.ID, was.ID)
		}
	}
}

func (p *Plan) sync(m *registry.Model, instanceID string, s *Sync, path string) {
	was := m.Sync(instanceID, s.BizType)
	if was == nil {
		is := s.New(instanceID)
		p.add(path, registry.CreateSync{Sync: is}, "+ config %s/%s (%s)", instanceID, s.BizType, traits(&is))
		return
	}
	is := s.Over(was)
	var changed []string
	for _, c := range differences(was, &is) {
		if c.name != "online" {
			changed = append(changed, arrow(c.name, c.was, c.is))
		}
	}
	if len(changed) > 0 {
		p.add(path, registry.ModifySync{Sync: is}, "~ config %s/%s: %s", instanceID, s.BizType, strings.Join(changed, ", "))
	}
	if is.Online != was.Online {
		p.add(path, registry.SetOnline{InstanceID: instanceID, BizType: s.BizType, Online: is.Online},
			"~ config %s/%s: %s -> %s", instanceID, s.BizType, online(was.Online), online(is.Online))
	}
}

// New is a config that is made from what is said here, and defaults.
func (s *Sync) New(instanceID string) registry.Sync {
	return s.Over(&registry.Sync{InstanceID: instanceID, BizType: s.BizType, Persistent: true, Online: true})
}

// Over is a config changed by what is said here; fields left out stay.
func (s *Sync) Over(was *registry.Sync) registry.Sync {
	is := *was
	is.Stamps = registry.Stamps{}
	if s.Scope != "" {
		is.Scope = s.Scope
	}
	if s.Target != "" {
		is.Target = s.Target
	}
	is.MultiDevice = value(s.MultiDevice, was.MultiDevice)
	is.Persistent = value(s.Persistent, was.Persistent)
	is.Consistency = value(s.Consistency, was.Consistency)
	is.Online = value(s.Online, was.Online)
	is.Description = value(s.Description, was.Description)
	if is.Scope == schemas.ScopeGlobal {
		is.MultiDevice = true // implied, whatever the file says
	}
	switch {
	case s.Repush != nil:
		r := registry.Repush(*s.Repush)
		is.Repush = &r
	case !is.Persistent:
		is.Repush = nil
	case is.Repush == nil:
		is.Repush = &registry.Repush{Mode: schemas.RepushQueue}
	}
	return is
}

// removeSync takes a config offline, since only such are deleted, and deletes it.
func (p *Plan) removeSync(s *registry.Sync) {
	path := fmt.Sprintf("%s/%s", s.InstanceID, s.BizType)
	if s.Online {
		p.add(path, registry.SetOnline{InstanceID: s.InstanceID, BizType: s.BizType}, "")
	}
	p.add(path, registry.DeleteSync{InstanceID: s.InstanceID, BizType: s.BizType}, "- config %s", path)
}

func (p *Plan) removeInstance(m *registry.Model, i *registry.Instance) {
	for s := range m.Syncs(i.ID) {
		p.removeSync(s)
	}
	p.add(i.ID, registry.DeleteInstance{ID: i.ID}, "- instance %s", i.ID)
}

// difference is a field that two configs disagree on.
type difference struct{ name, was, is string }

func differences(a, b *registry.Sync) []difference {
	var all []difference
	field := func(name, was, is string) {
		if was != is {
			all = append(all, difference{name, was, is})
		}
	}
	field("scope", a.Scope, b.Scope)
	field("target", a.Target, b.Target)
	field("multiDevice", fmt.Sprint(a.MultiDevice), fmt.Sprint(b.MultiDevice))
	field("persistent", fmt.Sprint(a.Persistent), fmt.Sprint(b.Persistent))
	field("repush", repush(a), repush(b))
	field("consistency", fmt.Sprint(a.Consistency), fmt.Sprint(b.Consistency))
	field("online", fmt.Sprint(a.Online), fmt.Sprint(b.Online))
	field("description", a.Description, b.Description)
	return all
}

func repush(s *registry.Sync) string {
	switch {
	case s.Repush == nil:
		return "none"
	case s.Repush.Mode == schemas.RepushThreshold:
		return fmt.Sprintf("threshold %d", s.Repush.Threshold)
	}
	return s.Repush.Mode
}

// traits is a config in a few words.
func traits(s *registry.Sync) string {
	words := []string{s.Scope, s.Target}
	if s.MultiDevice {
		words = append(words, "multi-device")
	}
	if s.Persistent {
		words = append(words, "persistent", repush(s))
	} else {
		words = append(words, "not persistent")
	}
	if s.Consistency {
		words = append(words, "consistency")
	}
	return strings.Join(append(words, online(s.Online)), ", ")
}

func arrow(name, was, is string) string { return fmt.Sprintf("%s %q -> %q", name, was, is) }

func online(on bool) string {
	if on {
		return "online"
	}
	return "offline"
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func value[T any](v *T, otherwise T) T {
	if v == nil {
		return otherwise
	}
	return *v
}

// sameJSON compares small plain values.
func sameJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// Export is the registry as a file that could be applied again: without keys
// and secrets, which it does not know or does not tell.
func Export(m *registry.Model) *File {
	signature := m.Signature()
	f := &File{Signature: &signature, Instances: []Instance{}}
	for i := range m.Instances() {
		in := Instance{ID: i.ID, Description: text(i.Description), Sync: []Sync{}}
		if v := i.SessionValidation; v != nil {
			form := SessionValidation(*v)
			in.SessionValidation = &form
		}
		if j := i.JWT; j != nil && j.Secret == "" {
			form := JWT(*j)
			in.JWT = &form
		}
		for s := range m.Syncs(i.ID) {
			in.Sync = append(in.Sync, exportSync(s))
		}
		f.Instances = append(f.Instances, in)
	}
	return f
}

func exportSync(s *registry.Sync) Sync {
	c := *s
	e := Sync{
		BizType: c.BizType, Scope: c.Scope, Target: c.Target, MultiDevice: &c.MultiDevice, Persistent: &c.Persistent,
		Consistency: &c.Consistency, Online: &c.Online, Description: text(c.Description),
	}
	if c.Repush != nil {
		r := Repush(*c.Repush)
		e.Repush = &r
	}
	return e
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
