package console

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// provider is an OpenID Connect provider that says of everybody what its claims
// are.
type provider struct {
	t      *testing.T
	s      *httptest.Server
	key    *rsa.PrivateKey
	claims map[string]any // of the next person
	nonce  string
	proof  string // the PKCE challenge of the login under way
	alter  func(*jwt.Token) *jwt.Token
	sign   any // another key than its own
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{t: t, key: key, claims: map[string]any{"sub": "s-1", "preferred_username": "ann", "groups": []string{"staff"}}}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		p.answer(w, map[string]any{"issuer": p.s.URL, "authorization_endpoint": p.s.URL + "/auth", "token_endpoint": p.s.URL + "/token", "jwks_uri": p.s.URL + "/keys", "id_token_signing_alg_values_supported": []string{"RS256"}})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		p.answer(w, map[string]any{"keys": []any{map[string]string{
			"kty": "RSA", "kid": "k", "alg": "RS256", "use": "sig", "n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()),
			"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
		}}})
	})
	mux.HandleFunc("POST /token", p.token)
	p.s = httptest.NewServer(mux)
	t.Cleanup(p.s.Close)
	return p
}

func (p *provider) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		p.t.Error(err)
	}
}

func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if r.PostFormValue("code") != "good code" || base64.RawURLEncoding.EncodeToString(sum[:]) != p.proof {
		w.WriteHeader(http.StatusBadRequest)
		p.answer(w, map[string]string{"error": "invalid_grant", "error_description": "secret detail"})
		return
	}
	claims := jwt.MapClaims{"iss": p.s.URL, "aud": "tidemark", "nonce": p.nonce, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(claims, p.claims)
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	token.Header["kid"] = "k"
	sign := any(p.key)
	if p.alter != nil {
		token = p.alter(token)
	}
	if p.sign != nil {
		sign = p.sign
	}
	signed, err := token.SignedString(sign)
	if err != nil {
		p.t.Error(err)
	}
	p.answer(w, map[string]any{"access_token": "access", "token_type": "Bearer", "id_token": signed})
}

func withProvider(t *testing.T, change ...func(*Config)) (*desk, *provider) {
	p := newProvider(t)
	d := guarded(t, append([]func(*Config){func(c *Config) {
		c.OIDC = &OIDC{
			Issuer: p.s.URL, ClientID: "tidemark", ClientSecret: "client secret", RedirectURL: "http://localhost:8081" + OIDCCallback,
			Roles: map[string]registry.Role{"staff": registry.Viewer, "sre": registry.Admin},
		}
	}}, change...)...)
	d.now = time.Now().Truncate(time.Second)
	return d, p
}

// begin goes to the provider, and gives the state that it is to bring back.
func (p *provider) begin(v *visitor) (state string) {
	p.t.Helper()
	w := v.call("GET", OIDCStart, "")
	to, err := url.Parse(w.Header().Get("Location"))
	if w.Code != http.StatusFound || err != nil || !strings.HasPrefix(to.String(), p.s.URL+"/auth?") {
		p.t.Fatalf("it went to %q: %d %s", to, w.Code, w.Body)
	}
	q := to.Query()
	if q.Get("code_challenge_method") != "S256" || q.Get("response_type") != "code" || q.Get("nonce") == "" {
		p.t.Fatalf("it asked for %v", q)
	}
	p.nonce, p.proof = q.Get("nonce"), q.Get("code_challenge")
	return q.Get("state")
}

func back(v *visitor, state, code string) *httptest.ResponseRecorder {
	q := url.Values{"state": {state}, "code": {code}}
	return v.call("GET", OIDCCallback+"?"+q.Encode(), "")
}

func TestOIDCLogin(t *testing.T) {
	d, p := withProvider(t)
	v := d.visitor()
	if w := back(v, p.begin(v), "good code"); w.Code != http.StatusOK || !v.in() {
		t.Fatalf("the first login: %d %s", w.Code, w.Body)
	}
	u := d.r.m.User("ann")
	if u == nil || u.Role != registry.Viewer || u.Password != "" || u.Subject != p.s.URL+" s-1" {
		t.Fatalf("it made %+v", u)
	}
	if d.audit(1)[0] != registry.LoginOK {
		t.Errorf("the audit has %v", d.audit(2))
	}
	// Another name and role at the provider: the same user, in the new role.
	p.claims["preferred_username"], p.claims["groups"] = "anna", []string{"staff", "sre", "other"}
	w := d.visitor()
	if r := back(w, p.begin(w), "good code"); r.Code != http.StatusOK || d.r.m.User("ann").Role != registry.Admin || d.r.m.User("anna") != nil {
		t.Errorf("the second login: %d %s", r.Code, r.Body)
	}
	if v.in() {
		t.Error("a session of the old role is still open")
	}
}

func TestOIDCRefuses(t *testing.T) {
	var log strings.Builder
	d, p := withProvider(t, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	refused := func(name string, do func(v *visitor, state string) *httptest.ResponseRecorder) {
		t.Helper()
		p.claims = map[string]any{"sub": "s-9", "preferred_username": "eve", "groups": []string{"staff"}}
		p.alter, p.sign = nil, nil
		v := d.visitor()
		if w := do(v, p.begin(v)); w.Code != http.StatusUnauthorized && w.Code != http.StatusForbidden && w.Code != http.StatusConflict || v.in() {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if d.r.m.User("eve") != nil {
			t.Fatalf("%s: a user was made", name)
		}
	}
	with := func(name string, value any) func(*visitor, string) *httptest.ResponseRecorder {
		return func(v *visitor, state string) *httptest.ResponseRecorder {
			p.claims[name] = value
			return back(v, state, "good code")
		}
	}
	refused("another state", func(v *visitor, _ string) *httptest.ResponseRecorder { return back(v, "x", "good code") })
	refused("no state", func(v *visitor, _ string) *httptest.ResponseRecorder { return back(v, "", "good code") })
	refused("another browser", func(_ *visitor, state string) *httptest.ResponseRecorder {
		return back(d.visitor(), state, "good code")
	})
	refused("a bad code", func(v *visitor, state string) *httptest.ResponseRecorder { return back(v, state, "bad code") })
	refused("too late", func(v *visitor, state string) *httptest.ResponseRecorder {
		d.now = d.now.Add(oidcTime + time.Second)
		defer func() { d.now = d.now.Add(-oidcTime - time.Second) }()
		return back(v, state, "good code")
	})
	refused("another login's proof", func(v *visitor, state string) *httptest.ResponseRecorder {
		p.proof = "x"
		return back(v, state, "good code")
	})
	refused("another nonce", with("nonce", "x"))
	refused("another audience", with("aud", "other"))
	refused("another issuer", with("iss", "https://evil.example"))
	refused("expired", with("exp", time.Now().Add(-time.Hour).Unix()))
	refused("no role", with("groups", []string{"guests"}))
	refused("no name", with("preferred_username", ""))
	refused("alg none", func(v *visitor, state string) *httptest.ResponseRecorder {
		p.alter = func(t *jwt.Token) *jwt.Token { return jwt.NewWithClaims(jwt.SigningMethodNone, t.Claims) }
		p.sign = jwt.UnsafeAllowNoneSignatureType
		return back(v, state, "good code")
	})
	refused("another key", func(v *visitor, state string) *httptest.ResponseRecorder {
		other, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		p.sign = other
		return back(v, state, "good code")
	})
	refused("the admin's name", func(v *visitor, state string) *httptest.ResponseRecorder {
		p.claims["preferred_username"], p.claims["groups"] = FirstAdmin, "sre"
		return back(v, state, "good code")
	})
	refused("the provider's refusal", func(v *visitor, state string) *httptest.ResponseRecorder {
		return v.call("GET", OIDCCallback+"?error=access_denied%0d%0aX:y&state="+state, "")
	})
	for _, secret := range []string{"good code", "client secret", "secret detail"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log tells %q: %s", secret, log.String())
		}
	}
}

// TestOIDCOnce: an answer of the provider opens the door once.
func TestOIDCOnce(t *testing.T) {
	d, p := withProvider(t)
	v := d.visitor()
	state := p.begin(v)
	if w := back(v, state, "good code"); w.Code != http.StatusOK {
		t.Fatalf("the first time: %d", w.Code)
	}
	if w := back(v, state, "good code"); w.Code != http.StatusUnauthorized {
		t.Errorf("the second time: %d", w.Code)
	}
	disabled := true
	if _, err := d.r.apply(registry.Command{Ops: []registry.Op{registry.ModifyUser{Name: "ann", Disabled: &disabled}}}); err != nil {
		t.Fatal(err)
	}
	if w := back(v, p.begin(v), "good code"); w.Code != http.StatusForbidden || v.in() {
		t.Errorf("a disabled user: %d", w.Code)
	}
}

func TestOIDCConfig(t *testing.T) {
	for name, o := range map[string]*OIDC{
		"no issuer": {ClientID: "x", RedirectURL: "x", Roles: map[string]registry.Role{"a": registry.Admin}},
		"no roles":  {Issuer: "x", ClientID: "x", RedirectURL: "x"},
		"odd role":  {Issuer: "x", ClientID: "x", RedirectURL: "x", Roles: map[string]registry.Role{"a": "king"}},
	} {
		if _, err := New(Config{Registry: &fakeRegistry{m: &registry.Model{}}, OIDC: o}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
