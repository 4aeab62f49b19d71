package registry

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/tidemarkio/tidemark/schemas"
)

// ModelVersion is the newest version of the model's rules that this release
// knows. A change of what a known operation does, or a new operation, raises
// it; until every member has announced that version, the new thing is refused,
// so that replicas of different releases stay alike.
//
// Version 2 brought [EndSession], [LockLogin] and [UnlockLogin], and restores
// that end login sessions.
const ModelVersion = 2

// Model is the registry's whole state. It does not change: [Model.Apply] makes
// the next one, which shares with it all that stays. So a snapshot is a
// pointer, and readers need no lock. The zero Model is a registry that was
// never created.
type Model struct {
	revision int64 // rises with every change that a watcher could see
	applied  int64 // commands that were given to the model, refused ones too
	skipped  int64 // of them those that this release could not read

	cluster   Cluster
	rules     int64
	signature bool

	instances table[Instance]
	syncs     table[Sync] // by syncKey
	users     table[User]
	locks     table[Lock] // by lockKey
	members   table[Member]
	placement *Placement

	settings    *lazySettings
	publication publication
	audit       audit
	history     history
	answers     answers
	staged      staged // a restore that is on its way
}

// Cluster is what a registry gets when it is created and keeps for ever.
type Cluster struct {
	ID       string             `json:"id"`
	Key      schemas.ClusterKey `json:"-"` // signs control records; a secret
	Pepper   Hash               `json:"-"` // of key hashes; a secret
	Topology json.RawMessage    `json:"topology"`
	Created  int64              `json:"created"` // epoch ms
}

// TopologyHash names the frozen topology, as topology.Topology.Hash does.
func (c *Cluster) TopologyHash() string {
	sum := sha256.Sum256(c.Topology)
	return hex.EncodeToString(sum[:8])
}

// CheckTopology compares a node's frozen topology with the registry's and says
// in words what differs; nil if nothing does.
func (c *Cluster) CheckTopology(have []byte) error {
	var was, is map[string]any
	if err := errors.Join(readNumbers(c.Topology, &was), readNumbers(have, &is)); err != nil {
		return fmt.Errorf("read frozen topology: %w", err)
	}
	for name := range was {
		if _, ok := is[name]; !ok {
			is[name] = nil
		}
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(is)) {
		if was[name] != is[name] {
			errs = append(errs, fmt.Errorf("%s is %v here, but the cluster was made with %v", name, is[name], was[name]))
		}
	}
	return errors.Join(errs...)
}

// readNumbers reads JSON and leaves numbers as they are written.
func readNumbers(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return d.Decode(into)
}

// Created reports whether the registry exists: its first command was applied.
func (m *Model) Created() bool { return m.cluster.ID != "" }

// Cluster is what the registry was created with.
func (m *Model) Cluster() *Cluster { return &m.cluster }

// Revision is that of the newest change.
func (m *Model) Revision() int64 { return m.revision }

// Applied counts the commands that the model is made of. It orders models:
// of two replicas' models the one that applied more is the newer.
func (m *Model) Applied() int64 { return m.applied }

// Skipped counts the commands that this release could not read.
func (m *Model) Skipped() int64 { return m.skipped }

// Rules is the version of the decision rules that is switched on.
func (m *Model) Rules() int64 { return max(m.rules, 1) }

// Signature reports whether calls of the sync API must be signed.
func (m *Model) Signature() bool { return m.signature }

// Settings are the instances and businesses as tasks will have them once all
// is published.
func (m *Model) Settings() *Settings { return m.settings.get() }

// Instance finds an instance, or nil.
func (m *Model) Instance(id string) *Instance { return m.instances.get(id) }

// Instances walks the instances by id.
func (m *Model) Instances() iter.Seq[*Instance] { return m.instances.all() }

// InstanceCount is how many instances there are.
func (m *Model) InstanceCount() int { return m.instances.len() }

// Sync finds a config, or nil.
func (m *Model) Sync(instanceID, bizType string) *Sync {
	return m.syncs.get(syncKey(instanceID, bizType))
}

// Syncs walks an instance's configs by bizType.
func (m *Model) Syncs(instanceID string) iter.Seq[*Sync] {
	return m.syncs.under(syncKey(instanceID, ""))
}

// SyncCount is how many configs there are, all instances together.
func (m *Model) SyncCount() int { return m.syncs.len() }

// User finds a console user, or nil.
func (m *Model) User(name string) *User { return m.users.get(name) }

// Users walks the console users by name.
func (m *Model) Users() iter.Seq[*User] { return m.users.all() }

// Member finds a node that announced itself, or nil.
func (m *Model) Member(id string) *Member { return m.members.get(id) }

// Members walks the nodes that announced themselves, by id.
func (m *Model) Members() iter.Seq[*Member] { return m.members.all() }

// Placement says which edges keep which partition, or nil.
func (m *Model) Placement() *Placement { return m.placement }

// HashKey is what a secret looks like in the registry: see [Key].
func (m *Model) HashKey(kind KeyKind, secret string) Hash {
	mac := hmac.New(sha256.New, m.cluster.Pepper[:])
	mac.Write([]byte(kind))
	mac.Write([]byte{0})
	mac.Write([]byte(secret))
	return Hash(mac.Sum(nil))
}

// NewKey makes the registry's form of a secret. Created is left to the
// command's time.
func (m *Model) NewKey(kind KeyKind, secret, label string) Key {
	h := m.HashKey(kind, secret)
	k := Key{ID: h.ID(), Hash: h, Label: label}
	if kind == APIKey {
		sign := SigningKey(secret)
		k.Sign = &sign
	}
	return k
}

// CheckKey finds the instance's key that a caller showed, or nil; now is epoch
// ms.
func (m *Model) CheckKey(instanceID string, kind KeyKind, secret string, now int64) *Key {
	i := m.Instance(instanceID)
	if i == nil || len(secret) > MaxKeyLength {
		return nil
	}
	return FindKey(i.Keys(kind), m.HashKey(kind, secret), now)
}

// version is the model version that every member knows.
func (m *Model) version() int {
	v := ModelVersion
	for member := range m.Members() {
		v = min(v, member.Version)
	}
	return v
}

// admins counts the users that can administer.
func (m *Model) admins() int {
	n := 0
	for u := range m.Users() {
		if u.Role == Admin && !u.Disabled {
			n++
		}
	}
	return n
}
