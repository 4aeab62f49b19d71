package console

import (
	"context"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// OIDC says where users log in with OpenID Connect: authorization code with
// PKCE, state and nonce. Its zero fields have defaults where they say so.
type OIDC struct {
	Issuer       string // URL
	ClientID     string
	ClientSecret string // empty: a public client
	// RedirectURL is this console's address as browsers see it, with
	// [OIDCCallback] as its path.
	RedirectURL string
	Scopes      []string // beside openid; default profile, email
	// NameClaim names a user that comes the first time; default
	// preferred_username.
	NameClaim string
	// RoleClaim holds one value or a list; Roles maps values to roles. Of
	// several the highest counts; who has none may not come in. Default: groups.
	RoleClaim string
	Roles     map[string]registry.Role
	Client    *http.Client // default: one with a timeout

	mu       sync.Mutex
	provider *oidc.Provider // once it was reached
}

// Paths of the OpenID Connect login.
const (
	OIDCStart    = v1 + "/login/oidc"
	OIDCCallback = v1 + "/login/oidc/callback"

	oidcCookie  = "tidemark_oidc"
	oidcTime    = 10 * time.Minute // from start to callback
	oidcTimeout = 15 * time.Second // of the provider
)

// Validate names what is missing.
func (o *OIDC) Validate() error {
	switch {
	case o.Issuer == "" || o.ClientID == "" || o.RedirectURL == "":
		return errors.New("OIDC: Issuer, ClientID and RedirectURL are all needed")
	case len(o.Roles) == 0:
		return errors.New("OIDC: Roles is empty: nobody could come in")
	}
	for value, role := range o.Roles {
		if !slices.Contains(registry.Roles, role) {
			return fmt.Errorf("OIDC: Roles[%q] is %q: use viewer, operator or admin", value, role)
		}
	}
	return nil
}

// reach finds the provider, once; until that has worked it tries again.
func (o *OIDC) reach(ctx context.Context) (context.Context, *oidc.Provider, *oauth2.Config, error) {
	client := o.Client
	if client == nil {
		client = &http.Client{Timeout: oidcTimeout}
	}
	ctx = oidc.ClientContext(ctx, client)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.provider == nil {
		// The provider keeps the context for its keys: it must outlive the call.
		p, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), client), o.Issuer)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("reach OpenID Connect provider: %w", err)
		}
		o.provider = p
	}
	scopes := o.Scopes
	if scopes == nil {
		scopes = []string{"profile", "email"}
	}
	return ctx, o.provider, &oauth2.Config{
		ClientID: o.ClientID, ClientSecret: o.ClientSecret, RedirectURL: o.RedirectURL,
		Endpoint: o.provider.Endpoint(), Scopes: append([]string{oidc.ScopeOpenID}, scopes...),
	}, nil
}

// oidcState is what a login carries from its start to its callback, in a
// signed cookie of the browser that began it.
type oidcState struct {
	State    string `json:"s"`
	Nonce    string `json:"n"`
	Verifier string `json:"v"`
	Until    int64  `json:"u"` // epoch ms
}

func (c *Console) startOIDC(r *request) (any, error) {
	_, _, conf, err := c.cfg.OIDC.reach(r.Context())
	if err != nil {
		return nil, err
	}
	b := make([]byte, 32)
	if _, err := io.ReadFull(c.cfg.Rand, b); err != nil {
		return nil, fmt.Errorf("read random bytes: %w", err)
	}
	s := oidcState{
		State: hex.EncodeToString(b[:16]), Nonce: hex.EncodeToString(b[16:]), Verifier: oauth2.GenerateVerifier(),
		Until: c.cfg.Clock().Add(oidcTime).UnixMilli(),
	}
	sealed, err := c.seal("oidc", s)
	if err != nil {
		return nil, err
	}
	c.oidcCookie(r, sealed, int(oidcTime.Seconds()))
	to := conf.AuthCodeURL(s.State, oidc.Nonce(s.Nonce), oauth2.S256ChallengeOption(s.Verifier))
	return &answer{status: http.StatusFound, header: map[string]string{"Location": to}, raw: []byte{}}, nil
}

// oidcCookie is Lax: the provider's redirect must bring it along.
func (c *Console) oidcCookie(r *request, value string, age int) {
	http.SetCookie(r.w, &http.Cookie{ //nolint:gosec // Secure wherever there is TLS; without, the door is loopback's
		Name: oidcCookie, Value: value, Path: OIDCStart, MaxAge: age, HttpOnly: true, Secure: c.secure(r.Request), SameSite: http.SameSiteLaxMode,
	})
}

func (c *Console) finishOIDC(r *request) (any, error) {
	refused := func(reason string) (any, error) {
		return nil, &Error{Status: http.StatusUnauthorized, Reason: "log in again: " + reason}
	}
	query := r.URL.Query()
	cookie, err := r.Cookie(oidcCookie)
	if err != nil {
		return refused("this browser began no login")
	}
	c.oidcCookie(r, "", -1) // once
	var s oidcState
	if !c.open("oidc", cookie.Value, &s) || c.cfg.Clock().UnixMilli() > s.Until {
		return refused("it took too long")
	}
	if subtle.ConstantTimeCompare([]byte(query.Get("state")), []byte(s.State)) != 1 {
		return refused("the provider answered another login")
	}
	if problem := query.Get("error"); problem != "" {
		return refused(fmt.Sprintf("the provider says %.100q", problem))
	}
	claims, err := c.oidcClaims(r.Context(), query.Get("code"), &s)
	if err != nil {
		c.cfg.Log.Warn("console: a login with OpenID Connect failed", "source", source(r.Request), "error", err)
		c.noteFailed(r.Request, "", "oidc")
		return refused("the provider's answer did not hold")
	}
	u, err := c.oidcUser(r, claims)
	if err != nil {
		c.noteFailed(r.Request, claims.name, "oidc")
		return nil, err
	}
	if _, err := c.enter(r.w, r.Request, u, "oidc"); err != nil {
		return nil, err
	}
	// A redirect would still be the other site's doing, and the new cookie, being
	// Strict, would not come along: the page has to go on by itself.
	page := fmt.Sprintf("<!doctype html><html><head><meta charset=utf-8><meta http-equiv=refresh content=\"0;url=/\"><title>Tidemark</title></head><body><p>Welcome, %s. <a href=\"/\">Go on</a></p></body></html>\n", html.EscapeString(u.Name))
	return &answer{header: map[string]string{"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'"}, raw: []byte(page)}, nil
}

// oidcClaims are what the provider says of a person.
type oidcClaims struct {
	subject string // issuer and subject
	name    string
	role    registry.Role // the highest; empty: none
}

func (c *Console) oidcClaims(ctx context.Context, code string, s *oidcState) (*oidcClaims, error) {
	o := c.cfg.OIDC
	ctx, provider, conf, err := o.reach(ctx)
	if err != nil {
		return nil, err
	}
	token, err := conf.Exchange(ctx, code, oauth2.VerifierOption(s.Verifier))
	if err != nil {
		return nil, fmt.Errorf("exchange code: %w", redacted(err))
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return nil, errors.New("exchange code: the answer has no id_token")
	}
	id, err := provider.Verifier(&oidc.Config{ClientID: o.ClientID, Now: c.cfg.Clock}).Verify(ctx, raw)
	if err != nil {
		return nil, fmt.Errorf("verify id token: %w", err)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(s.Nonce)) != 1 {
		return nil, errors.New("verify id token: its nonce is of another login")
	}
	var all map[string]any
	if err := id.Claims(&all); err != nil {
		return nil, fmt.Errorf("read claims: %w", err)
	}
	claims := &oidcClaims{subject: id.Issuer + " " + id.Subject}
	claims.name, _ = all[orDefault(o.NameClaim, "preferred_username")].(string)
	values, _ := all[orDefault(o.RoleClaim, "groups")].([]any)
	if one, ok := all[orDefault(o.RoleClaim, "groups")].(string); ok {
		values = []any{one}
	}
	for _, v := range values {
		value, _ := v.(string)
		if role := o.Roles[value]; role != "" && role.May(claims.role) {
			claims.role = role
		}
	}
	return claims, nil
}

// redacted leaves the provider's answer out of an error: it may hold tokens.
func redacted(err error) error {
	var e *oauth2.RetrieveError
	if errors.As(err, &e) {
		return fmt.Errorf("the provider refused it: %.100q", e.ErrorCode)
	}
	return err
}

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// oidcUser finds the user of a subject, or makes one. Nobody comes in as a user
// who was made with a password and has the same name.
func (c *Console) oidcUser(r *request, claims *oidcClaims) (*registry.User, error) {
	if claims.role == "" {
		return nil, &Error{Status: http.StatusForbidden, Reason: "the provider gives this person no role here"}
	}
	m := c.known(r.Context())
	var op registry.Op
	u := userOf(m, claims.subject)
	switch {
	case u != nil && u.Disabled:
		return nil, &Error{Status: http.StatusForbidden, Reason: "this user is disabled"}
	case u != nil && u.Role == claims.role:
		return u, nil
	case u != nil:
		op = registry.ModifyUser{Name: u.Name, Role: claims.role, Expect: u.Revision}
		claims.name = u.Name
	case claims.name == "":
		return nil, &Error{Status: http.StatusForbidden, Reason: "the provider does not say this person's name"}
	default:
		op = registry.CreateUser{User: registry.User{Name: claims.name, Role: claims.role, Subject: claims.subject}}
	}
	if _, err := c.propose(r.Context(), registry.Command{Actor: "oidc", Source: source(r.Request), Ops: []registry.Op{op}}); err != nil {
		return nil, err
	}
	m, err := c.newest(r.Context())
	if err != nil {
		return nil, err
	}
	if u = userOf(m, claims.subject); u == nil {
		return nil, &Error{Status: http.StatusConflict, Reason: "the user was removed this moment"}
	}
	return u, nil
}

func userOf(m *registry.Model, subject string) *registry.User {
	for u := range m.Users() {
		if u.Subject == subject {
			return u
		}
	}
	return nil
}
