package ingress

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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
	// Open lets callers from anywhere push to instances without API keys: for a
	// network whose every member is trusted.
	Open bool
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Doorman says who may push: the registry's API keys, and with the signature
// switch on, signatures. Its [Doorman.Authorize] is an [Authorize].
//
// With the switch off, an instance that has API keys wants one as a bearer
// token, or a signature, even if all of them have expired; one that has none is
// open to callers on this machine, and to nobody else unless Open says so. With
// the switch on, every call must be signed, and an instance without keys is
// closed. To who may not call, all instances look the same, those that are not
// there too.
//
// Signatures that were seen are remembered for as long as they would be
// accepted, by each process for itself: a replay through another node is a
// duplicate for the task, which stores nothing either.
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

// Authorize checks a call.
func (d *Doorman) Authorize(r *http.Request, instanceID string) (verify func(body []byte) error, err error) {
	m, now := d.cfg.Model(), d.cfg.Now()
	instance := m.Instance(instanceID)
	signed := r.Header.Get(HeaderSignature) != ""
	switch {
	case m.Signature() && !signed:
		return nil, errUnsigned
	case !m.Signature() && (instance == nil || len(instance.APIKeys) == 0) && (d.cfg.Open || local(r)):
		return nil, nil // unknown instances have an answer of their own
	case signed:
		return d.signature(r, instance, now)
	}
	return nil, d.bearer(r, m, instanceID, now)
}

var (
	descSignatures    = prometheus.NewDesc("tidemark_ingress_signatures", "Signatures of calls that are remembered, so that none is taken twice.", nil, nil)
	descSignaturesMax = prometheus.NewDesc("tidemark_ingress_signatures_max", "Signatures of calls that may be remembered; at this limit signed calls are refused.", nil, nil)
)

// Describe implements prometheus.Collector.
func (d *Doorman) Describe(to chan<- *prometheus.Desc) {
	to <- descSignatures
	to <- descSignaturesMax
}

// Collect implements prometheus.Collector: how many signatures are remembered.
func (d *Doorman) Collect(to chan<- prometheus.Metric) {
	to <- prometheus.MustNewConstMetric(descSignatures, prometheus.GaugeValue, float64(d.seen.len()))
	to <- prometheus.MustNewConstMetric(descSignaturesMax, prometheus.GaugeValue, float64(d.cfg.ReplaysMax))
}

func (d *Doorman) bearer(r *http.Request, m *registry.Model, instanceID string, now time.Time) error {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || secret == "" {
		return errNoKey
	}
	if m.Instance(instanceID) == nil {
		m.HashKey(registry.APIKey, secret) // costs as much as where there is one
	}
	k := m.CheckKey(instanceID, registry.APIKey, strings.TrimSpace(secret), now.UnixMilli())
	if k == nil {
		return errWrongKey
	}
	d.cfg.Used(instanceID, registry.APIKey, k.ID, now)
	return nil
}

// signature checks what can be checked without the body, and gives the rest.
func (d *Doorman) signature(r *http.Request, instance *registry.Instance, now time.Time) (verify func(body []byte) error, err error) {
	stamp := r.Header.Get(HeaderTimestamp)
	ms, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return nil, errTime
	}
	if at := time.UnixMilli(ms); at.Before(now.Add(-SignatureWindow)) || at.After(now.Add(SignatureWindow)) {
		return nil, errTime
	}
	given, ok := strings.CutPrefix(r.Header.Get(HeaderSignature), signaturePrefix)
	mac, err := hex.DecodeString(given)
	if !ok || err != nil || len(mac) != sha256.Size {
		return nil, errBadSign
	}
	id := r.Header.Get(HeaderKey)
	return func(body []byte) error {
		key, known := signingKey(instance, id, now)
		if !hmac.Equal(mac, signWith(&key, Canonical(r.Method, r.URL.RequestURI(), stamp, id, body))) || !known {
			return errBadSign
		}
		if err := d.seen.add([16]byte(mac), time.UnixMilli(ms), now); err != nil {
			return err
		}
		d.cfg.Used(instance.ID, registry.APIKey, id, now)
		return nil
	}, nil
}

// signingKey finds a key by its id. One that is not there is a key too, so that
// it costs as much as a wrong signature.
func signingKey(instance *registry.Instance, id string, now time.Time) (key registry.Hash, known bool) {
	if instance == nil {
		return key, false
	}
	for i := range instance.APIKeys {
		if k := &instance.APIKeys[i]; k.ID == id && k.Sign != nil && k.Valid(now.UnixMilli()) {
			key, known = *k.Sign, true
		}
	}
	return key, known
}
