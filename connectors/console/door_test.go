package console

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tidemarkio/tidemark/topology/registry"
)

const (
	nobodyMay   = registry.Role("")
	viewerMay   = registry.Viewer
	operatorMay = registry.Operator
	adminMay    = registry.Admin
)

// doors says who may open what: every route and page has its line here, and
// what has none fails the test. "" is anybody.
var doors = map[string]registry.Role{
	"GET /api/v1/openapi.json": viewerMay, "GET /api/v1/registry/status": viewerMay, "GET /api/v1/watch": viewerMay,
	"POST /api/v1/login": nobodyMay, "GET " + OIDCStart: nobodyMay, "GET " + OIDCCallback: nobodyMay,
	"POST /api/v1/logout": viewerMay, "GET /api/v1/session": viewerMay, "POST /api/v1/password": viewerMay,
	"GET /api/v1/users": adminMay, "POST /api/v1/users": adminMay,
	"GET /api/v1/users/{name}": adminMay, "PUT /api/v1/users/{name}": adminMay, "DELETE /api/v1/users/{name}": adminMay,
	"GET /api/v1/locks": adminMay, "DELETE /api/v1/locks/{kind}/{name}": adminMay,
	"GET /api/v1/config": viewerMay, "PUT /api/v1/config": operatorMay, "POST /api/v1/config": operatorMay,
	"GET /api/v1/instances": viewerMay, "POST /api/v1/instances": operatorMay,
	"GET /api/v1/instances/{instanceId}": viewerMay, "PUT /api/v1/instances/{instanceId}": operatorMay, "DELETE /api/v1/instances/{instanceId}": operatorMay,
	"GET /api/v1/instances/{instanceId}/sync": viewerMay, "POST /api/v1/instances/{instanceId}/sync": operatorMay,
	"GET /api/v1/instances/{instanceId}/sync/{bizType}": viewerMay, "PUT /api/v1/instances/{instanceId}/sync/{bizType}": operatorMay,
	"DELETE /api/v1/instances/{instanceId}/sync/{bizType}":      operatorMay,
	"POST /api/v1/instances/{instanceId}/sync/{bizType}/online": operatorMay, "POST /api/v1/instances/{instanceId}/sync/{bizType}/offline": operatorMay,
	"POST /api/v1/instances/{instanceId}/sync/{bizType}/send":       operatorMay,
	"GET /api/v1/instances/{instanceId}/targets/{dimension}/{name}": viewerMay,
	"GET /api/v1/instances/{instanceId}/keys":                       viewerMay, "POST /api/v1/instances/{instanceId}/keys": adminMay,
	"DELETE /api/v1/instances/{instanceId}/keys/{kind}/{keyId}": adminMay,
	"GET /api/v1/service/signature":                             viewerMay, "PUT /api/v1/service/signature": adminMay,
	"GET /api/v1/actions": viewerMay, "GET /api/v1/audit": viewerMay, "GET /api/v1/audit/{seq}": viewerMay, "GET /api/v1/audit/export": viewerMay,
	"GET /api/v1/live": viewerMay, "GET /api/v1/live/stream": viewerMay, "GET /api/v1/oplog/tail": operatorMay,
	"POST /api/v1/registry/members": adminMay, "DELETE /api/v1/registry/members/{memberId}": adminMay, "POST /api/v1/registry/transfer": adminMay,
	"GET /api/v1/registry/backup": adminMay, "POST /api/v1/registry/restore": adminMay,

	"GET /{$}": viewerMay, "GET /help": viewerMay, "GET /login": nobodyMay, "POST /login": nobodyMay, "POST /logout": viewerMay,
	"GET /password": viewerMay, "POST /password": viewerMay,
	"GET /configs": viewerMay, "GET /config": viewerMay, "GET /config/new": operatorMay, "POST /config/new": operatorMay,
	"GET /config/edit": operatorMay, "POST /config/edit": operatorMay, "GET /config/send": operatorMay, "POST /config/send": operatorMay,
	"GET /config/online": operatorMay, "POST /config/online": operatorMay, "GET /config/offline": operatorMay, "POST /config/offline": operatorMay,
	"GET /config/delete": operatorMay, "POST /config/delete": operatorMay,
	"GET /query/redeliver": operatorMay, "POST /query/redeliver": operatorMay, "POST /api/v1/instances/{instanceId}/redeliver": operatorMay,
	"GET /query": viewerMay, "GET /service": viewerMay, "GET /service/signature": adminMay, "POST /service/signature": adminMay,
	"GET /records": viewerMay, "GET /record": viewerMay, "GET /oplog": operatorMay,
	"GET /instances": viewerMay, "GET /instance": viewerMay, "GET /instance/new": operatorMay, "POST /instance/new": operatorMay,
	"GET /instance/edit": operatorMay, "POST /instance/edit": operatorMay, "GET /instance/delete": operatorMay, "POST /instance/delete": operatorMay,
	"GET /key/new": adminMay, "POST /key/new": adminMay, "GET /key/revoke": adminMay, "POST /key/revoke": adminMay,
	"GET /users": adminMay, "GET /user/new": adminMay, "POST /user/new": adminMay, "GET /user/edit": adminMay, "POST /user/edit": adminMay,
	"GET /user/delete": adminMay, "POST /user/delete": adminMay, "GET /user/unlock": adminMay, "POST /user/unlock": adminMay,
}

// behindDoors lists every route and page that there is.
func behindDoors(c *Console) (all []string) {
	for _, r := range c.routes() {
		all = append(all, r.Method+" "+r.Path)
	}
	for _, p := range c.pages() {
		if p.get != nil {
			all = append(all, "GET "+p.path)
		}
		if p.post != nil {
			all = append(all, "POST "+p.path)
		}
	}
	return all
}

// TestRoleMatrix tries every door with a login session of every role, and with
// none. Writes show no token of their session: so those who may are refused
// for that, by every single door, and nothing is changed.
func TestRoleMatrix(t *testing.T) {
	h := &house{}
	d := guarded(t, func(c *Config) {
		c.Sender, c.Stats, c.Tail, c.Live, c.Members = h, h, h, h, &quorum{}
		c.OIDC = &OIDC{Issuer: "http://127.0.0.1:1", ClientID: "x", RedirectURL: "http://localhost/x", Roles: map[string]registry.Role{"a": registry.Admin}}
	})
	d.ok2("POST", "/api/v1/instances", `{"id":"demo_APP1"}`)
	d.ok2("POST", "/api/v1/instances/demo_APP1/sync", `{"bizType":"UCHAT","scope":"specified","target":"user"}`)
	people := map[registry.Role]*visitor{"": d.visitor(), registry.Viewer: d.member("ann", registry.Viewer), registry.Operator: d.member("bob", registry.Operator), registry.Admin: d.member("root", registry.Admin)}
	d.c.Close() // streams end at once
	all := behindDoors(d.c)
	for _, door := range all {
		if _, ok := doors[door]; !ok {
			t.Errorf("%s has no line in the table: say who may", door)
		}
	}
	for door := range doors {
		if !slices.Contains(all, door) {
			t.Errorf("%s is in the table and nowhere else", door)
		}
	}
	before := d.r.m.Revision()
	for door, need := range doors {
		method, where, _ := strings.Cut(door, " ")
		api := strings.HasPrefix(where, "/api/")
		for role, v := range people {
			if need == "" {
				continue // how one comes in; the tests of logins try it
			}
			csrf := v.csrf
			v.csrf = ""
			at := strings.TrimSuffix(filled(where), "{$}")
			if !api {
				at += "?i=demo_APP1&b=UCHAT&name=ann&on=true&seq=1&kind=api&id=0"
			}
			w := v.call(method, strings.ReplaceAll(at, "{memberId}", "r2"), "{}")
			v.csrf = csrf
			body := w.Body.String()
			byRole, byToken := strings.Contains(body, "this needs the role"), strings.Contains(body, "session&#39;s token") || strings.Contains(body, "session's token")
			switch {
			case role == "" && !api && method == "GET":
				if w.Code != http.StatusSeeOther || !strings.HasPrefix(w.Header().Get("Location"), "/login?back=") {
					t.Errorf("nobody: %s: %d to %q", door, w.Code, w.Header().Get("Location"))
				}
			case role == "":
				if w.Code != http.StatusUnauthorized {
					t.Errorf("nobody: %s: %d", door, w.Code)
				}
			case !role.May(need):
				if w.Code != http.StatusForbidden || !byRole {
					t.Errorf("%s: %s: %d %s", role, door, w.Code, mainOf(body))
				}
			case method == "GET":
				if w.Code == http.StatusUnauthorized || w.Code == http.StatusForbidden || w.Code == http.StatusSeeOther {
					t.Errorf("%s: %s: %d %s", role, door, w.Code, mainOf(body))
				}
			default:
				if w.Code != http.StatusForbidden || !byToken {
					t.Errorf("%s without the session's token: %s: %d %s", role, door, w.Code, mainOf(body))
				}
			}
		}
	}
	if d.r.m.Revision() != before || len(h.sent) > 0 {
		t.Error("something was changed")
	}
}

// TestFrames: no other site can put a page into a frame, and no answer is taken
// for another type than it says.
func TestFrames(t *testing.T) {
	d := guarded(t)
	v := d.visitor()
	v.login(FirstAdmin, annsPassword)
	calls := map[string]string{"/nowhere": "GET", "/login": "GET", "/preference?lang=en": "GET", "/assets/console.js": "GET", "/instance/new": "POST", "/login?x": "POST", "/": "GET", "/api/nothing": "GET", "/api/v1/session": "GET", "/api/v1/instances": "POST"}
	for where, method := range calls {
		for name, who := range map[string]*visitor{"somebody": v, "nobody": d.visitor()} {
			h := who.call(method, where, "").Header()
			if !strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") || h.Get("X-Frame-Options") != "DENY" || h.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s: %s %s: %v", name, method, where, h)
			}
		}
	}
	for _, where := range []string{"/api/v1/session", "/api/v1/audit", "/api/v1/users/nobody", "/", "/nowhere"} {
		if h := v.call("GET", where, "").Header(); h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s may be kept: %v", where, h)
		}
	}
	od, p := withProvider(t)
	o := od.visitor()
	if h := back(o, p.begin(o), "good code").Header(); !strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
		t.Errorf("the page after a login with OpenID Connect: %v", h)
	}
}

// hostile are addresses that lead elsewhere, or into the headers.
var hostile = []string{
	"//evil.example", "///evil.example", `/\evil.example`, `\/evil.example`, `\\evil.example`, "https://evil.example/", "HTTPS:evil.example", "https:/evil.example",
	"javascript:alert(1)", "data:text/html,x", " //evil.example", "\t//evil.example", "/\t/evil.example", "/\n/evil.example", "/..//evil.example", "/.//evil.example",
	"@evil.example", ".evil.example", "evil.example", "//evil.example/%2e%2e", "/x\r\nSet-Cookie: planted=1", "/x\nX-Planted: 1", "/x\r\n\r\n<script>", "/\x00", "/%0d%0aX-Planted:1",
	"http://localhost:8081@evil.example/", "//localhost:8081@evil.example/",
}

// TestNoRedirectElsewhere: wherever a page sends a browser on, it is to this
// server, and the address cannot write headers.
func TestNoRedirectElsewhere(t *testing.T) {
	d := guarded(t)
	base, err := url.Parse("http://localhost:8081/login")
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range hostile {
		form := url.Values{"name": {FirstAdmin}, "password": {annsPassword}, "back": {to}}
		login := d.submit("/login", form)
		shown := d.call("GET", "/login?back="+url.QueryEscape(to), "")
		if body := shown.Body.String(); strings.Contains(body, "evil.example\"") && strings.Contains(body, `name="back" value="http`) {
			t.Errorf("the form takes %q along", to)
		}
		preference := d.call("GET", "/preference?lang=en&back="+url.QueryEscape(to), "")
		for name, h := range map[string]http.Header{"login": login.Header(), "preference": preference.Header()} {
			at, err := base.Parse(h.Get("Location"))
			if err != nil || at.Host != base.Host || at.Scheme != "http" || strings.HasPrefix(h.Get("Location"), "//") || strings.ContainsAny(h.Get("Location"), "\\\r\n\t\x00") {
				t.Errorf("%s: back to %q leads to %q", name, to, h.Get("Location"))
			}
			if h.Get("X-Planted") != "" || strings.Contains(strings.Join(h.Values("Set-Cookie"), ";"), "planted") {
				t.Errorf("%s: %q wrote a header: %v", name, to, h)
			}
		}
	}
	// Where a page asks for a login first, it is this server's address that it keeps.
	for _, where := range []string{"//evil.example/x", "/configs?q=%0d%0aX-Planted:1", "/%0d%0aX-Planted:1"} {
		h := d.call("GET", where, "").Header()
		if at := h.Get("Location"); strings.ContainsAny(at, "\r\n") || h.Get("X-Planted") != "" || at != "" && (!strings.HasPrefix(at, "/") || strings.HasPrefix(at, "//")) {
			t.Errorf("%s leads to %q", where, at)
		}
	}
}

// TestNothingButAssets: no path reads another file.
func TestNothingButAssets(t *testing.T) {
	d, _, _ := pageDesk(t)
	for _, name := range []string{
		"layout.html", "../page.go", "..%2fpage.go", "..%5cpage.go", "%2e%2e/page.go", "%2e%2e%2fpage.go", "....//page.go", "console.css/../../page.go", "console.css%00", "/etc/passwd", "%2fetc%2fpasswd",
		"", ".", "console.css/", "web/console.css", "CONSOLE.CSS",
	} {
		r := d.call("GET", "/assets/"+name, "")
		if body := r.Body.String(); r.Code == http.StatusOK || strings.Contains(body, "package console") || strings.Contains(body, "root:") {
			t.Errorf("/assets/%s: %d %.80s", name, r.Code, body)
		}
	}
	for name := range assets {
		if r := d.call("GET", "/assets/"+name, ""); r.Code != http.StatusOK || r.Header().Get("Content-Type") != mediaTypes[path.Ext(name)] {
			t.Errorf("/assets/%s: %d %v", name, r.Code, r.Header())
		}
	}
}

// TestCookieFlags: no script reads a cookie, no other site brings the session
// along, and over TLS none goes without.
func TestCookieFlags(t *testing.T) {
	overTLS := func(r *http.Request) { r.TLS = &tls.ConnectionState{} }
	for _, secure := range []bool{false, true} {
		d, _ := withProvider(t)
		v := d.visitor()
		var all []*http.Cookie
		for _, c := range [][3]string{
			{"POST", "/api/v1/login", `{"name":"admin","password":"` + annsPassword + `"}`},
			{"GET", "/preference?lang=en&theme=dark", ""},
			{"GET", OIDCStart, ""},
			{"GET", OIDCCallback + "?state=x", ""},
			{"POST", "/api/v1/logout", ""},
		} {
			w := v.call(c[0], c[1], c[2], func(r *http.Request) {
				if secure {
					overTLS(r)
				}
				if c[1] == "/api/v1/logout" {
					s, _ := d.c.SessionOf(r)
					r.Header.Set(CSRFHeader, d.c.CSRF(s))
				}
			})
			if n := len(w.Result().Cookies()); n == 0 {
				t.Errorf("%s sets no cookie: %d %s", c[1], w.Code, w.Body)
			}
			all = append(all, w.Result().Cookies()...)
		}
		for _, c := range all {
			session := c.Name == "tidemark_session" || c.Name == "__Host-tidemark"
			site := http.SameSiteLaxMode
			if session {
				site = http.SameSiteStrictMode
			}
			if !c.HttpOnly || c.Secure != secure || c.SameSite != site || c.Domain != "" || session && (c.Path != "/" || secure != strings.HasPrefix(c.Name, "__Host-")) {
				t.Errorf("TLS %t: %s", secure, c)
			}
		}
	}
}

// TestOIDCKeyConfusion: a token that is signed with what everybody knows, the
// provider's public key, or with the client's secret, is no token.
func TestOIDCKeyConfusion(t *testing.T) {
	d, p := withProvider(t)
	der, err := x509.MarshalPKIXPublicKey(&p.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, secret := range map[string][]byte{
		"public key": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "modulus": p.key.N.Bytes(), "client secret": []byte("client secret"),
	} {
		p.alter = func(t *jwt.Token) *jwt.Token {
			other := jwt.NewWithClaims(jwt.SigningMethodHS256, t.Claims)
			other.Header["kid"] = "k"
			return other
		}
		p.sign = secret
		v := d.visitor()
		if w := back(v, p.begin(v), "good code"); w.Code != http.StatusUnauthorized || v.in() || d.r.m.User("ann") != nil {
			t.Errorf("signed with the %s: %d %s", name, w.Code, w.Body)
		}
	}
}

// TestSessionFixationByPage: the form's login makes a session of its own too,
// at a node that knows what the browser brought, and the one before is over.
func TestSessionFixationByPage(t *testing.T) {
	a := guarded(t)
	b, _ := a.beside()
	attacker := a.member("eve", registry.Viewer)
	victim := attacker.at(b) // eve's cookie was planted in somebody's browser
	form := url.Values{"name": {FirstAdmin}, "password": {annsPassword}}.Encode()
	planted := maps.Clone(victim.cookies)
	w := victim.call("POST", "/login", form, func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") })
	if w.Code != http.StatusSeeOther || victim.cookies["tidemark_session"].Value == planted["tidemark_session"].Value {
		t.Fatalf("login: %d", w.Code)
	}
	var who Whoami
	if got := victim.call("GET", "/api/v1/session", "").Body.String(); !strings.Contains(got, `"name":"admin"`) {
		t.Errorf("the browser is %s %v", got, who)
	}
	if attacker.in() || attacker.at(b).in() {
		t.Error("the planted session lives on")
	}
	victim.csrf = attacker.csrf
	if w := victim.call("POST", "/api/v1/instances", `{"id":"a"}`); w.Code != http.StatusForbidden {
		t.Errorf("the planted session's token is good for the new one: %d", w.Code)
	}
}

// S003-169, S003-170: what a record shows of sent data, and of a config that
// was made, taken offline and online, and deleted: as it was at that moment.
func TestRecordsShowTheMoment(t *testing.T) {
	d, _, _ := pageDesk(t)
	record := func() string {
		return mainOf(d.call("GET", fmt.Sprintf("/record?seq=%d", d.r.m.Audit(registry.AuditFilter{Limit: 1})[0].Seq), "").Body.String())
	}
	row := func(page, field, value string) bool {
		return strings.Contains(page, `<th scope="row">`+field) && strings.Contains(page, `<td class="wrap">`+value+`</td>`)
	}
	made := createForm(map[string]string{"bizType": "MOMENT", "description": "the first words"})
	d.done("/config/new", made)
	if page := record(); !row(page, "Identifier", "MOMENT") || !row(page, "Description", "the first words") || !row(page, "Scope", "Specified") || !row(page, "Target", "User") {
		t.Errorf("made: %s", page)
	}
	const at = "?i=default_APP1&b=MOMENT"
	d.submit("/config/send"+at, url.Values{"target": {"alice"}, "data": {"some data"}, "uniqueId": {"m-1"}, "os": {"Android", "iOS"}, "appMinVersion": {"1.0"}, "appMaxVersion": {"2.0"}, "validDays": {"3"}})
	for _, want := range []string{"alice", "some data", "m-1", "1.0", "2.0", "3", "2024-04-13 18:02:52"} {
		if page := record(); !strings.Contains(page, ">"+want+"<") {
			t.Errorf("sent: no %q in %s", want, page)
		}
	}
	d.done("/config/offline"+at, nil)
	if page := record(); !row(page, "Identifier", "MOMENT") || !row(page, "Description", "the first words") {
		t.Errorf("offline: %s", page)
	}
	d.done("/config/online"+at, nil)
	if page := record(); !row(page, "Description", "the first words") {
		t.Errorf("online: %s", page)
	}
	d.done("/config/offline"+at, nil)
	d.done("/config/delete"+at, nil)
	if page := record(); !row(page, "Identifier", "MOMENT") || !row(page, "Description", "the first words") || !row(page, "Online", "No") {
		t.Errorf("deleted: %s", page)
	}
}
