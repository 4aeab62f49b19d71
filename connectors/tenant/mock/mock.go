// Package mock plays a tenant's backend, for trying things out and for tests:
// POST / answers session validations (spec 1.3.4), GET /jwks serves a key set.
// Its signing key follows from a constant, so that a token made by one process
// is verified by the key set of another: never trust it with anything.
package mock

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

const (
	operation    = "com.antcloud.session.validate"
	bodyBytesMax = 64 << 10
	// KeyID names the signing key.
	KeyID = "mock"
)

// Config of the mock. The zero value calls no session valid.
type Config struct {
	// Valid lists what is valid, as userId:sessionId.
	Valid []string
	// Delay is how late answers come.
	Delay time.Duration
	// Status answers with this HTTP status only; 0: none.
	Status int
	// Wrapped answers in the form of the spec's example.
	Wrapped bool
	// Body is answered whatever is asked; empty: an answer.
	Body string
}

// Question is what the mock is asked.
type Question struct {
	OperationType string `json:"operationType"`
	InstanceID    string `json:"instanceId"`
	UserID        string `json:"userId"`
	SessionID     string `json:"sessionId"`
}

// New checks a config and gives the handler.
func New(cfg Config) (http.Handler, error) {
	for _, v := range cfg.Valid {
		if user, session, ok := strings.Cut(v, ":"); !ok || user == "" || session == "" {
			return nil, fmt.Errorf("valid session %q: write userId:sessionId", v)
		}
	}
	if cfg.Status != 0 && (cfg.Status < 200 || cfg.Status > 599) {
		return nil, fmt.Errorf("status %d: use 200 to 599", cfg.Status)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{$}", cfg.validate)
	mux.HandleFunc("GET /jwks", cfg.jwks)
	return mux, nil
}

func (c *Config) late(r *http.Request) bool {
	if c.Delay <= 0 {
		return false
	}
	select {
	case <-time.After(c.Delay):
		return false
	case <-r.Context().Done():
		return true
	}
}

func (c *Config) validate(w http.ResponseWriter, r *http.Request) {
	var q Question
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, bodyBytesMax)).Decode(&q)
	switch {
	case c.late(r):
		return
	case c.Status != 0 && c.Status != http.StatusOK:
		http.Error(w, "mock", c.Status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if c.Body != "" {
		fmt.Fprint(w, c.Body)
		return
	}
	if err != nil || q.OperationType != operation {
		answer(w, map[string]any{"success": false, "returnCode": "OPERATION_ERROR", "resultMsg": "only " + operation + " is handled"})
		return
	}
	valid := slices.Contains(c.Valid, q.UserID+":"+q.SessionID)
	if c.Wrapped {
		answer(w, map[string]any{"response": map[string]any{
			"success": "true", "resultCode": "OK", "resultMsg": "", "result": map[string]any{"sid": q.SessionID, "valid": fmt.Sprint(valid)},
		}})
		return
	}
	result, err := json.Marshal(map[string]any{"sid": q.SessionID, "valid": valid})
	if err != nil {
		panic(err) // strings and a boolean
	}
	answer(w, map[string]any{"success": true, "returnCode": "OK", "resultMsg": "", "result": string(result)})
}

func answer(w http.ResponseWriter, body any) {
	_ = json.NewEncoder(w).Encode(body) // who asked may have gone
}

func (c *Config) jwks(w http.ResponseWriter, r *http.Request) {
	if c.late(r) {
		return
	}
	if c.Status != 0 && c.Status != http.StatusOK {
		http.Error(w, "mock", c.Status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key().PublicKey, KeyID: KeyID, Algorithm: "ES256", Use: "sig"}}})
}

// key is the same in every process.
func key() *ecdsa.PrivateKey {
	sum := sha256.Sum256([]byte("tidemark mock tenant: this key is public"))
	k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), sum[:])
	if err != nil {
		panic(err) // a constant within the curve's order
	}
	return k
}

// Token is a token to be made.
type Token struct {
	User, Issuer, Audience string
	Expires                time.Time
	Secret                 string // HS256 with it; empty: ES256 with the mock's key
}

// Sign makes the token.
func (t Token) Sign() (string, error) {
	claims := jwt.MapClaims{"sub": t.User, "exp": t.Expires.Unix()}
	if t.Issuer != "" {
		claims["iss"] = t.Issuer
	}
	if t.Audience != "" {
		claims["aud"] = t.Audience
	}
	if t.Secret != "" {
		return jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(t.Secret))
	}
	token := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
	token.Header["kid"] = KeyID
	return token.SignedString(key())
}
