package tenant

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/sync/errgroup"

	"github.com/tidemarkio/tidemark/connectors/tenant/mock"
	"github.com/tidemarkio/tidemark/topology/registry"
)

var at = time.Unix(1_800_000_000, 0)

func signed(t testing.TB, m jwt.SigningMethod, key any, kid string, change jwt.MapClaims) string {
	t.Helper()
	claims := jwt.MapClaims{"sub": "u1", "exp": at.Add(time.Hour).Unix(), "iss": "https://tenant", "aud": []string{"app", "tidemark"}}
	for name, value := range change {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	token := jwt.NewWithClaims(m, claims)
	if kid != "" {
		token.Header["kid"] = kid
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func pemOf(t testing.TB, public any) string {
	t.Helper()
	b, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: b}))
}

func rsaKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, rsaBitsMin)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

const secret = "a secret of the tenant that is long enough"

// The security list for tokens: what is let in, and that nothing else is.
func TestTokens(t *testing.T) {
	r, e, foreign := rsaKey(t), ecKey(t), rsaKey(t)
	hs := &registry.JWT{Algorithms: []string{"HS256"}, Secret: secret, Issuer: "https://tenant", Audience: "tidemark"}
	rs := &registry.JWT{Algorithms: []string{"RS256"}, PublicKey: pemOf(t, &r.PublicKey)}
	es := &registry.JWT{Algorithms: []string{"ES256"}, PublicKey: pemOf(t, &e.PublicKey)}
	small, err := rsa.GenerateKey(rand.Reader, rsaBitsMin/2)
	if err != nil {
		t.Fatal(err)
	}
	short := &registry.JWT{Algorithms: []string{"RS256"}, PublicKey: pemOf(t, &small.PublicKey)}
	uid := &registry.JWT{Algorithms: []string{"HS256"}, Secret: secret, UserClaim: "uid"}
	hmacOf := func(change jwt.MapClaims) string {
		return signed(t, jwt.SigningMethodHS256, []byte(secret), "", change)
	}
	good := hmacOf(nil)
	sig := good[strings.LastIndexByte(good, '.'):]
	critical := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "u1", "exp": at.Add(time.Hour).Unix(), "iss": "https://tenant", "aud": "tidemark"})
	critical.Header["crit"] = []string{"b64"}
	crit, err := critical.SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	both := &registry.JWT{Algorithms: []string{"RS256", "HS256"}, PublicKey: rs.PublicKey, Secret: secret}
	noSecret := &registry.JWT{Algorithms: []string{"RS256", "HS256"}, PublicKey: rs.PublicKey}
	block, _ := pem.Decode([]byte(rs.PublicKey))
	evil := newKeyServer(t)
	evil.have(jose.JSONWebKey{Key: &foreign.PublicKey, KeyID: "evil"})
	u := NewUsers(NewCaller(nil), func() time.Time { return at })
	for _, c := range []struct {
		name  string
		j     *registry.JWT
		token string
		ok    bool
	}{
		{"HS256", hs, good, true},
		{"RS256", rs, signed(t, jwt.SigningMethodRS256, r, "", nil), true},
		{"ES256", es, signed(t, jwt.SigningMethodES256, e, "", nil), true},
		{"a claim of its own", uid, hmacOf(jwt.MapClaims{"uid": "u1", "sub": "x"}), true},
		{"expired within the skew", hs, hmacOf(jwt.MapClaims{"exp": at.Add(-clockSkew / 2).Unix()}), true},
		{"not yet, within the skew", hs, hmacOf(jwt.MapClaims{"nbf": at.Add(clockSkew / 2).Unix()}), true},
		{"expired", hs, hmacOf(jwt.MapClaims{"exp": at.Add(-time.Minute).Unix()}), false},
		{"no exp", hs, hmacOf(jwt.MapClaims{"exp": nil}), false},
		{"not yet", hs, hmacOf(jwt.MapClaims{"nbf": at.Add(time.Minute).Unix()}), false},
		{"issued in the future", hs, hmacOf(jwt.MapClaims{"iat": at.Add(time.Minute).Unix()}), false},
		{"another issuer", hs, hmacOf(jwt.MapClaims{"iss": "https://evil"}), false},
		{"no issuer", hs, hmacOf(jwt.MapClaims{"iss": nil}), false},
		{"another audience", hs, hmacOf(jwt.MapClaims{"aud": "other"}), false},
		{"another user", hs, hmacOf(jwt.MapClaims{"sub": "u2"}), false},
		{"no user", hs, hmacOf(jwt.MapClaims{"sub": nil}), false},
		{"a user that is a number", uid, hmacOf(jwt.MapClaims{"uid": 1}), false},
		{"critical headers", hs, crit, false},
		{"none", hs, signed(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "", nil), false},
		{"none for RS256", rs, signed(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "", nil), false},
		{"the public key taken for a secret", rs, signed(t, jwt.SigningMethodHS256, []byte(rs.PublicKey), "", nil), false},
		{"the same, where HS256 is allowed too", both, signed(t, jwt.SigningMethodHS256, []byte(both.PublicKey), "", nil), false},
		{"its bytes taken for a secret", both, signed(t, jwt.SigningMethodHS256, block.Bytes, "", nil), false},
		{"HS256 where there is no secret", noSecret, signed(t, jwt.SigningMethodHS256, []byte(""), "", nil), false},
		{"a key that it brings along", rs, brings(t, foreign, evil.URL), false},
		{"HS384", hs, signed(t, jwt.SigningMethodHS384, []byte(secret), "", nil), false},
		{"RS512", rs, signed(t, jwt.SigningMethodRS512, r, "", nil), false},
		{"PS256", rs, signed(t, jwt.SigningMethodPS256, r, "", nil), false},
		{"wrong secret", hs, signed(t, jwt.SigningMethodHS256, []byte(secret+"x"), "", nil), false},
		{"other instance's key", rs, signed(t, jwt.SigningMethodRS256, foreign, "", nil), false},
		{"ES256 where RS256 is set", rs, signed(t, jwt.SigningMethodES256, e, "", nil), false},
		{"another token's signature", hs, hmacOf(jwt.MapClaims{"x": 1})[:strings.LastIndexByte(hmacOf(jwt.MapClaims{"x": 1}), '.')] + sig, false},
		{"no signature", hs, strings.TrimSuffix(good, sig) + ".", false},
		{"a key that is too short", short, signed(t, jwt.SigningMethodRS256, small, "", nil), false},
		{"missing", hs, "", false},
		{"rubbish", hs, "a.b.c", false},
		{"too long", hs, hmacOf(jwt.MapClaims{"x": strings.Repeat("x", TokenBytesMax)}), false},
	} {
		expires, err := u.Check(t.Context(), c.j, "u1", c.token)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil && expires.IsZero() || err != nil && !expires.IsZero() {
			t.Errorf("%s: until %v", c.name, expires)
		}
		if err != nil && (strings.Contains(err.Error(), secret) || len(c.token) > 20 && strings.Contains(err.Error(), c.token)) {
			t.Errorf("%s: the error tells a secret", c.name)
		}
	}
	if n := evil.calls.Load(); n != 0 {
		t.Errorf("a token made us call an address %d times", n)
	}
}

// brings makes a token whose header names where its key is, and holds it.
func brings(t *testing.T, key *rsa.PrivateKey, from string) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{"sub": "u1", "exp": at.Add(time.Hour).Unix()})
	token.Header["kid"], token.Header["jku"], token.Header["x5u"] = "evil", from, from
	token.Header["jwk"] = jose.JSONWebKey{Key: &key.PublicKey, KeyID: "evil"}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A token is taken until its exp and what clocks may differ by: as long as a new
// bind with it would be.
func TestUntil(t *testing.T) {
	now := at
	u := NewUsers(NewCaller(nil), func() time.Time { return now })
	j := &registry.JWT{Algorithms: []string{"HS256"}, Secret: secret}
	token := signed(t, jwt.SigningMethodHS256, []byte(secret), "", jwt.MapClaims{"exp": at.Add(time.Minute).Unix()})
	until, err := u.Check(t.Context(), j, "u1", token)
	if want := at.Add(time.Minute + clockSkew); err != nil || !until.Equal(want) {
		t.Fatalf("%v, %v, want %v", until, err, want)
	}
	for now, ok := range map[time.Time]bool{until.Add(-time.Millisecond): true, until: false} {
		u := NewUsers(NewCaller(nil), func() time.Time { return now })
		if _, err := u.Check(t.Context(), j, "u1", token); (err == nil) != ok {
			t.Errorf("at %v: %v", now, err)
		}
	}
}

// Many tokens at once with keys that nobody has cost the tenant one call, and
// another of its users nothing.
func TestUnknownKeyFlood(t *testing.T) {
	one := rsaKey(t)
	s := newKeyServer(t)
	s.have(jose.JSONWebKey{Key: &one.PublicKey, KeyID: "one"})
	c := NewCaller(nil)
	defer c.Close()
	now := at
	u := NewUsers(c, func() time.Time { return now })
	j := &registry.JWT{Algorithms: []string{"RS256"}, JWKS: s.URL, AllowPrivate: true}
	good, foreign := signed(t, jwt.SigningMethodRS256, one, "one", nil), rsaKey(t)
	var flood []string
	for i := range 50 {
		flood = append(flood, signed(t, jwt.SigningMethodRS256, foreign, fmt.Sprint("made-up-", i), nil))
	}
	for round := range int64(3) {
		var g errgroup.Group
		for _, token := range flood {
			g.Go(func() error {
				if _, err := u.Check(t.Context(), j, "u1", token); err == nil {
					return errors.New("a made-up key was taken")
				}
				_, err := u.Check(t.Context(), j, "u1", good)
				return err
			})
		}
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
		if n := s.calls.Load(); n != round+1 {
			t.Errorf("round %d: %d calls", round, n)
		}
		now = now.Add(retryEvery)
	}
}

// A key set is not looked for where a tenant's server points to, nor where it
// must not be, and not read without end; none of that is the user's fault.
func TestHostileKeySets(t *testing.T) {
	key := rsaKey(t)
	good := newKeyServer(t)
	good.have(jose.JSONWebKey{Key: &key.PublicKey, KeyID: "one"})
	redirects := httptest.NewServer(http.RedirectHandler(good.URL, http.StatusFound))
	defer redirects.Close()
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for b := []byte(`{"keys":[` + strings.Repeat(" ", 64<<10)); ; {
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	}))
	defer endless.Close()
	deep := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, `{"keys":`+strings.Repeat("[", 100_000))
	}))
	defer deep.Close()
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	c := NewCaller(nil)
	defer c.Close()
	u := NewUsers(c, func() time.Time { return at })
	token := signed(t, jwt.SigningMethodRS256, key, "one", nil)
	for name, j := range map[string]*registry.JWT{
		"redirects": {JWKS: redirects.URL, AllowPrivate: true}, "endless": {JWKS: endless.URL, AllowPrivate: true}, "deep": {JWKS: deep.URL, AllowPrivate: true},
		"private": {JWKS: secure.URL}, "plain": {JWKS: good.URL}, "metadata": {JWKS: "http://169.254.169.254/jwks", AllowPrivate: true},
	} {
		j.Algorithms = []string{"RS256"}
		if _, err := u.Check(t.Context(), j, "u1", token); !errors.Is(err, ErrUnanswered) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := good.calls.Load(); n != 0 {
		t.Errorf("the key set was called %d times by ways that it must not be", n)
	}
}

// A key set that is slow holds up those who need it for no longer than they
// want, and nobody else.
func TestSlowKeySet(t *testing.T) {
	key := rsaKey(t)
	quick := newKeyServer(t)
	quick.have(jose.JSONWebKey{Key: &key.PublicKey, KeyID: "one"})
	entered, release := make(chan struct{}, 10), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-release
		_ = json.NewEncoder(w).Encode(quick.set.Load())
	}))
	defer slow.Close()
	c := NewCaller(nil)
	defer c.Close()
	u := NewUsers(c, func() time.Time { return at })
	token := signed(t, jwt.SigningMethodRS256, key, "one", nil)
	at := func(url string) *registry.JWT {
		return &registry.JWT{Algorithms: []string{"RS256"}, JWKS: url, AllowPrivate: true}
	}
	first := make(chan error, 1)
	go func() {
		_, err := u.Check(context.Background(), at(slow.URL), "u1", token)
		first <- err
	}()
	<-entered
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := u.Check(gone, at(slow.URL), "u1", token); !errors.Is(err, ErrUnanswered) || !errors.Is(err, context.Canceled) {
		t.Errorf("who does not wait: %v", err)
	}
	if _, err := u.Check(t.Context(), at(quick.URL), "u1", token); err != nil {
		t.Errorf("another tenant's user: %v", err)
	}
	close(release)
	if err := <-first; err != nil {
		t.Errorf("who waits: %v", err)
	}
	if len(entered) != 0 {
		t.Error("it was called more than once")
	}
}

// keyServer serves a key set that can be changed, and counts calls.
type keyServer struct {
	*httptest.Server
	set    atomic.Pointer[jose.JSONWebKeySet]
	broken atomic.Bool
	calls  atomic.Int64
}

func newKeyServer(t *testing.T) *keyServer {
	s := new(keyServer)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.calls.Add(1)
		if s.broken.Load() {
			w.WriteHeader(500)
			return
		}
		_ = json.NewEncoder(w).Encode(s.set.Load())
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *keyServer) have(keys ...jose.JSONWebKey) { s.set.Store(&jose.JSONWebKeySet{Keys: keys}) }

// A key set is cached, asked again for keys that it lacks but not at will, and
// outlives a tenant that is down, for a while.
func TestKeySet(t *testing.T) {
	one, two := rsaKey(t), ecKey(t)
	s := newKeyServer(t)
	s.have(jose.JSONWebKey{Key: &one.PublicKey, KeyID: "one"}, jose.JSONWebKey{Key: []byte(secret), KeyID: "shared"})
	now := at
	c := NewCaller(nil)
	defer c.Close()
	u := NewUsers(c, func() time.Time { return now })
	j := &registry.JWT{Algorithms: []string{"RS256", "ES256"}, JWKS: s.URL, AllowPrivate: true}
	check := func(what, token string, ok bool, calls int64) {
		t.Helper()
		if _, err := u.Check(t.Context(), j, "u1", token); (err == nil) != ok {
			t.Errorf("%s: %v", what, err)
		}
		if n := s.calls.Load(); n != calls {
			t.Errorf("%s: %d calls, want %d", what, n, calls)
		}
	}
	long := jwt.MapClaims{"exp": at.Add(100 * time.Hour).Unix()}
	first, second := signed(t, jwt.SigningMethodRS256, one, "one", long), signed(t, jwt.SigningMethodES256, two, "two", long)
	check("first", first, true, 1)
	check("again", first, true, 1)
	check("without a kid", signed(t, jwt.SigningMethodRS256, one, "", long), true, 1)
	check("a key that is not there", second, false, 1)
	s.have(jose.JSONWebKey{Key: &one.PublicKey, KeyID: "one"}, jose.JSONWebKey{Key: &two.PublicKey, KeyID: "two", Use: "sig", Algorithm: "ES256"})
	check("asked too soon", second, false, 1)
	now = now.Add(retryEvery)
	check("the new key", second, true, 2)
	check("another made-up key", signed(t, jwt.SigningMethodRS256, rsaKey(t), "three", long), false, 2)
	s.broken.Store(true)
	now = now.Add(freshFor)
	check("old, and the tenant is down", first, true, 3)
	check("the same, not asked again", first, true, 3)
	now = now.Add(staleFor)
	check("too old", first, false, 4)
	s.broken.Store(false)
	s.have(jose.JSONWebKey{Key: &two.PublicKey, KeyID: "two"})
	now = now.Add(retryEvery)
	check("a key that was taken back", first, false, 5)
	check("the one that stayed", second, true, 5)
}

// Keys that no token may be verified with are left out.
func TestReadKeys(t *testing.T) {
	r := rsaKey(t)
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: &r.PublicKey, KeyID: "enc", Use: "enc"}, {Key: r, KeyID: "private"}, {Key: []byte(secret), KeyID: "secret"}, {Key: &small.PublicKey, KeyID: "small"},
	}}
	body, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := readKeys(body)
	if err != nil {
		t.Fatal(err)
	}
	k := keySet{keys: keys, fetched: at}
	for _, kid := range []string{"enc", "private", "secret", "small", ""} {
		if key, err := k.find(at, kid, "RS256"); err == nil {
			t.Errorf("%q gave %T", kid, key)
		}
	}
	for _, bad := range []string{"", "[]", "{}", `{"keys":1}`, `{"keys":[` + strings.Repeat("{},", setKeysMax) + `{}]}`} {
		if _, err := readKeys([]byte(bad)); err == nil {
			t.Errorf("%.20q was read", bad)
		}
	}
}

// Many URLs do not make many sets.
func TestSetsMax(t *testing.T) {
	s := newKeySets(NewCaller(nil), func() time.Time { return at })
	for i := range setsMax + 10 {
		s.set(setURL{fmt.Sprint(i), false})
	}
	if len(s.sets) != setsMax {
		t.Errorf("%d sets", len(s.sets))
	}
}

// The mock's tokens are verified by the mock's key set.
func TestMockToken(t *testing.T) {
	h, err := mock.New(mock.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	defer s.Close()
	c := NewCaller(nil)
	defer c.Close()
	u := NewUsers(c, nil)
	j := &registry.JWT{Algorithms: []string{"ES256"}, JWKS: s.URL + "/jwks", AllowPrivate: true}
	for ttl, ok := range map[time.Duration]bool{time.Hour: true, -time.Hour: false} {
		token, err := mock.Token{User: "u1", Expires: time.Now().Add(ttl)}.Sign()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.Check(t.Context(), j, "u1", token); (err == nil) != ok {
			t.Errorf("%s: %v", ttl, err)
		}
	}
}

func FuzzToken(f *testing.F) {
	j := &registry.JWT{Algorithms: []string{"HS256"}, Secret: secret}
	good := signed(f, jwt.SigningMethodHS256, []byte(secret), "", nil)
	f.Add(good)
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	u := NewUsers(NewCaller(nil), func() time.Time { return at })
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := u.Check(t.Context(), j, "u1", token); err == nil && token != good {
			t.Fatalf("%q was let in", token)
		}
	})
}

func FuzzKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},{"kty":"oct","k":"AA"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, err := readKeys(b)
		if err == nil && len(keys) > setKeysMax {
			t.Fatal(len(keys))
		}
		for _, k := range keys {
			if !k.IsPublic() {
				t.Fatalf("%T is no public key", k.Key)
			}
		}
	})
}
