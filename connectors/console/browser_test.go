//go:build browser

package console

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// axeVersion of axe-core, which npm brings into the cache.
const axeVersion = "4.14.1"

// stepTime bounds one step in the browser.
const stepTime = 20 * time.Second

// screen is Chromium at a console's pages.
type screen struct {
	t    *testing.T
	ctx  context.Context
	base string

	mu       sync.Mutex
	mistakes []string // what pages wrote to the browser's console
}

// openScreen starts the console and Chromium.
func openScreen(t *testing.T, d *desk) *screen {
	t.Helper()
	var browser string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			browser = path
			break
		}
	}
	if browser == "" {
		t.Fatal("no Chromium: apt-get install chromium")
	}
	server := httptest.NewServer(d.c.Handler())
	t.Cleanup(server.Close)
	t.Cleanup(d.c.Close) // first: streams hold the server open
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(browser), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 860),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.WSURLReadTimeout(60*time.Second),
		chromedp.Flag("accept-lang", "en"))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancelTab := chromedp.NewContext(ctx)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits for the browser to end
		cancelTab()
	})
	s := &screen{t: t, ctx: ctx, base: server.URL}
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("start %s: %v", browser, err)
	}
	if err := chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			s.mistake(fmt.Sprint(e.ExceptionDetails.Text, " ", e.ExceptionDetails.URL))
		case *log.EventEntryAdded:
			// Refused forms are answered with their status; that is no mistake of a page.
			if e.Entry.Level == log.EntryLevelError && e.Entry.Source != log.EntrySourceNetwork {
				s.mistake(e.Entry.Text)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *screen) mistake(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mistakes = append(s.mistakes, text)
}

// do runs steps, each in its time.
func (s *screen) do(actions ...chromedp.Action[chromedp.Void]) {
	s.t.Helper()
	for i, a := range actions {
		ctx, cancel := context.WithTimeout(s.ctx, stepTime)
		err := chromedp.Do(ctx, a)
		cancel()
		if err != nil {
			at, _ := chromedp.Run(s.ctx, chromedp.Evaluate[string]("location.href"))
			text, _ := chromedp.Run(s.ctx, chromedp.Evaluate[string]("document.querySelector('main').innerText"))
			s.t.Fatalf("step %d at %s: %v\n%s", i, at, err, text)
		}
	}
}

// eval gives what an expression of the page, or its promise, comes to.
func (s *screen) eval(expression string) any {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, stepTime)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[any](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		s.t.Fatalf("evaluate %.80s: %v", expression, err)
	}
	return value
}

func (s *screen) visit(path string) { s.t.Helper(); s.do(chromedp.Navigate(s.base + path)) }

// press clicks what a selector finds and waits for the page that comes.
func (s *screen) press(selector string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, stepTime)
	defer cancel()
	if _, err := chromedp.RunResponse(ctx, chromedp.Click(chromedp.CSS(selector))); err != nil {
		s.t.Fatalf("click %s: %v", selector, err)
	}
}

// ok submits the page's form.
func (s *screen) ok() {
	s.t.Helper()
	s.press(`form[method=post] .actions button, form.actions[method=post] button`)
}

func (s *screen) fill(field, value string) {
	s.t.Helper()
	s.set(field, "")
	s.do(chromedp.SendKeys(chromedp.CSS(`main [name="`+field+`"]`), value))
}

// set gives a field a value at once, as choosing from a list does.
func (s *screen) set(field, value string) {
	s.t.Helper()
	s.eval(fmt.Sprintf(`document.querySelector('main [name="%s"]').value = %q`, field, value))
}

// choose takes an option of a list, and says so to the page.
func (s *screen) choose(field, value string) {
	s.t.Helper()
	s.set(field, value)
	s.eval(fmt.Sprintf(`document.querySelector('main [name="%s"]').dispatchEvent(new Event('change', {bubbles: true}))`, field))
}

func (s *screen) pick(field, value string) {
	s.t.Helper()
	s.do(chromedp.Click(chromedp.CSS(fmt.Sprintf(`[name="%s"][value="%s"]`, field, value))))
}

// is waits until an expression of the page is true.
func (s *screen) is(expression string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, stepTime)
	defer cancel()
	for {
		// A page on its way out has no answer.
		if yes, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expression)); err == nil && yes {
			return
		}
		select {
		case <-ctx.Done():
			at, _ := chromedp.Run(s.ctx, chromedp.Evaluate[string]("location.href"))
			text, _ := chromedp.Run(s.ctx, chromedp.Evaluate[string]("document.querySelector('main').innerText"))
			s.t.Fatalf("at %s it is never true that %s\n%s", at, expression, text)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *screen) shows(words string) {
	s.t.Helper()
	s.is(fmt.Sprintf("document.querySelector('main').innerText.includes(%q)", words))
}

func (s *screen) at(path string) {
	s.t.Helper()
	s.is(fmt.Sprintf("location.pathname === %q && document.readyState === 'complete'", path))
}

// offers checks that fields are shown and can be filled in, or neither.
func (s *screen) offers(selector string, yes bool) {
	s.t.Helper()
	s.is(fmt.Sprintf("[...document.querySelectorAll(%q)].every((e) => e.checkVisibility() === %t && [...e.querySelectorAll('input')].every((i) => i.disabled === %t))", selector, yes, !yes))
}

func (s *screen) clean() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.mistakes {
		s.t.Errorf("a page wrote to the browser's console: %s", m)
	}
}

// An operator's day, with every action there is.
func TestBrowserActions(t *testing.T) {
	d, parts, _ := pageDesk(t)
	s := openScreen(t, d)
	model := func() *registry.Model { m, _ := d.r.Now(); return m }

	// Create: the form offers what goes together (S003-132 to S003-139).
	s.visit("/configs")
	s.press(`[data-new]`)
	s.offers(".multi, .consist, .keep, .again", true)
	s.offers(".thresh", false)
	s.pick("target", "device")
	s.offers(".multi, .consist", false)
	s.pick("target", "user")
	s.pick("persistent", "false")
	s.offers(".again, .thresh", false)
	s.pick("scope", "global")
	s.offers(".multi, .keep", false)
	s.offers(".again", true)
	s.pick("scope", "specified")
	s.pick("persistent", "true")
	s.pick("repush", "threshold")
	s.is("!document.querySelector('#threshold').disabled && document.querySelector('#threshold').required")
	s.fill("threshold", "5")
	s.fill("bizType", "DEVICE-LOCK")
	s.fill("description", "locks")
	s.ok()
	s.at("/config")
	s.shows("DEVICE-LOCK")
	s.shows("Online")

	// Send, and watch it arrive by itself (S003-145).
	s.press(`main a[href^="/config/send"]`)
	s.fill("target", "alice")
	s.fill("data", "hello <b>there</b>")
	s.fill("uniqueId", "m-77")
	s.ok()
	s.shows("Accepted")
	s.is("document.querySelector('[data-entries]').innerText.includes('hello <b>there</b>')")
	parts.mu.Lock()
	sent := len(parts.sent)
	parts.mu.Unlock()
	if sent != 1 {
		t.Errorf("sent %d times", sent)
	}

	// Offline: asked, cancelled, asked again (S003-142); then modify, delete.
	const lock = "?i=default_APP1&b=DEVICE-LOCK"
	s.visit("/config" + lock)
	s.press(`main a[href^="/config/offline"]`)
	s.press(`.actions a.plain`)
	s.at("/config")
	if !model().Sync("default_APP1", "DEVICE-LOCK").Online {
		t.Error("a cancelled question took the config offline")
	}
	s.press(`main a[href^="/config/edit"]`)
	s.fill("description", "locks of devices")
	s.ok()
	s.shows("locks of devices")
	s.press(`main a[href^="/config/offline"]`)
	s.ok()
	s.shows("Offline")
	s.press(`main a[href^="/config/online"]`)
	s.ok()
	s.shows("Online")
	s.press(`main a[href^="/config/offline"]`)
	s.ok()
	s.press(`main a[href^="/config/delete"]`)
	s.ok()
	s.at("/configs")
	if model().Sync("default_APP1", "DEVICE-LOCK") != nil {
		t.Error("the config is still there")
	}

	// Records: filter, and what changed is red (S003-164, S003-168).
	s.visit("/records?name=DEVICE-LOCK")
	s.set("action", "config.modify")
	s.press(`.filters button`)
	s.press(`tbody a`)
	s.is("document.querySelectorAll('tr.changed').length === 1 && getComputedStyle(document.querySelector('tr.changed td')).color === 'rgb(168, 33, 28)'")

	// The signature switch (S003-161).
	s.visit("/service")
	s.press(`main a.button`)
	s.ok()
	s.shows("Turn off")
	if !model().Signature() {
		t.Error("signatures are off")
	}

	// Data query, by its form (S003-155, S003-160).
	parts.target = &Target{InstanceID: "default_APP1", Name: "alice", Known: true, Connected: true, Pushes: 3, Arrivals: 2}
	s.visit("/query")
	s.fill("q", "alice")
	s.press(`.filters button`)
	s.shows("Connected")
	s.fill("q", "nobody")
	s.press(`.filters button`)
	s.shows(texts["unknown"].English)

	// Instances, keys, users.
	s.visit("/instances")
	s.press(`[data-new]`)
	s.fill("id", "default_APP2")
	s.ok()
	s.press(`main a[href^="/instance/edit"]`)
	s.fill("description", "second app")
	s.ok()
	s.shows("second app")

	// JWT: the form offers what the algorithm needs; a secret is never shown again.
	jwt := func() *registry.JWT { return model().Instance("default_APP2").JWT }
	s.press(`main a[href^="/instance/edit"]`)
	s.offers(".hmac, .keyed, .claims", false)
	s.choose("jwt", "HS256")
	s.offers(".hmac, .claims", true)
	s.offers(".keyed", false)
	s.fill("secret", "too short")
	s.ok()
	s.shows("at least 32 bytes")
	s.is("document.querySelector('#secret').value === ''")
	s.fill("secret", strings.Repeat("s", 32))
	s.fill("issuer", "https://tenant.example")
	s.fill("userClaim", "uid")
	s.ok()
	s.at("/instance")
	s.shows("https://tenant.example")
	if j := jwt(); j == nil || j.Secret != strings.Repeat("s", 32) || j.UserClaim != "uid" {
		t.Errorf("JWT settings %+v", j)
	}
	s.press(`main a[href^="/instance/edit"]`)
	s.is("document.querySelector('#secret').value === '' && document.querySelector('#jwt').value === 'HS256'")
	s.fill("audience", "app")
	s.ok()
	if j := jwt(); j.Secret != strings.Repeat("s", 32) || j.Audience != "app" {
		t.Errorf("with the secret left empty: %+v", j)
	}
	s.press(`main a[href^="/instance/edit"]`)
	s.choose("jwt", "RS256 ES256")
	s.offers(".keyed, .claims", true)
	s.offers(".hmac", false)
	s.fill("jwks", "https://10.0.0.7/keys")
	s.ok()
	s.shows("not a public address")
	s.do(chromedp.Click(chromedp.CSS(`[name="jwksPrivate"]`)))
	s.ok()
	s.at("/instance")
	if j := jwt(); j.JWKS != "https://10.0.0.7/keys" || !j.AllowPrivate || j.Secret != "" {
		t.Errorf("with a key set: %+v", j)
	}
	s.visit("/records?action=instance.modify")
	s.press(`tbody a`)
	s.is("[...document.querySelectorAll('tr.changed th')].some((e) => e.innerText.startsWith('Token secret'))")
	s.is(fmt.Sprintf("!document.body.innerText.includes(%q)", strings.Repeat("s", 32)))
	s.visit("/instance?i=default_APP2")
	s.press(`[data-new]`)
	s.fill("label", "backend")
	s.ok()
	s.is("document.querySelector('[data-secret]').innerText.startsWith('ak_')")
	s.press(`main a.button`)
	s.press(`main a[href^="/key/revoke"]`)
	s.ok()
	s.press(`main a[href^="/instance/delete"]`)
	s.ok()
	s.at("/instances")
	s.visit("/users")
	s.press(`[data-new]`)
	s.fill("name", "bob")
	s.fill("password", "correct horse 9")
	s.ok()
	s.press(`tbody th a`)
	s.set("role", "operator")
	s.ok()
	if u := model().User("bob"); u == nil || u.Role != registry.Operator {
		t.Errorf("user %+v", u)
	}
	s.press(`tbody a.danger`)
	s.ok()
	if model().User("bob") != nil {
		t.Error("the user is still there")
	}

	// Unlock, from the list of who is locked out.
	if _, err := d.r.apply(registry.Command{Time: d.now.UnixMilli(), Ops: []registry.Op{registry.LockLogin{For: registry.KindUser, Name: "carol", Failures: 5, Until: d.now.Add(time.Minute).UnixMilli()}}}); err != nil {
		t.Fatal(err)
	}
	s.visit("/users")
	s.shows("carol")
	s.press(`main a[href^="/user/unlock"]`)
	s.ok()
	s.at("/users")
	if model().Lock(registry.KindUser, "carol") != nil {
		t.Error("carol is still locked out")
	}

	// Live figures, charts and tail come by themselves; text stays text.
	s.visit("/")
	s.is("document.querySelectorAll('svg.spark path').length === 10 && document.querySelector('[data-rate=calls]').innerText === '120.0'")
	s.visit("/oplog?last=3")
	s.is("document.querySelector('[data-entries]').innerText.includes('<script>alert(1)</script>')")
	s.do(chromedp.Click(chromedp.CSS(`[data-stop]`)))

	// Keyboard: the skip link is first, / goes to the search, g c to the configs, ? to the help.
	s.visit("/records")
	s.do(chromedp.KeyEvent("\t"))
	s.is("document.activeElement.className === 'skip'")
	s.do(chromedp.KeyEvent("/"))
	s.is("document.activeElement.type === 'search'")
	s.do(chromedp.KeyEvent("\x1b"), chromedp.KeyEvent("g"), chromedp.KeyEvent("c"))
	s.at("/configs")
	s.do(chromedp.KeyEvent("n"))
	s.at("/config/new")
	s.visit("/configs")
	s.do(chromedp.KeyEvent("?"))
	s.at("/help")

	// Dark and Chinese, and back to the same page.
	s.press(`#theme`)
	s.at("/help")
	s.is("document.documentElement.dataset.theme === 'dark' && getComputedStyle(document.body).backgroundColor === 'rgb(16, 24, 27)'")
	s.press(`.who a[lang="zh-CN"]`)
	s.shows("键盘快捷键")
	s.visit("/instance/new")
	s.fill("id", "default_APP1")
	s.ok()
	s.shows(`实例: 实例 "default_APP1" 已存在`)
	s.visit("/help")
	s.is("document.documentElement.lang === 'zh-CN'")
	s.clean()
}

// A person logs in, is led back to where they wanted to go, and logs out.
func TestBrowserLogin(t *testing.T) {
	d := newDesk(t, func(c *Config) { c.Authorize = WithToken("a token"); c.Clock = time.Now })
	if _, err := d.c.EnsureAdmin(t.Context(), "correct horse 9"); err != nil {
		t.Fatal(err)
	}
	s := openScreen(t, d)
	s.visit("/instances?q=x")
	s.at("/login")
	s.fill("name", "admin")
	s.fill("password", "wrong password")
	s.ok()
	s.shows("is wrong")
	s.fill("password", "correct horse 9")
	s.ok()
	s.at("/instances")
	s.press(`[data-new]`)
	s.fill("id", "default_APP1")
	s.ok()
	s.at("/instance")
	s.press(`form[action="/logout"] button`)
	s.at("/login")
	s.visit("/instances")
	s.at("/login")
	s.clean()
}

// axe gives axe-core's script.
func axe(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "tidemark-browser")
	tarball := filepath.Join(dir, "axe-core-"+axeVersion+".tgz")
	if _, err := os.Stat(tarball); err != nil {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		c := exec.CommandContext(t.Context(), "npm", "pack", "--silent", "axe-core@"+axeVersion)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("npm pack axe-core: %v: install npm (apt-get install npm), or put %s there\n%s", err, tarball, out)
		}
	}
	f, err := os.Open(tarball)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err != nil {
			t.Fatalf("no axe.min.js in %s: %v", tarball, err)
		}
		if h.Name == "package/axe.min.js" {
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
	}
}

// axe-core finds nothing serious on any page, in light and dark; no page is
// wider than a phone. With SCREENSHOTS set to a directory, pictures go there.
func TestBrowserAccessibility(t *testing.T) {
	script := axe(t)
	d, parts, _ := pageDesk(t)
	addBob(d)
	d.ok("POST", "/api/v1/instances/default_APP1/sync", `{"bizType":"GLOBAL-SDK-CONFIG","scope":"global","target":"device","description":"Settings of the SDK, for every device"}`)
	d.ok("POST", "/api/v1/instances/default_APP1/sync/GLOBAL-SDK-CONFIG/offline", "")
	d.done("/config/edit"+config1, map[string][]string{"persistent": {"true"}, "repush": {"threshold"}, "threshold": {"7"}, "consistency": {"true"}, "description": {"chat"}})
	d.submit("/key/new?i=default_APP1", map[string][]string{"for": {"api"}, "label": {"backend"}})
	d.done("/instance/edit?i=default_APP1", jwtPage(map[string][]string{"jwt": {"RS256 ES256"}, "jwks": {"https://tenant.example/.well-known/jwks.json"}, "issuer": {"https://tenant.example"}, "userClaim": {"uid"}, "url": {"https://tenant.example/session"}}))
	for _, l := range []registry.LockLogin{{For: registry.KindUser, Name: "eve", Failures: 6}, {For: registry.KindAddress, Name: "2001:db8::/64", Failures: 31}} {
		l.Until = d.now.Add(time.Minute).UnixMilli()
		if _, err := d.r.apply(registry.Command{Time: d.now.UnixMilli(), Ops: []registry.Op{l}}); err != nil {
			t.Fatal(err)
		}
	}
	parts.target = &Target{InstanceID: "default_APP1", Name: "alice", Known: true, Connected: true, Pushes: 3, Arrivals: 2,
		Configs:  []TargetConfig{{BizType: "UCHAT", Head: 3, Acked: 2, Pushes: 3, Arrivals: 2}},
		Sessions: []TargetSession{{DeviceID: "d1", UserID: "alice", OS: "iOS", AppVersion: "1.2", Transport: "websocket"}},
		PushList: []TargetPush{{BizType: "UCHAT", OplogID: 3, ThirdMsgID: "order-10086", Bytes: 120, Time: d.now.UnixMilli(), ValidTimeEnd: d.now.UnixMilli()}, {BizType: "UCHAT", OplogID: 2, ThirdMsgID: "order-10085", Arrived: true}}}
	s := openScreen(t, d)
	pictures := os.Getenv("SCREENSHOTS")
	pages := append(slices.Clone(everyPage), "/nowhere", fmt.Sprintf("/record?seq=%d", d.r.m.Audit(registry.AuditFilter{Actions: []registry.Action{registry.ConfigModify}})[0].Seq))
	for _, look := range []string{"light", "dark", "phone", "chinese"} {
		theme, lang, width := "light", "en", int64(1280)
		switch look {
		case "dark":
			theme = "dark"
		case "phone":
			width = 375
		case "chinese":
			lang = "zh-CN"
		}
		s.do(chromedp.EmulateViewport(width, 860))
		s.visit("/preference?theme=" + theme + "&lang=" + lang + "&back=/help")
		for _, path := range pages {
			s.visit(path)
			if look == "phone" {
				s.is("document.documentElement.scrollWidth <= innerWidth")
			}
			if pictures != "" {
				png, err := chromedp.Run(s.ctx, chromedp.FullScreenshot(100))
				if err != nil {
					t.Fatal(err)
				}
				name := strings.NewReplacer("/", "_", "?", "_", "&", "_", "=", "-", "%", "").Replace(path)
				if err := os.WriteFile(filepath.Join(pictures, look+name+".png"), png, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if look == "chinese" {
				continue
			}
			s.eval(script + ";0")
			found := s.eval(`axe.run(document, {resultTypes: ['violations']}).then((r) => JSON.stringify(r.violations.filter((v) => v.impact === 'serious' || v.impact === 'critical').map((v) => [v.id, v.impact, v.nodes.map((n) => n.html + ' ' + n.failureSummary)])))`)
			if found != "[]" {
				t.Errorf("%s %s: %v", look, path, found)
			}
		}
	}
	s.clean()
}

// TestBrowserPace says how long pages take, from the click to the load
// event, with 1,000 configs and 100,000 operation records.
func TestBrowserPace(t *testing.T) {
	d, parts, _ := pageDesk(t)
	parts.target = &Target{InstanceID: "default_APP1", Name: "alice", Known: true}
	for i := range 999 {
		var ops []registry.Op
		ops = append(ops, registry.CreateSync{Sync: registry.Sync{InstanceID: "default_APP1", BizType: fmt.Sprintf("BIZ-%d", i), Scope: "specified", Target: "user", Online: true, Description: "one of many"}})
		for j := range 100 {
			ops = append(ops, registry.SetOnline{InstanceID: "default_APP1", BizType: "UCHAT", Online: j%2 == 1})
		}
		if _, err := d.r.apply(registry.Command{Time: d.now.UnixMilli(), Actor: "ann", Ops: ops}); err != nil {
			t.Fatal(err)
		}
	}
	s := openScreen(t, d)
	m, _ := d.r.Now()
	pages := []string{"/", "/configs", "/configs?q=biz-99", "/config" + config1, "/config/new", "/query?i=default_APP1&q=alice", "/service", "/records", "/records?actor=nobody", "/record?seq=9", "/instances"}
	const rounds = 20
	var whole, serve []float64
	for range rounds {
		for _, path := range pages {
			s.visit(path)
			s.is("performance.getEntriesByType('navigation')[0].loadEventEnd > 0")
			took, ok1 := s.eval("performance.getEntriesByType('navigation')[0].loadEventEnd").(float64)
			first, ok2 := s.eval("performance.getEntriesByType('navigation')[0].responseEnd").(float64)
			if !ok1 || !ok2 {
				t.Fatal("the browser does not say how long the page took")
			}
			whole, serve = append(whole, took), append(serve, first)
		}
	}
	slices.Sort(whole)
	slices.Sort(serve)
	at := func(all []float64, q float64) float64 { return all[int(q*float64(len(all)-1))] }
	t.Logf("page time with %d configs and %d operation records, %d pages: load event p50 %.0f ms, p95 %.0f ms, max %.0f ms; response p50 %.0f ms, p95 %.0f ms",
		m.SyncCount(), m.AuditLen(), len(whole), at(whole, .5), at(whole, .95), at(whole, 1), at(serve, .5), at(serve, .95))
	s.clean()
}
