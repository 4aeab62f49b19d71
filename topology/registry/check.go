package registry

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tidemarkio/tidemark/schemas"
)

// Limits of what the registry holds. Lengths are Unicode code points.
const (
	MaxInstances   = 10_000
	MaxSyncs       = 100_000 // sync configs, all instances together
	MaxKeys        = 64      // of one instance and kind, expired ones included
	MaxUsers       = 10_000
	MaxMembers     = 64
	MaxThreshold   = 1_000_000
	MaxDescription = 500
	MaxLabel       = 100
	MaxURL         = 2000
	MaxUserName    = 100
	MaxKeyLength   = 512 // of a secret, bytes
	// MaxValidateMillis is the longest that a tenant's session validation may
	// take before the verdict is "not valid" (spec D24).
	MaxValidateMillis = 3000
	minHMACSecret     = 32 // bytes: RFC 7518 asks for as many as the hash has
)

// checkText refuses text that is too short or too long, is not UTF-8, or holds
// control characters.
func checkText(path, s string, min, max int) error {
	n := utf8.RuneCountInString(s)
	switch {
	case n < min && max == min:
		return invalid(path, "%d characters", min)
	case n < min || n > max:
		return invalid(path, "%d to %d characters, not %d", min, max, n)
	case !utf8.ValidString(s):
		return invalid(path, "not valid UTF-8")
	case strings.IndexFunc(s, unicode.IsControl) >= 0:
		return invalid(path, "control characters are not allowed")
	}
	return nil
}

// checkName is checkText for what people type to find a thing again.
func checkName(path, s string, max int) error {
	if s == "" {
		return invalid(path, "it is missing: 1 to %d characters", max)
	}
	if err := checkText(path, s, 1, max); err != nil {
		return err
	}
	if strings.TrimSpace(s) != s {
		return invalid(path, "%q begins or ends with a space", s)
	}
	return nil
}

// CheckInstanceID refuses what cannot be an instance's id.
func CheckInstanceID(id string) error { return checkName("id", id, schemas.MaxInstanceID) }

// Check refuses a config that breaks a rule, whatever the registry holds; the
// error names field and rule. It sets what other fields imply: a global config
// is always multi-device, and one that is kept has a re-push mode.
func (s *Sync) Check() error {
	if err := s.checkIdentity(); err != nil {
		return err
	}
	if s.Scope == schemas.ScopeGlobal {
		s.MultiDevice = true // implied (spec 1.2; S003-139)
	}
	if s.Persistent && s.Repush == nil {
		s.Repush = &Repush{Mode: schemas.RepushQueue}
	}
	if err := s.checkDimension(); err != nil {
		return err
	}
	return s.checkRepush()
}

func (s *Sync) checkIdentity() error {
	if err := checkName("bizType", s.BizType, schemas.MaxBizType); err != nil {
		return err
	}
	switch {
	case strings.Contains(s.BizType, ","):
		return invalid("bizType", "%q holds a comma, which separates identifiers in a client's list", s.BizType)
	case s.Scope != schemas.ScopeSpecified && s.Scope != schemas.ScopeGlobal:
		return invalid("scope", "%q: use specified or global", s.Scope)
	case s.Target != schemas.TargetUser && s.Target != schemas.TargetDevice:
		return invalid("target", "%q: use user or device", s.Target)
	}
	return checkText("description", s.Description, 0, MaxDescription)
}

func (s *Sync) checkDimension() error {
	switch {
	case s.Target == schemas.TargetDevice && s.MultiDevice && s.Scope != schemas.ScopeGlobal:
		return invalid("multiDevice", "only for target user: a device has no other devices")
	case s.Target == schemas.TargetDevice && s.Consistency:
		return invalid("consistency", "only for target user: a device has no session to validate")
	case s.Scope == schemas.ScopeGlobal && !s.Persistent:
		return invalid("persistent", "a global config is always persistent, as its audience is who comes later: set true or leave it out")
	}
	return nil
}

func (s *Sync) checkRepush() error {
	r := s.Repush
	switch {
	case !s.Persistent && r != nil:
		return invalid("repush", "only when persistent: nothing is kept that could be pushed again")
	case !s.Persistent:
		return nil
	case r.Mode != schemas.RepushQueue && r.Mode != schemas.RepushThreshold:
		return invalid("repush.mode", "%q: use queue or threshold", r.Mode)
	case r.Mode == schemas.RepushQueue && r.Threshold != 0:
		return invalid("repush.threshold", "only for mode threshold")
	case r.Mode == schemas.RepushThreshold && (r.Threshold < 1 || r.Threshold > MaxThreshold):
		return invalid("repush.threshold", "%d: mode threshold needs a number from 1 to %d", r.Threshold, MaxThreshold)
	}
	return nil
}

// Check refuses an endpoint that breaks a rule. Which addresses it may resolve
// to is for the caller to check when it connects.
func (v *SessionValidation) Check() error {
	if err := checkURL("url", v.URL, v.AllowPrivate); err != nil {
		return err
	}
	if v.TimeoutMillis < 0 || v.TimeoutMillis > MaxValidateMillis {
		return invalid("timeoutMillis", "%d: use 1 to %d, or leave it out for %d", v.TimeoutMillis, MaxValidateMillis, MaxValidateMillis)
	}
	return nil
}

// checkURL wants https, or plain http where private addresses are allowed.
func checkURL(path, raw string, plain bool) error {
	if err := checkText(path, raw, 1, MaxURL); err != nil {
		return err
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return invalid(path, "%.100q is not a URL such as https://host/path", raw)
	case u.User != nil:
		return invalid(path, "a URL with a user name or password in it: they would show in logs")
	case u.Scheme == "http" && !plain:
		return invalid(path, "plain http is only for private addresses: use https, or set allowPrivate")
	case u.Scheme != "http" && u.Scheme != "https":
		return invalid(path, "scheme %q: use https", u.Scheme)
	}
	if a, err := netip.ParseAddr(u.Hostname()); err == nil && !plain && !global(a) {
		return invalid(path, "%s is not a public address: set allowPrivate if that is meant", a)
	}
	return nil
}

func global(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsGlobalUnicast() && !a.IsPrivate() && !a.IsLinkLocalUnicast()
}

// Algorithms are the signature algorithms that a tenant's tokens may use.
var Algorithms = []string{"HS256", "RS256", "ES256"}

// Check refuses settings by which no token, or any token, could be verified.
func (j *JWT) Check() error {
	if len(j.Algorithms) == 0 {
		return invalid("algorithms", "name at least one of %s", strings.Join(Algorithms, ", "))
	}
	for _, a := range j.Algorithms {
		if !slices.Contains(Algorithms, a) {
			return invalid("algorithms", "%q: use %s", a, strings.Join(Algorithms, ", "))
		}
	}
	symmetric := slices.Contains(j.Algorithms, "HS256")
	switch {
	case symmetric && len(j.Algorithms) > 1:
		// A public key must never be taken for a shared secret.
		return invalid("algorithms", "HS256 stands alone: a shared secret and public keys are not mixed")
	case symmetric && len(j.Secret) < minHMACSecret:
		return invalid("secret", "HS256 needs a secret of at least %d bytes", minHMACSecret)
	case symmetric && (j.PublicKey != "" || j.JWKS != ""):
		return invalid("publicKey", "HS256 is verified with the secret: leave publicKey and jwks out")
	case !symmetric && j.Secret != "":
		return invalid("secret", "only for HS256")
	case !symmetric && (j.PublicKey == "") == (j.JWKS == ""):
		return invalid("publicKey", "give one of publicKey and jwks")
	}
	return errors.Join(j.checkKeys(), checkText("issuer", j.Issuer, 0, MaxURL),
		checkText("audience", j.Audience, 0, MaxURL), checkText("userClaim", j.UserClaim, 0, MaxLabel))
}

func (j *JWT) checkKeys() error {
	if len(j.Secret) > MaxKeyLength {
		return invalid("secret", "over %d bytes", MaxKeyLength)
	}
	if j.JWKS != "" {
		return checkURL("jwks", j.JWKS, j.AllowPrivate)
	}
	if j.PublicKey == "" {
		return nil
	}
	block, _ := pem.Decode([]byte(j.PublicKey))
	if block == nil || len(j.PublicKey) > 1<<14 {
		return invalid("publicKey", "not a PEM block")
	}
	if _, err := x509.ParsePKIXPublicKey(block.Bytes); err != nil {
		return invalid("publicKey", "not a public key (PEM, PKIX): %v", err)
	}
	return nil
}

// checkJSON wants a JSON value within a size.
func checkJSON(path string, b json.RawMessage, limit int) error {
	switch {
	case len(b) > limit:
		return invalid(path, "%d bytes: over the limit of %d", len(b), limit)
	case len(b) > 0 && !json.Valid(b):
		return invalid(path, "not valid JSON")
	}
	return nil
}
