package registry

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/tidemarkio/tidemark/schemas"
)

// Instance is a tenant: one app in one environment. It must not be changed.
type Instance struct {
	ID          string `json:"id"`
	Description string `json:"description,omitempty"`

	APIKeys           []Key              `json:"apiKeys,omitempty"`
	ClientKeys        []Key              `json:"clientKeys,omitempty"`
	SessionValidation *SessionValidation `json:"sessionValidation,omitempty"`
	JWT               *JWT               `json:"jwt,omitempty"`

	Stamps
}

// Stamps say when an object was made and changed.
type Stamps struct {
	Revision int64 `json:"revision,omitempty"` // registry revision of the last change
	Created  int64 `json:"created,omitempty"`  // epoch ms
	Updated  int64 `json:"updated,omitempty"`  // epoch ms
}

// SessionValidation is where a tenant answers whether a session is its user's
// (spec 1.3.4).
type SessionValidation struct {
	URL           string `json:"url"`
	TimeoutMillis int64  `json:"timeoutMillis,omitempty"` // 0: [MaxValidateMillis]
	AllowPrivate  bool   `json:"allowPrivate,omitempty"`  // may be a private address and plain http
}

// JWT is how a tenant's tokens are verified that bind a user to a connection.
type JWT struct {
	Algorithms   []string `json:"algorithms"`          // HS256 alone, or RS256 and ES256
	Secret       string   `json:"secret,omitempty"`    // HS256
	PublicKey    string   `json:"publicKey,omitempty"` // PEM; or:
	JWKS         string   `json:"jwks,omitempty"`      // URL of the key set
	AllowPrivate bool     `json:"allowPrivate,omitempty"`
	Issuer       string   `json:"issuer,omitempty"`    // empty: any
	Audience     string   `json:"audience,omitempty"`  // empty: any
	UserClaim    string   `json:"userClaim,omitempty"` // empty: sub
}

// Sync is a sync config: one business (bizType) of an instance, as operators
// see it. One that a model holds must not be changed.
type Sync struct {
	InstanceID  string  `json:"instanceId"`
	BizType     string  `json:"bizType"`
	Scope       string  `json:"scope"`
	Target      string  `json:"target"`
	MultiDevice bool    `json:"multiDevice"`
	Persistent  bool    `json:"persistent"`
	Repush      *Repush `json:"repush,omitempty"` // nil when nothing is kept
	Consistency bool    `json:"consistency"`
	Online      bool    `json:"online"`
	Description string  `json:"description"`

	Stamps
}

// Repush is what of a backlog is pushed when a target comes back.
type Repush struct {
	Mode      string `json:"mode"`
	Threshold int64  `json:"threshold,omitempty"` // mode threshold: the newest so many
}

// Config is the form in which tasks get a config.
func (s *Sync) Config() schemas.SyncConfig {
	c := schemas.SyncConfig{
		BizType: s.BizType, Scope: s.Scope, Target: s.Target, MultiDevice: s.MultiDevice,
		Persistent: s.Persistent, Consistency: s.Consistency, Online: s.Online, Description: s.Description,
	}
	if s.Repush != nil {
		c.RepushMode, c.Threshold = s.Repush.Mode, s.Repush.Threshold
	}
	return c
}

// Same reports whether two configs say the same, stamps apart.
func (s *Sync) Same(o *Sync) bool {
	return s.InstanceID == o.InstanceID && s.Config() == o.Config()
}

// syncKey is a config's key in its table; no id holds a control character.
func syncKey(instanceID, bizType string) string { return instanceID + "\x00" + bizType }

// Hash is a keyed hash of a secret.
type Hash [sha256.Size]byte

// ID names the hash by its first hex digits.
func (h Hash) ID() string { return hex.EncodeToString(h[:6]) }

// MarshalText writes the hash in hex.
func (h Hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText reads what [Hash.MarshalText] wrote.
func (h *Hash) UnmarshalText(b []byte) error {
	if len(b) != 2*len(h) {
		return invalid("", "a hash of %d hex digits: %d expected", len(b), 2*len(h))
	}
	_, err := hex.Decode(h[:], b)
	return err
}

// KeyKind tells what a key opens.
type KeyKind string

// The kinds of key.
const (
	APIKey    KeyKind = "api"    // a tenant's servers: the sync API
	ClientKey KeyKind = "client" // a tenant's apps: connections
)

// Key is a secret of an instance, as the registry keeps it.
//
// Keys are compared by HMAC-SHA256 under a pepper that the registry keeps: the
// same key gives the same hash, so that applying a file twice finds that
// nothing changed, and without the pepper a listing of hashes cannot be tried
// against guesses. A slow hash with a salt of its own is for secrets that
// people think of; keys are long and random, and are checked on every call.
type Key struct {
	ID      string `json:"id"` // the first hex digits of its hash
	Hash    Hash   `json:"hash"`
	Sign    *Hash  `json:"sign,omitempty"` // API keys: what their owner signs requests with, see [SigningKey]
	Label   string `json:"label,omitempty"`
	Created int64  `json:"created"`           // epoch ms
	Expires int64  `json:"expires,omitempty"` // epoch ms; 0: never
	Used    int64  `json:"used,omitempty"`    // epoch ms, about; 0: not yet
}

// Valid reports whether the key opens anything at a time (epoch ms).
func (k *Key) Valid(now int64) bool { return k.Expires == 0 || now < k.Expires }

// SigningKey is what requests are signed with by who holds an API key. The
// registry has to keep it, since who checks a signature needs the same key. It
// does not give the API key away.
func SigningKey(secret string) Hash {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("tidemark request signature v1"))
	return Hash(mac.Sum(nil))
}

// Keys lists the instance's keys of a kind.
func (i *Instance) Keys(kind KeyKind) []Key {
	if kind == APIKey {
		return i.APIKeys
	}
	return i.ClientKeys
}

func (i *Instance) setKeys(kind KeyKind, keys []Key) {
	if kind == APIKey {
		i.APIKeys = keys
	} else {
		i.ClientKeys = keys
	}
}

// FindKey looks a key up by its hash, in a time that does not tell how much of it
// matches; nil if it is none of these or has expired by now (epoch ms).
func FindKey(keys []Key, h Hash, now int64) *Key {
	var found *Key
	for i := range keys {
		if hmac.Equal(keys[i].Hash[:], h[:]) && keys[i].Valid(now) {
			found = &keys[i]
		}
	}
	return found
}

// Role is what a console user may do; each role may all that the ones before
// it may.
type Role string

// The roles.
const (
	Viewer   Role = "viewer"   // look
	Operator Role = "operator" // change configs, send data
	Admin    Role = "admin"    // users, keys, members, signature switch
)

// Roles lists the roles from least to most.
var Roles = []Role{Viewer, Operator, Admin}

// May reports whether the role includes another.
func (r Role) May(need Role) bool {
	have := slices.Index(Roles, r)
	return have >= 0 && have >= slices.Index(Roles, need)
}

// User is a person that may use the console.
type User struct {
	Name     string `json:"name"`
	Role     Role   `json:"role"`
	Password string `json:"password,omitempty"` // encoded hash; empty: cannot log in with one
	Subject  string `json:"subject,omitempty"`  // OpenID Connect: issuer and subject
	Disabled bool   `json:"disabled,omitempty"`
	// Epoch rises when role, password or being disabled change: a session of
	// an older epoch is over.
	Epoch int64 `json:"epoch,omitempty"`
	Login int64 `json:"login,omitempty"` // last one, epoch ms
	// Ended are the sessions of this epoch that were ended by a logout, at most
	// [MaxEnded].
	Ended []EndedSession `json:"ended,omitempty"`
	Stamps
}

// Member is a node that replicates the registry, as it announced itself.
type Member struct {
	ID      string `json:"id"`
	Address string `json:"address"`         // of the quorum
	Admin   string `json:"admin,omitempty"` // URL of its admin API
	// Version is that of the model which the node's release knows: what not
	// every member knows is refused (see [ModelVersion]).
	Version int `json:"version"`
}

// Placement says which edges keep which partition's view.
type Placement struct {
	Partitions []Assignment `json:"partitions"`
	Revision   int64        `json:"revision,omitempty"`
}

// Assignment is one partition's place.
type Assignment struct {
	Primary  string   `json:"primary"`
	Standbys []string `json:"standbys,omitempty"`
}
