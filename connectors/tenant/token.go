package tenant

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/subtle"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// Limits of a token.
const (
	// TokenBytesMax bounds a token.
	TokenBytesMax = 4 << 10
	// clockSkew is how far a tenant's clock may be from ours.
	clockSkew  = 30 * time.Second
	rsaBitsMin = 2048
)

// Users checks the tokens that bind users. It is safe for concurrent use.
type Users struct {
	sets *keySets
	now  func() time.Time
}

// NewUsers makes one. now is the clock; nil: time.Now.
func NewUsers(c *Caller, now func() time.Time) *Users {
	if now == nil {
		now = time.Now
	}
	return &Users{sets: newKeySets(c, now), now: now}
}

// Check verifies a token and that it is the user's, and says until when it would
// be taken: its exp, and what a clock may be wrong by. The error says what is
// wrong with it, and holds nothing of it but claims' names; without the keys to
// check it with it is [ErrUnanswered].
func (u *Users) Check(ctx context.Context, j *registry.JWT, userID, token string) (until time.Time, err error) {
	switch {
	case token == "":
		return time.Time{}, errors.New("the user must be proven: send a token as sessionId or in the header Tidemark-User-Token")
	case len(token) > TokenBytesMax:
		return time.Time{}, fmt.Errorf("the user's token is over %d bytes", TokenBytesMax)
	}
	opts := []jwt.ParserOption{
		jwt.WithValidMethods(j.Algorithms), jwt.WithLeeway(clockSkew), jwt.WithTimeFunc(u.now),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithStrictDecoding(),
	}
	if j.Issuer != "" {
		opts = append(opts, jwt.WithIssuer(j.Issuer))
	}
	if j.Audience != "" {
		opts = append(opts, jwt.WithAudience(j.Audience))
	}
	claims := jwt.MapClaims{}
	if _, err := jwt.NewParser(opts...).ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) { return u.key(ctx, j, t) }); err != nil {
		return time.Time{}, fmt.Errorf("the user's token is refused: %w", err)
	}
	claim := j.UserClaim
	if claim == "" {
		claim = "sub"
	}
	if is, ok := claims[claim].(string); !ok || is == "" || subtle.ConstantTimeCompare([]byte(is), []byte(userID)) != 1 {
		return time.Time{}, fmt.Errorf("the user's token is refused: its claim %q is not the userId", claim)
	}
	at, err := claims.GetExpirationTime()
	if err != nil || at == nil {
		return time.Time{}, errors.New("the user's token is refused: it has no exp")
	}
	return at.Time.Add(clockSkew), nil
}

// key finds the key of a token. The kind of key follows from the settings,
// never from the token alone.
func (u *Users) key(ctx context.Context, j *registry.JWT, t *jwt.Token) (any, error) {
	if _, critical := t.Header["crit"]; critical {
		return nil, errors.New("it has critical headers, which nobody here knows")
	}
	alg := t.Method.Alg()
	if alg == jwt.SigningMethodHS256.Alg() {
		if j.Secret == "" {
			return nil, errors.New("the instance has no secret")
		}
		return []byte(j.Secret), nil
	}
	if j.JWKS == "" {
		key, err := publicKey(j.PublicKey)
		if err != nil {
			return nil, err
		}
		return key, fits(key, alg)
	}
	kid, _ := t.Header["kid"].(string)
	return u.sets.find(ctx, j.JWKS, j.AllowPrivate, kid, alg)
}

func publicKey(text string) (any, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("the instance's public key is not a PEM block")
	}
	return x509.ParsePKIXPublicKey(block.Bytes)
}

// fits refuses a key that is not one for an algorithm.
func fits(key any, alg string) error {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if alg == "RS256" && k.N.BitLen() >= rsaBitsMin {
			return nil
		}
	case *ecdsa.PublicKey:
		if alg == "ES256" && k.Curve == elliptic.P256() {
			return nil
		}
	}
	return fmt.Errorf("the instance's key is none for %s", alg)
}
