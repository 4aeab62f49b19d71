package console

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// How long a login session lives: without a call, and at all.
const (
	SessionIdle = 30 * time.Minute
	SessionMax  = 12 * time.Hour

	// sessionRenew is how old a cookie may be before a call makes a new one.
	sessionRenew = time.Minute
	// maxCookie bounds what is looked at, bytes.
	maxCookie = 2048
	// overMax bounds the logged-out sessions that a node remembers itself.
	overMax = 10_000
)

// CSRFHeader is where a page shows the session's CSRF token; a form shows it as
// [CSRFField].
const (
	CSRFHeader = "X-CSRF-Token"
	CSRFField  = "csrf"
)

// Session is a login of a user. It stands in a signed cookie, so that every
// node of a cluster knows it and a restart ends none. What ends it early is
// the user's epoch, which rises with a new password, another role and being
// disabled, and a new user of the same name, who was created at another time;
// and a logout, which the registry remembers.
type Session struct {
	ID      string `json:"i"` // random, new at each login
	Name    string `json:"n"`
	Epoch   int64  `json:"e"`
	Created int64  `json:"c"` // of the user, epoch ms
	Began   int64  `json:"b"` // epoch ms
	Seen    int64  `json:"s"` // last call, about, epoch ms
	Method  string `json:"m"` // password or oidc
}

// mac is what a text of the node's own is signed with. The key comes from the
// cluster's, and each use has a label, so that no text passes for another's.
func (c *Console) mac(label, text string) []byte {
	m, _ := c.cfg.Registry.Now()
	key := m.Cluster().Key
	h := hmac.New(sha256.New, key[:])
	fmt.Fprintf(h, "tidemark console %s v1\x00%s", label, text)
	return h.Sum(nil)
}

// seal makes a signed text of a value; open reads it back.
func (c *Console) seal(label string, v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode %s: %w", label, err)
	}
	text := base64.RawURLEncoding.EncodeToString(b)
	return text + "." + base64.RawURLEncoding.EncodeToString(c.mac(label, text)), nil
}

func (c *Console) open(label, sealed string, v any) bool {
	text, sum, ok := strings.Cut(sealed, ".")
	got, err := base64.RawURLEncoding.DecodeString(sum)
	if !ok || err != nil || len(sealed) > maxCookie || !hmac.Equal(got, c.mac(label, text)) {
		return false
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	return err == nil && json.Unmarshal(b, v) == nil
}

// newSession begins a session. Its id is always new: nothing that a browser
// brought to the login lives on in it.
func (c *Console) newSession(u *registry.User, method string) (*Session, error) {
	b := make([]byte, 16)
	if _, err := io.ReadFull(c.cfg.Rand, b); err != nil {
		return nil, fmt.Errorf("read random bytes: %w", err)
	}
	now := c.cfg.Clock().UnixMilli()
	return &Session{ID: hex.EncodeToString(b), Name: u.Name, Epoch: u.Epoch, Created: u.Created, Began: now, Seen: now, Method: method}, nil
}

// SessionOf finds the login session of a call and its user; nil if there is
// none, or it is over.
func (c *Console) SessionOf(r *http.Request) (*Session, *registry.User) {
	cookie, err := r.Cookie(c.cookieName(r))
	if err != nil {
		return nil, nil
	}
	var s Session
	if !c.open("session", cookie.Value, &s) {
		return nil, nil
	}
	now := c.cfg.Clock().UnixMilli()
	if now-s.Seen > SessionIdle.Milliseconds() || now-s.Began > SessionMax.Milliseconds() || c.over.has(s.ID) {
		return nil, nil
	}
	m, _ := c.cfg.Registry.Now()
	// A replica that is behind may know an older epoch than the session's.
	u := m.User(s.Name)
	if u == nil || u.Disabled || u.Created != s.Created || u.Epoch > s.Epoch || u.HasEnded(s.ID) {
		return nil, nil
	}
	return &s, u
}

// Caller says who calls: the user of a login session, or whoever
// [Config.Authorize] lets in. Every page and every route begins with it.
func (c *Console) Caller(r *http.Request) (Caller, error) {
	if r.Header.Get("Authorization") == "" {
		if s, u := c.SessionOf(r); s != nil {
			return Caller{Name: u.Name, Role: u.Role, Session: s}, nil
		}
	}
	return c.cfg.Authorize(r)
}

// CSRF is the token that a page of this session puts into its forms.
func (c *Console) CSRF(s *Session) string { return hex.EncodeToString(c.mac("csrf", s.ID)) }

// CheckCSRF refuses a write that a browser makes with its cookie but without
// the session's token. Callers without a session show a secret of their own
// with each call, or are alone on their machine.
func (c *Console) CheckCSRF(r *http.Request, caller Caller) error {
	if caller.Session == nil || r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil
	}
	shown := r.Header.Get(CSRFHeader)
	if shown == "" && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		shown = r.PostFormValue(CSRFField)
	}
	if !hmac.Equal([]byte(shown), []byte(c.CSRF(caller.Session))) {
		return &Error{Status: http.StatusForbidden, Path: CSRFHeader, Reason: "the session's token is missing or not this session's: load the page again"}
	}
	return nil
}

// Renew gives the browser a newer cookie when its own has aged. Call it before
// the answer's body.
func (c *Console) Renew(w http.ResponseWriter, r *http.Request, s *Session) {
	if now := c.cfg.Clock().UnixMilli(); s != nil && now-s.Seen > sessionRenew.Milliseconds() {
		is := *s
		is.Seen = now
		if err := c.setSession(w, r, &is); err != nil {
			c.cfg.Log.Warn("console: a session cookie could not be renewed", "error", err)
		}
	}
}

func (c *Console) setSession(w http.ResponseWriter, r *http.Request, s *Session) error {
	value, err := c.seal("session", s)
	if err != nil {
		return err
	}
	left := time.UnixMilli(s.Began).Add(SessionMax).Sub(c.cfg.Clock())
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure wherever there is TLS; without, the door is loopback's
		Name: c.cookieName(r), Value: value, Path: "/", MaxAge: int(max(left, time.Second).Seconds()),
		HttpOnly: true, Secure: c.secure(r), SameSite: http.SameSiteStrictMode,
	})
	return nil
}

func (c *Console) dropSession(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // as above
		Name: c.cookieName(r), Path: "/", MaxAge: -1, HttpOnly: true, Secure: c.secure(r), SameSite: http.SameSiteStrictMode,
	})
}

func (c *Console) secure(r *http.Request) bool { return c.cfg.SecureCookies || r.TLS != nil }

// cookieName binds the cookie to this host where browsers can: no other name
// of the domain can plant one of the __Host- kind.
func (c *Console) cookieName(r *http.Request) string {
	if c.secure(r) {
		return "__Host-tidemark"
	}
	return "tidemark_session"
}

// overSessions remembers who logged out at this node, so that a copy of the
// cookie opens nothing from that moment on. The registry remembers it for all
// nodes; this is for the time until this node has that from it, and for when
// the registry has no leader.
type overSessions struct {
	mu    sync.Mutex
	ids   map[string]bool
	order []string // oldest first
}

func newOverSessions() *overSessions { return &overSessions{ids: make(map[string]bool)} }

func (o *overSessions) has(id string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ids[id]
}

func (o *overSessions) add(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ids[id] {
		return
	}
	if len(o.order) == overMax {
		delete(o.ids, o.order[0])
		o.order = append(o.order[:0], o.order[1:]...)
	}
	o.ids[id] = true
	o.order = append(o.order, id)
}
