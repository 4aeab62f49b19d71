package console

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/topology/registry"
)

const (
	annsPassword = "correct horse 9"
	botsPassword = "battery staple 8"
)

// visitor is somebody with a browser.
type visitor struct {
	d       *desk
	cookies map[string]*http.Cookie
	csrf    string
	from    string
}

// guarded is a console whose door is not open, with a first admin.
func guarded(t *testing.T, change ...func(*Config)) *desk {
	t.Helper()
	d := newDesk(t, append([]func(*Config){func(c *Config) { c.Authorize = WithToken("admin token") }}, change...)...)
	if made, err := d.c.EnsureAdmin(t.Context(), annsPassword); err != nil || made != "" {
		t.Fatalf("first admin: %q, %v", made, err)
	}
	return d
}

func (d *desk) visitor() *visitor {
	return &visitor{d: d, cookies: map[string]*http.Cookie{}, from: "192.0.2.7:4711"}
}

func (v *visitor) call(method, path, body string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	v.d.t.Helper()
	w := v.d.call(method, path, body, append([]func(*http.Request){func(r *http.Request) {
		r.RemoteAddr = v.from
		for _, c := range v.cookies {
			r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
		}
		if v.csrf != "" {
			r.Header.Set(CSRFHeader, v.csrf)
		}
	}}, change...)...)
	for _, c := range w.Result().Cookies() {
		if v.cookies[c.Name] = c; c.MaxAge < 0 {
			delete(v.cookies, c.Name)
		}
	}
	return w
}

func (v *visitor) login(name, password string) int {
	v.d.t.Helper()
	b, err := json.Marshal(LoginForm{name, password})
	if err != nil {
		v.d.t.Fatal(err)
	}
	w := v.call("POST", "/api/v1/login", string(b))
	var who Whoami
	if json.Unmarshal(w.Body.Bytes(), &who) == nil {
		v.csrf = who.CSRF
	}
	return w.Code
}

func (v *visitor) in() bool { return v.call("GET", "/api/v1/instances", "").Code == http.StatusOK }

// member makes a user and a browser where that user is logged in.
func (d *desk) member(name string, role registry.Role) *visitor {
	d.t.Helper()
	admin := d.visitor()
	if admin.login(FirstAdmin, annsPassword) != http.StatusOK {
		d.t.Fatal("the admin cannot log in")
	}
	b, _ := json.Marshal(UserForm{Name: name, Role: role, Password: botsPassword})
	if w := admin.call("POST", "/api/v1/users", string(b)); w.Code != http.StatusCreated {
		d.t.Fatalf("make user: %d %s", w.Code, w.Body)
	}
	v := d.visitor()
	if code := v.login(name, botsPassword); code != http.StatusOK {
		d.t.Fatalf("%s logs in: %d", name, code)
	}
	return v
}

func TestFirstAdmin(t *testing.T) {
	d := newDesk(t, func(c *Config) { c.Authorize = WithToken("admin token") })
	made, err := d.c.EnsureAdmin(t.Context(), "")
	if err != nil || len(made) < MinPassword {
		t.Fatalf("it thought of %q, %v", made, err)
	}
	if again, err := d.c.EnsureAdmin(t.Context(), ""); err != nil || again != "" {
		t.Errorf("at the second start: %q, %v", again, err)
	}
	if v := d.visitor(); v.login(FirstAdmin, made) != http.StatusOK || !v.in() {
		t.Error("the password that was shown opens nothing")
	}
	if _, err := newDesk(t).c.EnsureAdmin(t.Context(), "short"); err == nil {
		t.Error("a short password was taken")
	}
}

func TestCookie(t *testing.T) {
	d := guarded(t)
	v := d.visitor()
	v.login(FirstAdmin, annsPassword)
	c := v.cookies["tidemark_session"]
	if c == nil || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Secure || c.Path != "/" || c.Domain != "" {
		t.Errorf("the cookie is %+v", c)
	}
	d = guarded(t, func(c *Config) { c.SecureCookies = true })
	v = d.visitor()
	v.login(FirstAdmin, annsPassword)
	if c := v.cookies["__Host-tidemark"]; c == nil || !c.Secure || !v.in() {
		t.Errorf("behind TLS the cookie is %+v", c)
	}
}

// TestWrongLogins: nobody learns which of name and password was wrong.
func TestWrongLogins(t *testing.T) {
	d := guarded(t)
	answers := map[string]bool{}
	for _, f := range []LoginForm{{FirstAdmin, "wrong password"}, {"nobody", annsPassword}, {"", annsPassword}, {FirstAdmin, ""}, {strings.Repeat("x", 101), "y"}, {FirstAdmin, strings.Repeat("x", MaxPassword+1)}} {
		b, _ := json.Marshal(f)
		w := d.visitor().call("POST", "/api/v1/login", string(b))
		answers[strconv.Itoa(w.Code)+w.Body.String()] = true
	}
	if len(answers) != 1 {
		t.Errorf("different answers: %v", answers)
	}
	if r := d.r.m.Audit(registry.AuditFilter{Actions: []registry.Action{registry.LoginFailed}}); len(r) != 3 {
		t.Errorf("%d failed logins are in the audit", len(r))
	}
	ok, err := comparePassword(nobody, "")
	if ok || err != nil {
		t.Errorf("the hash of nobody: %t, %v", ok, err)
	}
	// A user without a password, and one that is disabled, take as long as any.
	for _, stored := range []string{""} {
		if ok, err := d.c.samePassword(t.Context(), stored, ""); ok || err != nil {
			t.Errorf("no password: %t, %v", ok, err)
		}
	}
}

func TestBruteForce(t *testing.T) {
	d := guarded(t)
	v := d.visitor()
	for i := range failuresUser {
		if code := v.login(FirstAdmin, "guess "+strconv.Itoa(i)); code != http.StatusUnauthorized {
			t.Fatalf("guess %d: %d", i, code)
		}
	}
	records := d.r.m.AuditLen()
	w := v.call("POST", "/api/v1/login", `{"name":"admin","password":"`+annsPassword+`"}`)
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("the right password during the lock: %d", w.Code)
	}
	if d.r.m.AuditLen() != records {
		t.Error("who is locked out can fill the audit")
	}
	other := d.visitor()
	other.from = "192.0.2.99:1"
	if code := other.login(FirstAdmin, annsPassword); code != http.StatusTooManyRequests {
		t.Errorf("from another address the same user: %d", code)
	}
	d.now = d.now.Add(lockFirst + time.Second)
	if code := v.login(FirstAdmin, annsPassword); code != http.StatusOK {
		t.Errorf("after the lock: %d", code)
	}
}

func TestThrottle(t *testing.T) {
	now, nothing := time.Unix(0, 0), &registry.Model{}
	th := newThrottle()
	for i := range failuresAddress {
		if wait := th.begin(now, nothing, "user"+strconv.Itoa(i), "2001:db8::"+strconv.Itoa(i)); wait > 0 {
			t.Fatalf("attempt %d waits %s", i, wait)
		}
	}
	if th.begin(now, nothing, "fresh", "2001:db8::ffff") == 0 {
		t.Error("an address of the same network is not locked")
	}
	if th.begin(now, nothing, "fresh", "2001:db8:1::1") > 0 {
		t.Error("an address of another network is locked")
	}
	locks := []time.Duration{}
	for range failuresUser + 5 {
		if wait := th.begin(now, nothing, "one", strconv.Itoa(len(locks))); wait > 0 {
			locks = append(locks, wait)
			now = now.Add(wait)
		}
	}
	for i := 1; i < len(locks); i++ {
		if locks[i] < locks[i-1] || locks[i] > lockMax {
			t.Errorf("locks are %v", locks)
		}
	}
	for i := range 3 * throttleMax {
		th.begin(now, nothing, "many"+strconv.Itoa(i), "many"+strconv.Itoa(i))
	}
	if len(th.by) > throttleMax || th.order.Len() != len(th.by) {
		t.Errorf("it remembers %d in %d", th.order.Len(), len(th.by))
	}
}

func TestCSRF(t *testing.T) {
	d := guarded(t)
	v := d.member("op", registry.Operator)
	token := v.csrf
	other := d.visitor()
	other.login(FirstAdmin, annsPassword)
	for _, shown := range []string{"", "x", other.csrf} {
		v.csrf = shown
		if w := v.call("POST", "/api/v1/instances", `{"id":"a"}`); w.Code != http.StatusForbidden {
			t.Errorf("with token %q: %d", shown, w.Code)
		}
	}
	v.csrf = token
	for name, value := range map[string]string{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"} {
		if w := v.call("POST", "/api/v1/instances", `{"id":"a"}`, func(r *http.Request) { r.Header.Set(name, value) }); w.Code != http.StatusForbidden {
			t.Errorf("%s: %s: %d", name, value, w.Code)
		}
		if w := v.call("POST", "/api/v1/login", `{}`, func(r *http.Request) { r.Header.Set(name, value) }); w.Code != http.StatusForbidden {
			t.Errorf("a login from elsewhere with %s: %d", name, w.Code)
		}
	}
	if d.r.m.InstanceCount() != 0 {
		t.Error("something was written")
	}
	if w := v.call("POST", "/api/v1/instances", `{"id":"a"}`); w.Code != http.StatusCreated {
		t.Errorf("with the token: %d %s", w.Code, w.Body)
	}
}

// TestSessionFixation: what a browser brought to the login is not what it has
// after.
func TestSessionFixation(t *testing.T) {
	d := guarded(t)
	v := d.visitor()
	v.cookies["tidemark_session"] = &http.Cookie{Name: "tidemark_session", Value: "planted"}
	v.login(FirstAdmin, annsPassword)
	first := v.cookies["tidemark_session"]
	if first.Value == "planted" {
		t.Fatal("the planted cookie stayed")
	}
	v.login(FirstAdmin, annsPassword)
	if v.cookies["tidemark_session"].Value == first.Value {
		t.Error("the second login did not make another session")
	}
	old := d.visitor()
	old.cookies[first.Name] = first
	if old.in() {
		t.Error("the first session is still open")
	}
}

func TestForgedCookies(t *testing.T) {
	d := guarded(t)
	v := d.visitor()
	v.login(FirstAdmin, annsPassword)
	good := v.cookies["tidemark_session"].Value
	text, sum, _ := strings.Cut(good, ".")
	other := newDesk(t)
	other.r.m = &registry.Model{} // of another cluster key
	s, _ := d.c.SessionOf(func() *http.Request {
		r := httptest.NewRequest("GET", "/", nil)
		r.AddCookie(&http.Cookie{Name: "tidemark_session", Value: good})
		return r
	}())
	foreign, err := other.c.seal("session", s)
	if err != nil {
		t.Fatal(err)
	}
	label, err := d.c.seal("oidc", s)
	if err != nil {
		t.Fatal(err)
	}
	for _, forged := range []string{"", ".", text, text + ".", text + "." + sum[:len(sum)-2], "A" + text + "." + sum, foreign, label, strings.Repeat("x", maxCookie+1)} {
		v.cookies = map[string]*http.Cookie{"tidemark_session": {Name: "tidemark_session", Value: forged}}
		if v.in() {
			t.Errorf("%.40q opens the door", forged)
		}
	}
	v.cookies = map[string]*http.Cookie{"tidemark_session": {Name: "tidemark_session", Value: good}}
	if !v.in() {
		t.Error("the good one does not")
	}
}

func TestSessionsEnd(t *testing.T) {
	for name, end := range map[string]func(d *desk, v *visitor){
		"idle": func(d *desk, _ *visitor) { d.now = d.now.Add(SessionIdle + time.Second) },
		"age": func(d *desk, v *visitor) {
			for end := d.now.Add(SessionMax); d.now.Before(end); d.now = d.now.Add(SessionIdle / 2) {
				if !v.in() {
					d.t.Fatal("it ended too early")
				}
			}
			d.now = d.now.Add(time.Second)
		},
		"password": func(d *desk, _ *visitor) { d.ok2("PUT", "/api/v1/users/op", `{"password":"another one 7"}`) },
		"disabled": func(d *desk, _ *visitor) { d.ok2("PUT", "/api/v1/users/op", `{"disabled":true}`) },
		"role":     func(d *desk, _ *visitor) { d.ok2("PUT", "/api/v1/users/op", `{"role":"viewer"}`) },
		"deleted":  func(d *desk, _ *visitor) { d.ok2("DELETE", "/api/v1/users/op", "") },
		"made anew": func(d *desk, _ *visitor) {
			d.ok2("DELETE", "/api/v1/users/op", "")
			d.now = d.now.Add(time.Second)
			d.ok2("POST", "/api/v1/users", `{"name":"op","role":"admin","password":"another one 7"}`)
		},
		"own password": func(d *desk, v *visitor) {
			keep := v.cookies["tidemark_session"]
			if w := v.call("POST", "/api/v1/password", `{"current":"wrong","password":"another one 7"}`); w.Code != http.StatusForbidden {
				d.t.Errorf("with a wrong current password: %d", w.Code)
			}
			if w := v.call("POST", "/api/v1/password", `{"current":"`+botsPassword+`","password":"another one 7"}`); w.Code != http.StatusOK {
				d.t.Errorf("own password: %d %s", w.Code, w.Body)
			}
			v.cookies["tidemark_session"] = keep
		},
		"logout": func(d *desk, v *visitor) {
			keep := v.cookies["tidemark_session"]
			if w := v.call("POST", "/api/v1/logout", ""); w.Code != http.StatusOK || len(v.cookies) != 0 {
				d.t.Errorf("logout: %d", w.Code)
			}
			v.cookies["tidemark_session"] = keep
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := guarded(t)
			v := d.member("op", registry.Operator)
			if !v.in() {
				t.Fatal("it is not in")
			}
			if end(d, v); v.in() {
				t.Error("it is still in")
			}
		})
	}
}

// ok2 is ok with the admin token.
func (d *desk) ok2(method, path, body string) string {
	d.t.Helper()
	w := d.token(method, path, body)
	if w.Code/100 != 2 {
		d.t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	return w.Body.String()
}

func (d *desk) token(method, path, body string) *httptest.ResponseRecorder {
	return d.call(method, path, body, func(r *http.Request) { r.Header.Set("Authorization", "Bearer admin token") })
}

// TestRoleEscalation: nobody gives themselves more than they have, by any door.
func TestRoleEscalation(t *testing.T) {
	d := guarded(t)
	d.ok2("POST", "/api/v1/instances", `{"id":"demo_APP1"}`)
	for _, role := range []registry.Role{registry.Viewer, registry.Operator} {
		v := d.member(string(role)+"1", role)
		for _, c := range [][3]string{
			{"PUT", "/api/v1/users/" + string(role) + "1", `{"role":"admin"}`},
			{"POST", "/api/v1/users", `{"name":"x","role":"admin","password":"another one 7"}`},
			{"POST", "/api/v1/instances/demo_APP1/keys", `{"for":"api"}`},
			{"PUT", "/api/v1/service/signature", `{"on":true}`},
			{"PUT", "/api/v1/config", `{"instances":[{"id":"demo_APP1","apiKeys":["mine"]}]}`},
		} {
			if w := v.call(c[0], c[1], c[2]); w.Code != http.StatusForbidden {
				t.Errorf("%s: %s %s: %d %s", role, c[0], c[1], w.Code, w.Body)
			}
		}
	}
	if _, err := d.c.Change(t.Context(), Caller{Name: "op", Role: registry.Operator}, "", false, registry.SetSignature{On: true}); err == nil {
		t.Error("a page can do for an operator what an admin may")
	}
	if d.r.m.Signature() || len(d.r.m.Instance("demo_APP1").APIKeys) > 0 {
		t.Error("something was done")
	}
	if w := d.token("DELETE", "/api/v1/users/"+FirstAdmin, ""); w.Code != http.StatusConflict {
		t.Errorf("the last admin was removed: %d", w.Code)
	}
}

// TestSecretsStayInside: no secret is in a log line or in what any GET answers.
func TestSecretsStayInside(t *testing.T) {
	var log strings.Builder
	d := guarded(t, func(c *Config) {
		c.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	d.ok2("POST", "/api/v1/instances", `{"id":"demo_APP1"}`)
	v := d.member("op", registry.Operator)
	var key NewKey
	if err := json.Unmarshal([]byte(d.ok2("POST", "/api/v1/instances/demo_APP1/keys", `{"for":"api"}`)), &key); err != nil {
		t.Fatal(err)
	}
	v.login("op", "typed wrongly 77")
	v.login("op", botsPassword)
	i := d.r.m.Instance("demo_APP1")
	hash, _ := i.APIKeys[0].Hash.MarshalText()
	sign, _ := i.APIKeys[0].Sign.MarshalText()
	secrets := []string{annsPassword, botsPassword, "typed wrongly 77", key.Secret, string(hash), string(sign), "$argon2id$", "admin token", v.cookies["tidemark_session"].Value}
	for _, r := range d.c.routes() {
		if r.Method != "GET" || strings.Contains(r.Media, "event-stream") {
			continue
		}
		w := d.token("GET", filled(r.Path), "")
		for _, s := range secrets {
			if strings.Contains(w.Body.String(), s) {
				t.Errorf("GET %s tells %.12q…", r.Path, s)
			}
		}
	}
	d.r.down = errTest
	d.token("POST", "/api/v1/login", `{"name":"op","password":"`+botsPassword+`"}`)
	d.token("POST", "/api/v1/users", `{"name":"q","role":"viewer","password":"`+botsPassword+`"}`)
	for _, s := range secrets {
		if strings.Contains(log.String(), s) {
			t.Errorf("the log tells %.12q…: %s", s, log.String())
		}
	}
	if log.Len() == 0 {
		t.Error("nothing was logged, so nothing was tried")
	}
}
