package registry

import (
	"slices"
)

// AddKey gives an instance another key. With Retire it takes the place of the
// kind's other keys: they open until then, so that callers have time to change.
type AddKey struct {
	InstanceID string  `json:"instanceId"`
	For        KeyKind `json:"for"`
	Key        Key     `json:"key"`              // from [Model.NewKey]
	Retire     int64   `json:"retire,omitempty"` // epoch ms at which the others expire; 0: they stay
}

// Kind names the operation in the log.
func (AddKey) Kind() string { return "addKey" }

func (o AddKey) check() error {
	switch {
	case o.For != APIKey && o.For != ClientKey:
		return invalid("for", "%q: use api or client", o.For)
	case o.Key.Hash == Hash{} || o.Key.ID != o.Key.Hash.ID():
		return invalid("key", "it has no hash, or not the id of its hash")
	case (o.For == APIKey) != (o.Key.Sign != nil):
		return invalid("key.sign", "what signs requests belongs to API keys, and to all of them")
	}
	return checkText("key.label", o.Key.Label, 0, MaxLabel)
}

func (o AddKey) apply(e *edit) error {
	was, err := e.instance(o.InstanceID)
	if err != nil {
		return err
	}
	key := o.Key
	key.Created, key.Used = e.cmd.Time, 0
	keys := slices.DeleteFunc(slices.Clone(was.Keys(o.For)), func(k Key) bool { return !k.Valid(e.cmd.Time) })
	rotated := false
	for i := range keys {
		if keys[i].Hash == key.Hash {
			return refuse(Exists, "key", "instance %q has this key already, as %s", o.InstanceID, keys[i].ID)
		}
		if o.Retire > 0 && (keys[i].Expires == 0 || keys[i].Expires > o.Retire) {
			keys[i].Expires, rotated = o.Retire, true
		}
	}
	if len(keys) >= MaxKeys {
		return refuse(Refused, "", "%d %s keys in instance %q: the limit; revoke one", MaxKeys, o.For, o.InstanceID)
	}
	action := KeyCreate
	if rotated {
		action = KeyRotate
	}
	e.putKeys(was, o.For, append(keys, key))
	e.record(action, keyObject(o.InstanceID, o.For, key.ID), viewKeys(was.Keys(o.For)), key.View())
	return nil
}

// DeleteKey revokes a key at once.
type DeleteKey struct {
	InstanceID string  `json:"instanceId"`
	For        KeyKind `json:"for"`
	ID         string  `json:"id"`
}

// Kind names the operation in the log.
func (DeleteKey) Kind() string { return "deleteKey" }

func (o DeleteKey) check() error { return nil }

func (o DeleteKey) apply(e *edit) error {
	was, err := e.instance(o.InstanceID)
	if err != nil {
		return err
	}
	keys := slices.Clone(was.Keys(o.For))
	i := slices.IndexFunc(keys, func(k Key) bool { return k.ID == o.ID })
	if i < 0 {
		return refuse(NotFound, "id", "no %s key %.40q in instance %q", o.For, o.ID, o.InstanceID)
	}
	gone := keys[i].View()
	e.putKeys(was, o.For, slices.Delete(keys, i, i+1))
	e.record(KeyRevoke, keyObject(o.InstanceID, o.For, o.ID), gone, nil)
	return nil
}

func (e *edit) putKeys(was *Instance, kind KeyKind, keys []Key) {
	is := *was
	is.setKeys(kind, keys)
	e.putInstance(&is)
}

func keyObject(instanceID string, kind KeyKind, id string) Object {
	return Object{Kind: KindKey, InstanceID: instanceID, Name: string(kind) + "/" + id}
}

// KeyUse says when a key last opened something.
type KeyUse struct {
	InstanceID string  `json:"instanceId"`
	For        KeyKind `json:"for"`
	ID         string  `json:"id"`
	Time       int64   `json:"time"` // epoch ms
}

// KeysUsed notes when keys were used. Doors collect that and tell it now and
// then; it is no change that anybody made, so it leaves revision and audit
// alone.
type KeysUsed struct {
	Uses []KeyUse `json:"uses"`
}

// Kind names the operation in the log.
func (KeysUsed) Kind() string { return "keysUsed" }

func (o KeysUsed) check() error {
	if len(o.Uses) > MaxCommandOps {
		return invalid("uses", "%d: at most %d", len(o.Uses), MaxCommandOps)
	}
	return nil
}

func (o KeysUsed) apply(e *edit) error {
	for _, u := range o.Uses {
		was := e.m.Instance(u.InstanceID)
		if was == nil {
			continue
		}
		keys := slices.Clone(was.Keys(u.For))
		i := slices.IndexFunc(keys, func(k Key) bool { return k.ID == u.ID })
		if i < 0 || keys[i].Used >= u.Time {
			continue
		}
		keys[i].Used = u.Time
		is := *was
		is.setKeys(u.For, keys)
		e.m.instances = e.m.instances.put(is.ID, &is)
		e.quietly = true
	}
	return nil
}
