package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/language"

	"github.com/tidemarkio/tidemark/topology/registry"
)

//go:embed web
var web embed.FS

// policy lets a page use this server's script and style sheet and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// maxForm bounds a form's body.
const maxForm = 256 << 10

// preference cookies live for a year.
const preferenceAge = 365 * 24 * 60 * 60

// page is one address of the operators' pages.
type page struct {
	path string
	role registry.Role // who may; empty: anybody
	get  func(*view) error
	post func(*view) error
}

func (c *Console) pages() []page {
	pages := []page{
		{"/{$}", registry.Viewer, c.overviewPage, nil},
		{"/help", registry.Viewer, func(v *view) error { return v.show("help", "help", nil) }, nil},
		{"/login", "", c.loginPage, c.loginPost},
		{"/logout", registry.Viewer, nil, c.logoutPost},
		{"/password", registry.Viewer, c.passwordPage, c.passwordPost},
		{"/configs", registry.Viewer, c.configsPage, nil},
		{"/config", registry.Viewer, c.configPage, nil},
		{"/config/new", registry.Operator, c.newConfigPage, c.newConfigPost},
		{"/config/edit", registry.Operator, c.editConfigPage, c.editConfigPost},
		{"/config/send", registry.Operator, c.sendPage, c.sendPost},
		{"/query", registry.Viewer, c.queryPage, nil},
		{"/query/redeliver", registry.Operator, c.redeliverPage, c.redeliverPost},
		{"/service", registry.Viewer, c.servicePage, nil},
		{"/records", registry.Viewer, c.recordsPage, nil},
		{"/record", registry.Viewer, c.recordPage, nil},
		{"/oplog", registry.Operator, c.oplogPage, nil},
		{"/instances", registry.Viewer, c.instancesPage, nil},
		{"/instance", registry.Viewer, c.instancePage, nil},
		{"/instance/new", registry.Operator, c.newInstancePage, c.newInstancePost},
		{"/instance/edit", registry.Operator, c.editInstancePage, c.editInstancePost},
		{"/key/new", registry.Admin, c.newKeyPage, c.newKeyPost},
		{"/users", registry.Admin, c.usersPage, nil},
		{"/user/new", registry.Admin, c.newUserPage, c.newUserPost},
		{"/user/edit", registry.Admin, c.editUserPage, c.editUserPost},
	}
	for _, q := range c.questions() {
		pages = append(pages, page{q.path, q.role, q.ask(c), q.answer(c)})
	}
	return pages
}

// addPages puts the operators' pages beside the API.
func (c *Console) addPages(mux *http.ServeMux) {
	for _, p := range c.pages() {
		if p.get != nil {
			mux.HandleFunc("GET "+p.path, c.servePage(p.role, p.get))
		}
		if p.post != nil {
			mux.HandleFunc("POST "+p.path, c.servePage(p.role, p.post))
		}
	}
	mux.HandleFunc("GET /assets/{name}", serveAsset)
	mux.HandleFunc("GET /preference", c.setPreference)
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/api/") {
			http.NotFound(w, r)
			return
		}
		c.servePage(registry.Viewer, func(*view) error {
			return &Error{Status: http.StatusNotFound, Problem: registry.NotFound, Reason: fmt.Sprintf("no page %.120q", r.URL.Path)}
		})(w, r)
	})
}

// view is one page on its way to somebody. Templates call its methods.
type view struct {
	c      *Console
	w      http.ResponseWriter
	r      *http.Request
	m      *registry.Model
	caller Caller
	status int

	Lang    string
	Theme   string // light or dark; empty: as the system has it
	Nav     string // the menu's entry that this page belongs to
	Title   string
	Notice  string
	Problem *Error
	Data    any
}

// servePage wraps a page: who calls, what they may, and how errors look.
func (c *Console) servePage(role registry.Role, do func(*view) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		v := &view{c: c, w: w, r: r, status: http.StatusOK, Lang: languageOf(r), Theme: themeOf(r)}
		v.m, _ = c.cfg.Registry.Now()
		if t, ok := texts["done."+r.URL.Query().Get("done")]; ok {
			v.Notice = t.in(v.Lang)
		}
		err := c.admit(v, role)
		if err == nil {
			err = do(v)
		}
		if err != nil {
			c.refusePage(v, role, err)
		}
	}
}

// admit finds the caller and refuses what they may not.
func (c *Console) admit(v *view, role registry.Role) (err error) {
	if v.caller, err = c.Caller(v.r); err != nil {
		if role == "" {
			v.caller = Caller{}
			err = nil
		}
		return c.readForm(v, err)
	}
	if role != "" && !v.caller.Role.May(role) {
		return needs(v.caller, role)
	}
	if err := c.readForm(v, nil); err != nil {
		return err
	}
	if role != "" { // a login has no session yet that it could show the token of
		if err := c.CheckCSRF(v.r, v.caller); err != nil {
			return err
		}
		c.Renew(v.w, v.r, v.caller.Session)
	}
	return nil
}

func (c *Console) readForm(v *view, err error) error {
	if err != nil || v.r.Method != http.MethodPost {
		return err
	}
	if err := v.r.ParseForm(); err != nil {
		return &Error{Status: http.StatusBadRequest, Reason: "the form did not come whole, or is too large"}
	}
	return nil
}

func (c *Console) refusePage(v *view, role registry.Role, err error) {
	p := c.problem(v.r, err)
	if v.caller.Role == "" && role != "" && v.r.Method == http.MethodGet {
		http.Redirect(v.w, v.r, "/login?"+url.Values{"back": {v.r.URL.RequestURI()}}.Encode(), http.StatusSeeOther)
		return
	}
	v.Problem, v.status = p, p.Status
	if err := v.show("problem", v.Nav, nil); err != nil {
		http.Error(v.w, p.Error(), p.Status)
	}
}

// again shows a form once more with what is wrong with it.
func (v *view) again(err error, name, nav string, data any) error {
	v.Problem = v.c.problem(v.r, err)
	v.status = v.Problem.Status
	return v.show(name, nav, data)
}

// show renders a page. It is rendered whole before anything is sent, so that a
// failure is an answer of its own.
func (v *view) show(name, nav string, data any) error {
	v.Nav, v.Data = nav, data
	if v.Title == "" && nav != "" {
		v.Title = v.T(nav)
	}
	t, ok := templates[name]
	if !ok {
		return fmt.Errorf("no template %q", name)
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, "layout.html", v); err != nil {
		return fmt.Errorf("render page: %w", err)
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.Header().Set("Cache-Control", "no-store")
	v.w.Header().Set("Content-Language", v.Lang)
	v.w.WriteHeader(v.status)
	_, _ = v.w.Write(b.Bytes()) // the caller has gone if it fails
	return nil
}

// guardHeaders tells browsers, with every answer, what it may be used for.
func guardHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

// to sends the browser on after a form, with a word of what was done.
func (v *view) to(address string, done string, query url.Values) error {
	if query == nil {
		query = url.Values{}
	}
	if done != "" {
		query.Set("done", done)
	}
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	v.w.Header().Set("Cache-Control", "no-store")
	http.Redirect(v.w, v.r, address, http.StatusSeeOther)
	return nil
}

// change has operations applied, as the API does it, and says which word fits.
func (v *view) change(done string, ops ...registry.Op) (string, error) {
	changed, err := v.c.Change(v.r.Context(), v.caller, source(v.r), true, ops...)
	return word(done, changed), err
}

func word(done string, changed Changed) string {
	switch {
	case !changed.Changed:
		return "same"
	case !changed.Published:
		return "later"
	}
	return done
}

// T is a message in the page's language.
func (v *view) T(key string) string { return texts[key].in(v.Lang) }

// Name is the message of a key that is made of two parts, or else the second.
func (v *view) Name(prefix, key string) string {
	if t, ok := texts[prefix+key]; ok {
		return t.in(v.Lang)
	}
	return key
}

// Caller and the like are what the layout asks for.
func (v *view) Caller() string        { return v.caller.Name }
func (v *view) Role() string          { return v.Name("", roleText(v.caller.Role)) }
func (v *view) In() bool              { return v.caller.Role != "" }
func (v *view) Operates() bool        { return v.caller.Role.May(registry.Operator) }
func (v *view) Administers() bool     { return v.caller.Role.May(registry.Admin) }
func (v *view) LoggedIn() bool        { return v.caller.Session != nil }
func (v *view) OtherLang() string     { return languages[1-slices.Index(languages, v.Lang)] }
func (v *view) Here() string          { return here(v.r) }
func (v *view) Asset(n string) string { return "/assets/" + n + "?v=" + assetVersions[n] }
func (v *view) ProblemTitle() string {
	if t, ok := texts["err."+strconv.Itoa(v.Problem.Status)]; ok {
		return t.in(v.Lang)
	}
	return v.T("err")
}

func roleText(r registry.Role) string {
	if r == registry.Operator {
		return "roleOperator"
	}
	return string(r)
}

// here is the address to come back to: for a form that failed, the form's.
func here(r *http.Request) string { return r.URL.RequestURI() }

// CSRF is the session's token for forms; empty without a session.
func (v *view) CSRF() string {
	if v.caller.Session == nil {
		return ""
	}
	return v.c.CSRF(v.caller.Session)
}

// Time shows epoch ms to the second, in the configured zone.
func (v *view) Time(ms int64) string {
	if ms == 0 {
		return "–"
	}
	return time.UnixMilli(ms).In(v.c.cfg.Zone).Format(time.DateTime)
}

// YesNo words a switch.
func (v *view) YesNo(b bool) string {
	if b {
		return v.T("yes")
	}
	return v.T("no")
}

// form reads a field of the form, without the blanks around it.
func (v *view) form(name string) string { return strings.TrimSpace(v.r.PostFormValue(name)) }

func (v *view) query(name string) string { return v.r.URL.Query().Get(name) }

// languageOf is what the reader chose, or what their browser prefers.
func languageOf(r *http.Request) string {
	if c, err := r.Cookie("tidemark_lang"); err == nil && slices.Contains(languages, c.Value) {
		return c.Value
	}
	tags, _, err := language.ParseAcceptLanguage(r.Header.Get("Accept-Language"))
	if err != nil {
		return languages[0]
	}
	_, i, _ := matcher.Match(tags...)
	return languages[i]
}

var matcher = language.NewMatcher([]language.Tag{language.English, language.SimplifiedChinese})

func themeOf(r *http.Request) string {
	if c, err := r.Cookie("tidemark_theme"); err == nil && (c.Value == "dark" || c.Value == "light") {
		return c.Value
	}
	return ""
}

// setPreference keeps the reader's language or theme, and goes back.
func (c *Console) setPreference(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	set := func(name, value string) {
		http.SetCookie(w, &http.Cookie{ //nolint:gosec // a language is no secret
			Name: name, Value: value, Path: "/", MaxAge: preferenceAge, HttpOnly: true, Secure: c.secure(r), SameSite: http.SameSiteLaxMode,
		})
	}
	if lang := q.Get("lang"); slices.Contains(languages, lang) {
		set("tidemark_lang", lang)
	}
	if theme := q.Get("theme"); theme == "dark" || theme == "light" {
		set("tidemark_theme", theme)
	}
	http.Redirect(w, r, local(q.Get("back")), http.StatusSeeOther)
}

// local takes an address only if it is one of this server.
func local(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(address, "/") || strings.HasPrefix(address, "//") || strings.ContainsAny(address, "\\\r\n\t") {
		return "/"
	}
	return address
}

var (
	templates     = parseTemplates()
	assets        = readAssets()
	assetVersions = versions(assets)
)

// parseTemplates joins each page with the layout. That they parse is tested.
func parseTemplates() map[string]*template.Template {
	all := make(map[string]*template.Template)
	entries, _ := web.ReadDir("web")
	base := template.Must(template.ParseFS(web, "web/layout.html"))
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".html"); ok && name != "layout" {
			all[name] = template.Must(template.Must(base.Clone()).ParseFS(web, "web/"+e.Name()))
		}
	}
	return all
}

func readAssets() map[string][]byte {
	all := make(map[string][]byte)
	for _, name := range []string{"console.css", "console.js", "icon.svg"} {
		b, err := web.ReadFile("web/" + name)
		if err != nil {
			panic(err) // it is embedded: the build was wrong
		}
		all[name] = b
	}
	return all
}

func versions(assets map[string][]byte) map[string]string {
	all := make(map[string]string)
	for name, b := range assets {
		sum := sha256.Sum256(b)
		all[name] = hex.EncodeToString(sum[:6])
	}
	return all
}

var mediaTypes = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

func serveAsset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	b, ok := assets[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", mediaTypes[path.Ext(name)])
	w.Header().Set("Cache-Control", "no-cache")
	if r.URL.Query().Get("v") == assetVersions[name] {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	_, _ = w.Write(b)
}
