package console

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// jwtPage posts an instance's form, all of it, as a browser does.
func jwtPage(change url.Values) url.Values {
	f := url.Values{"description": {"app"}, "url": {""}, "timeoutMillis": {""}, "jwt": {""}, "secret": {""}, "jwks": {""}, "publicKey": {""}, "issuer": {""}, "audience": {""}, "userClaim": {""}}
	for k, v := range change {
		f[k] = v
	}
	return f
}

// The JWT settings of an instance, from its page: set, kept, changed, removed.
func TestJWTPage(t *testing.T) {
	d, _, _ := pageDesk(t)
	const path = "/instance/edit?i=default_APP1"
	first, second := strings.Repeat("s", 32), strings.Repeat("t", 40)
	jwt := func() *registry.JWT { return d.r.m.Instance("default_APP1").JWT }
	everything := func() string {
		all := d.ok("GET", "/api/v1/audit", "") + d.ok("GET", "/api/v1/instances", "") + d.ok("GET", "/api/v1/config", "")
		for _, p := range []string{path, "/instance?i=default_APP1", "/records", "/record?seq=" + newest(d)} {
			all += d.call("GET", p, "").Body.String()
		}
		return all
	}
	record := func() string { return d.call("GET", "/record?seq="+newest(d), "").Body.String() }
	changed := func(label string) bool {
		return regexp.MustCompile(`<tr class="changed"><th scope="row">` + regexp.QuoteMeta(label) + ` `).MatchString(record())
	}

	d.done(path, jwtPage(url.Values{"jwt": {"HS256"}, "secret": {first}, "issuer": {"https://tenant.example"}, "audience": {"app"}, "userClaim": {"uid"}, "jwks": {"https://hidden.example/"}}))
	if j := jwt(); j == nil || j.Secret != first || j.Issuer != "https://tenant.example" || j.Audience != "app" || j.UserClaim != "uid" || j.JWKS != "" {
		t.Fatalf("it made %+v", j)
	}
	d.done(path, jwtPage(url.Values{"jwt": {"HS256"}, "issuer": {"https://other.example"}}))
	if j := jwt(); j.Secret != first || j.Issuer != "https://other.example" || j.UserClaim != "" {
		t.Errorf("a secret that was left empty: %+v", j)
	}
	if !changed(texts["issuer"].English) || changed(texts["secretId"].English) {
		t.Errorf("the record shows %s", mainOf(record()))
	}
	d.done(path, jwtPage(url.Values{"jwt": {"HS256"}, "secret": {second}, "issuer": {"https://other.example"}}))
	if jwt().Secret != second || !changed(texts["secretId"].English) || changed(texts["issuer"].English) {
		t.Errorf("another secret is shown as %s", mainOf(record()))
	}
	if all := everything(); strings.Contains(all, first) || strings.Contains(all, second) {
		t.Error("a secret is shown")
	}
	// Refused: shown what was typed, but for the secret; nothing is changed.
	for words, f := range map[string]url.Values{
		"at least 32 bytes":      {"jwt": {"HS256"}, "secret": {"typed too short"}},
		"use https":              {"jwt": {"RS256"}, "jwks": {"http://tenant.example/keys"}},
		"not a public address":   {"jwt": {"ES256"}, "jwks": {"https://10.0.0.7/keys"}},
		"user name or password":  {"jwt": {"RS256"}, "jwks": {"https://u:p@tenant.example/keys"}},
		"not a URL":              {"jwt": {"RS256"}, "jwks": {"keys"}},
		"one of publicKey":       {"jwt": {"RS256 ES256"}},
		"not a PEM block":        {"jwt": {"RS256"}, "publicKey": {"nonsense"}},
		"&#34;none&#34;: use HS": {"jwt": {"none"}},
		"stands alone":           {"jwt": {"HS256 RS256"}, "secret": {second}},
		"control characters":     {"jwt": {"HS256"}, "issuer": {"a\x01b"}},
	} {
		w := d.submit(path, jwtPage(f))
		page := mainOf(w.Body.String())
		if w.Code != http.StatusBadRequest || !strings.Contains(page, words) || strings.Contains(page, "typed too short") || jwt().Secret != second {
			t.Errorf("%v: %d, without %q: %s", f, w.Code, words, page)
		}
	}
	d.done(path, jwtPage(url.Values{"jwt": {"RS256 ES256"}, "jwks": {"https://10.0.0.7/keys"}, "jwksPrivate": {"true"}, "secret": {"hidden"}}))
	if j := jwt(); len(j.Algorithms) != 2 || j.Secret != "" || !j.AllowPrivate || j.JWKS == "" {
		t.Errorf("with a key set: %+v", j)
	}
	if page := d.call("GET", path, "").Body.String(); !strings.Contains(page, `<option value="RS256 ES256" selected>`) || !strings.Contains(page, `value="https://10.0.0.7/keys"`) {
		t.Errorf("the form does not show what is set: %s", mainOf(page))
	}
	// From public keys back to a secret: the old one is not there any more.
	if w := d.submit(path, jwtPage(url.Values{"jwt": {"HS256"}})); w.Code != http.StatusBadRequest {
		t.Errorf("a secret of long ago is back: %d", w.Code)
	}
	d.done(path, jwtPage(nil))
	if jwt() != nil {
		t.Errorf("it is not removed: %+v", jwt())
	}
	if !changed(texts["jwks"].English) {
		t.Errorf("the removal is shown as %s", mainOf(record()))
	}
}

// newest is the number of the newest operation record.
func newest(d *desk) string {
	b, err := json.Marshal(d.r.m.Audit(registry.AuditFilter{Limit: 1})[0].Seq)
	if err != nil {
		d.t.Fatal(err)
	}
	return string(b)
}
