package ingress

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// Headers of a signed call.
const (
	// HeaderKey names the API key that a call is signed with, by its id.
	HeaderKey = "Tidemark-Key"
	// HeaderTimestamp is when a call was signed, in epoch milliseconds.
	HeaderTimestamp = "Tidemark-Timestamp"
	// HeaderSignature is "v1=" and what [Sign] gives, in hexadecimal.
	HeaderSignature = "Tidemark-Signature"
)

// SignatureWindow is how far a signed call's time may be from ours.
const SignatureWindow = 5 * time.Minute

// signaturePrefix is the version of what is signed.
const signaturePrefix = "v1="

// Canonical is the text that is signed, in six lines: the version, the method,
// the path with its query as sent, the timestamp, the SHA-256 of the body in
// lower-case hexadecimal, and the key's id.
func Canonical(method, requestURI, timestamp, keyID string, body []byte) string {
	sum := sha256.Sum256(body)
	return strings.Join([]string{"tidemark-v1", method, requestURI, timestamp, hex.EncodeToString(sum[:]), keyID}, "\n")
}

// Sign signs a canonical text with an API key: HMAC-SHA256 under a key that is
// itself HMAC-SHA256("tidemark request signature v1") under the API key, so
// that who checks signatures does not hold the API key.
func Sign(apiKey, canonical string) []byte {
	key := registry.SigningKey(apiKey)
	return signWith(&key, canonical)
}

func signWith(key *registry.Hash, canonical string) []byte {
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte(canonical))
	return mac.Sum(nil)
}

// DoormanConfig is what a [Doorman] needs. Model must be given.
type DoormanConfig struct {
	// Model is the registry as it is now: a change counts with the next call.
	Model func() *registry.Model
	// Used hears of every key that opened, and when; nil: nobody. It must be
	// quick.
	Used func(instanceID string, kind registry.KeyKind, keyID string, now time.Time)
	// ReplaysMax bounds the signatures that are remembered, which is as many
	// as there may be signed calls in ten minutes; default [DefaultReplaysMax].
	// Each takes some 40 bytes.
	ReplaysMax int
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Doorman says who may push: the registry's API keys, and with the signature
// switch on, signatures. Its [Doorman.Authorize] is an [Authorize].
//
// With the switch off, an instance that has API keys wants one as a bearer
// token, or a signature; one that has none is open. With the switch on, every
// call must be signed, and an instance without keys is closed. Signatures that
// were seen are remembered for as long as they would be accepted, by each
// process for itself: a replay through another node is a duplicate for the
// task, which stores nothing either.
type Doorman struct {
	cfg  DoormanConfig
	seen *replays
}

// NewDoorman makes one.
func NewDoorman(cfg DoormanConfig) *Doorman {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Used == nil {
		cfg.Used = func(string, registry.KeyKind, string, time.Time) {}
	}
	if cfg.ReplaysMax == 0 {
		cfg.ReplaysMax = DefaultReplaysMax
	}
	return &Doorman{cfg: cfg, seen: newReplays(cfg.ReplaysMax)}
}

// Why a call is refused. None says whether the instance or the key exists.
var (
	errNoKey    = errors.New("an API key is needed: Authorization: Bearer <API key>")
	errWrongKey = errors.New("the API key is not one of this instance")
	errUnsigned = fmt.Errorf("calls must be signed: send %s, %s and %s", HeaderKey, HeaderTimestamp, HeaderSignature)
	errTime     = fmt.Errorf("%s: epoch milliseconds, at most %s from the server's time", HeaderTimestamp, SignatureWindow)
	errBadSign  = fmt.Errorf("%s is not that of this call by this key", HeaderSignature)
	errReplayed = fmt.Errorf("this signature was used before: sign each call anew, with its own %s", HeaderTimestamp)
)

// Authorize checks a call.
func (d *Doorman) Authorize(r *http.Request, instanceID string, body []byte) error {
	m, now := d.cfg.Model(), d.cfg.Now()
	instance := m.Instance(instanceID)
	signed := r.Header.Get(HeaderSignature) != ""
	switch {
	case m.Signature() && !signed:
		return errUnsigned
	case m.Signature() || signed && instance != nil && hasValid(instance, now):
		return d.signature(r, instance, body, now)
	case instance == nil || !hasValid(instance, now):
		return nil // unknown instances have an answer of their own
	}
	return d.bearer(r, m, instanceID, now)
}

func hasValid(i *registry.Instance, now time.Time) bool {
	for k := range i.APIKeys {
		if i.APIKeys[k].Valid(now.UnixMilli()) {
			return true
		}
	}
	return false
}

func (d *Doorman) bearer(r *http.Request, m *registry.Model, instanceID string, now time.Time) error {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || secret == "" {
		return errNoKey
	}
	k := m.CheckKey(instanceID, registry.APIKey, strings.TrimSpace(secret), now.UnixMilli())
	if k == nil {
		return errWrongKey
	}
	d.cfg.Used(instanceID, registry.APIKey, k.ID, now)
	return nil
}

func (d *Doorman) signature(r *http.Request, instance *registry.Instance, body []byte, now time.Time) error {
	stamp := r.Header.Get(HeaderTimestamp)
	ms, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return errTime
	}
	if at := time.UnixMilli(ms); at.Before(now.Add(-SignatureWindow)) || at.After(now.Add(SignatureWindow)) {
		return errTime
	}
	given, ok := strings.CutPrefix(r.Header.Get(HeaderSignature), signaturePrefix)
	mac, err := hex.DecodeString(given)
	if !ok || err != nil || len(mac) != sha256.Size {
		return errBadSign
	}
	id := r.Header.Get(HeaderKey)
	// A key that is not there costs as much as a wrong signature.
	var key registry.Hash
	known := false
	if instance != nil {
		for i := range instance.APIKeys {
			if k := &instance.APIKeys[i]; k.ID == id && k.Sign != nil && k.Valid(now.UnixMilli()) {
				key, known = *k.Sign, true
			}
		}
	}
	if !hmac.Equal(mac, signWith(&key, Canonical(r.Method, r.URL.RequestURI(), stamp, id, body))) || !known {
		return errBadSign
	}
	if err := d.seen.add([16]byte(mac), time.UnixMilli(ms), now); err != nil {
		return err
	}
	d.cfg.Used(instance.ID, registry.APIKey, id, now)
	return nil
}
