package schemas

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// MaxControlBytes bounds a control record; larger sets of changes go as
// several records, each with a revision of its own.
const MaxControlBytes = 512 << 10

// ErrMAC says that a control record was not written with this cluster's key.
var ErrMAC = errors.New("control record is not signed with this cluster's key")

// ClusterKey signs control records.
type ClusterKey [32]byte

// ID names the key without revealing it.
func (k ClusterKey) ID() string {
	sum := sha256.Sum256(append([]byte("tidemark cluster key id"), k[:]...))
	return hex.EncodeToString(sum[:4])
}

// Control is a record in a requests partition that the registry's leader
// writes: changes of settings, or a tick. It is how configuration and time
// reach a task: as input.
type Control struct {
	Partition int32    // where it belongs; a copy elsewhere is refused
	Time      int64    // epoch ms; stream time becomes the largest seen
	Revision  int64    // settings revision after the changes; 0 for a tick
	Rules     int64    // if not 0: switch to this version of the decision rules
	Changes   []Change // applied when Revision is above the task's
}

// ChangeKind is what a [Change] does.
type ChangeKind int64

// The kinds of change.
const (
	PutInstance ChangeKind = iota + 1
	DeleteInstance
	PutSync
	DeleteSync
)

// Change is the new state of one settings object, or its removal. Applying one
// twice, or after later ones were lost, does no harm.
type Change struct {
	Kind       ChangeKind
	InstanceID string
	Sync       SyncConfig // PutSync: whole; DeleteSync: BizType only
}

// Dimensions of a business: who its link tokens are.
const (
	TargetUser   = "user"
	TargetDevice = "device"
)

// Re-push modes of a business.
const (
	RepushQueue     = "queue"
	RepushThreshold = "threshold"
)

// SyncConfig is one business (bizType) of an instance, as operators set it.
type SyncConfig struct {
	BizType     string
	Scope       string // ScopeSpecified or ScopeGlobal; immutable
	Target      string // TargetUser or TargetDevice; immutable
	MultiDevice bool   // immutable
	Persistent  bool
	RepushMode  string // RepushQueue or RepushThreshold; empty when not persistent
	Threshold   int64  // RepushThreshold only: newest N are kept
	Consistency bool   // push only to sessions that the tenant called valid
	Online      bool
	Description string
}

// Append appends the control record's value: version, MAC, body.
func (c *Control) Append(b []byte, key ClusterKey) []byte {
	body := c.appendBody(nil)
	b = append(b, internalVersion)
	b = append(b, controlMAC(key, internalVersion, body)...)
	return append(b, body...)
}

// controlMAC signs the version too: only the cluster itself can make a task
// believe that a newer release is about.
func controlMAC(key ClusterKey, version byte, body []byte) []byte {
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte{version})
	mac.Write(body)
	return mac.Sum(nil)
}

func (c *Control) appendBody(b []byte) []byte {
	b = appendInt(b, 1, int64(c.Partition))
	b = appendInt(b, 2, c.Time)
	b = appendInt(b, 3, c.Revision)
	b = appendInt(b, 4, c.Rules)
	for i := range c.Changes {
		b = protowire.AppendTag(b, 5, protowire.BytesType)
		b = protowire.AppendBytes(b, c.Changes[i].append(nil))
	}
	return b
}

// Decode verifies and reads a control record. Its strings do not alias b. An
// error wraps [ErrMAC] or, in a signed record only, [ErrVersion].
func (c *Control) Decode(b []byte, key ClusterKey) error {
	*c = Control{}
	const head = 1 + sha256.Size
	if len(b) < head {
		return fmt.Errorf("decode control record: %d bytes: %w", len(b), ErrMAC)
	}
	version, sum, body := b[0], b[1:head], b[head:]
	if !hmac.Equal(sum, controlMAC(key, version, body)) {
		return fmt.Errorf("decode control record: %w", ErrMAC)
	}
	if version != internalVersion {
		return fmt.Errorf("decode control record: version %d: %w", version, ErrVersion)
	}
	// Settings live long; the record's buffer should not live with them.
	if err := eachField(bytes.Clone(body), c.set); err != nil {
		return fmt.Errorf("decode control record: %w", err)
	}
	return nil
}

func (c *Control) set(f field) error {
	switch f.num {
	case 1:
		var p int64
		err := f.int("partition", &p)
		c.Partition = int32(p)
		return err
	case 2:
		return f.int("time", &c.Time)
	case 3:
		return f.int("revision", &c.Revision)
	case 4:
		return f.int("rules", &c.Rules)
	case 5:
		if err := f.nested("changes"); err != nil {
			return err
		}
		var ch Change
		if err := ch.Decode(f.data); err != nil {
			return err
		}
		c.Changes = append(c.Changes, ch)
	}
	return nil
}

// Append appends the change's protobuf form, as stores keep it.
func (c *Change) Append(b []byte) []byte { return c.append(b) }

func (c *Change) append(b []byte) []byte {
	b = appendInt(b, 1, int64(c.Kind))
	b = appendString(b, 2, c.InstanceID)
	s := &c.Sync
	b = appendString(b, 3, s.BizType)
	b = appendString(b, 4, s.Scope)
	b = appendString(b, 5, s.Target)
	b = appendBool(b, 6, s.MultiDevice)
	b = appendBool(b, 7, s.Persistent)
	b = appendString(b, 8, s.RepushMode)
	b = appendInt(b, 9, s.Threshold)
	b = appendBool(b, 10, s.Consistency)
	b = appendBool(b, 11, s.Online)
	return appendString(b, 12, s.Description)
}

// Decode reads a change. Strings alias b.
func (c *Change) Decode(b []byte) error {
	*c = Change{}
	return eachField(b, c.set)
}

func (c *Change) set(f field) error {
	s := &c.Sync
	switch f.num {
	case 1:
		var k int64
		err := f.int("kind", &k)
		c.Kind = ChangeKind(k)
		return err
	case 2:
		return f.text("instance_id", &c.InstanceID)
	case 3:
		return f.text("biz_type", &s.BizType)
	case 4:
		return f.text("scope", &s.Scope)
	case 5:
		return f.text("target", &s.Target)
	case 6:
		return f.bool("multi_device", &s.MultiDevice)
	case 7:
		return f.bool("persistent", &s.Persistent)
	case 8:
		return f.text("repush_mode", &s.RepushMode)
	case 9:
		return f.int("threshold", &s.Threshold)
	case 10:
		return f.bool("consistency", &s.Consistency)
	case 11:
		return f.bool("online", &s.Online)
	case 12:
		return f.text("description", &s.Description)
	}
	return nil
}
