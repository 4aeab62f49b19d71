package tenant

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/connectors/tenant/mock"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// ask asks a tenant that answers by h.
func ask(t *testing.T, h http.Handler) (bool, error) {
	t.Helper()
	s := httptest.NewServer(h)
	defer s.Close()
	c := NewCaller(nil)
	defer c.Close()
	return NewValidator(c, nil).Validate(t.Context(), &registry.SessionValidation{URL: s.URL + "/", AllowPrivate: true}, "demo_APP1", "user42", "sess1")
}

func mockOf(t *testing.T, cfg mock.Config) http.Handler {
	t.Helper()
	h, err := mock.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// S003-88: the request has the operationType and exactly three more fields.
func TestQuestion(t *testing.T) {
	var body []byte
	var method string
	_, err := ask(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method = r.Method
		body, _ = io.ReadAll(r.Body)
	}))
	if err == nil {
		t.Error("an empty answer was taken")
	}
	var got map[string]any
	if err := json.Unmarshal(body, &got); err != nil || method != http.MethodPost {
		t.Fatal(method, err)
	}
	want := map[string]string{"operationType": "com.antcloud.session.validate", "instanceId": "demo_APP1", "userId": "user42", "sessionId": "sess1"}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is %v, want %q", name, got[name], value)
		}
	}
	if len(got) != len(want) {
		t.Errorf("asked %s", body)
	}
}

// S003-84, S003-90: the table's form and the example's form are read alike.
func TestFormsOfReply(t *testing.T) {
	for _, wrapped := range []bool{false, true} {
		for valid, cfg := range map[bool]mock.Config{true: {Valid: []string{"user42:sess1"}}, false: {Valid: []string{"other:sess1"}}} {
			cfg.Wrapped = wrapped
			if got, err := ask(t, mockOf(t, cfg)); err != nil || got != valid {
				t.Errorf("wrapped %v: %v, %v; want %v", wrapped, got, err, valid)
			}
		}
	}
}

// S003-91, by the reader rule of spec 1.3.4.
func TestReplies(t *testing.T) {
	for _, c := range []struct {
		name, body  string
		valid, fail bool
	}{
		{"table", `{"success":true,"returnCode":"OK","result":"{\"sid\":\"s\",\"valid\":true}"}`, true, false},
		{"example", `{"response":{"success":"true","resultCode":"OK","result":{"sid":"s","valid":"true"}}}`, true, false},
		{"valid is false", `{"success":true,"returnCode":"OK","result":{"sid":"s","valid":false}}`, false, false},
		{"valid is the text false", `{"success":true,"returnCode":"OK","result":{"sid":"s","valid":"false"}}`, false, false},
		{"success false", `{"success":false,"returnCode":"OK","result":{"sid":"s","valid":true}}`, false, true},
		{"success missing", `{"returnCode":"OK","result":{"sid":"s","valid":true}}`, false, true},
		{"success a number", `{"success":1,"returnCode":"OK","result":{"sid":"s","valid":true}}`, false, true},
		{"OPERATION_ERROR", `{"success":true,"returnCode":"OPERATION_ERROR","result":{"sid":"s","valid":true}}`, false, true},
		{"codes that disagree", `{"success":true,"returnCode":"OK","resultCode":"OPERATION_ERROR","result":{"sid":"s","valid":true}}`, false, true},
		{"no code", `{"success":true,"result":{"sid":"s","valid":true}}`, false, true},
		{"the literal true/false", `{"success":true,"returnCode":"OK","result":{"sid":"s","valid":"true/false"}}`, false, true},
		{"another sid", `{"success":true,"returnCode":"OK","result":{"sid":"x","valid":true}}`, false, true},
		{"no sid", `{"success":true,"returnCode":"OK","result":{"valid":true}}`, false, true},
		{"no result", `{"success":true,"returnCode":"OK"}`, false, true},
		{"result is an array", `{"success":true,"returnCode":"OK","result":[true]}`, false, true},
		{"result is broken text", `{"success":true,"returnCode":"OK","result":"{"}`, false, true},
		{"trailing comma", `{"success":true,"returnCode":"OK","result":{"sid":"s","valid":true,}}`, false, true},
		{"valid in another case", `{"success":true,"returnCode":"OK","result":{"sid":"s","VALID":true}}`, false, true},
		{"response is null", `{"response":null,"success":true,"returnCode":"OK","result":{"sid":"s","valid":true}}`, false, true},
		{"empty", ``, false, true},
		{"text", `OK`, false, true},
	} {
		if valid, err := readReply([]byte(c.body), "s"); valid != c.valid || (err != nil) != c.fail {
			t.Errorf("%s: %v, %v", c.name, valid, err)
		}
	}
}

// What a tenant has not said is told from what it has: only the former is worth
// asking again.
func TestUnanswered(t *testing.T) {
	cut := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	for name, c := range map[string]struct {
		h          http.Handler
		unanswered bool
	}{
		"cut off":         {cut, true},
		"500":             {mockOf(t, mock.Config{Status: 500}), true},
		"503":             {mockOf(t, mock.Config{Status: 503}), true},
		"429":             {mockOf(t, mock.Config{Status: 429}), true},
		"401":             {mockOf(t, mock.Config{Status: 401}), false},
		"404":             {mockOf(t, mock.Config{Status: 404}), false},
		"text":            {mockOf(t, mock.Config{Body: "hello"}), false},
		"OPERATION_ERROR": {mockOf(t, mock.Config{Body: `{"success":false,"returnCode":"OPERATION_ERROR"}`}), false},
	} {
		if valid, err := ask(t, c.h); valid || err == nil || errors.Is(err, ErrUnanswered) != c.unanswered {
			t.Errorf("%s: %v, %v", name, valid, err)
		}
	}
	for _, err := range []error{ErrBusy, ErrOpen} {
		if !errors.Is(err, ErrUnanswered) {
			t.Errorf("%v is an answer", err)
		}
	}
}

// S003-91: HTTP errors, redirects, long answers and silence are not valid.
func TestBrokenTenant(t *testing.T) {
	good := mockOf(t, mock.Config{Valid: []string{"user42:sess1"}})
	for name, h := range map[string]http.Handler{
		"503":  mockOf(t, mock.Config{Valid: []string{"user42:sess1"}, Status: 503}),
		"404":  mockOf(t, mock.Config{Status: 404}),
		"text": mockOf(t, mock.Config{Body: "hello"}),
		"long": mockOf(t, mock.Config{Body: strings.Repeat(" ", replyBytesMax) + `{"success":true,"returnCode":"OK","result":{"sid":"sess1","valid":true}}`}),
		"redirect": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/" {
				http.Redirect(w, r, "/there", http.StatusTemporaryRedirect)
				return
			}
			r.URL.Path = "/"
			good.ServeHTTP(w, r)
		}),
	} {
		if valid, err := ask(t, h); valid || err == nil {
			t.Errorf("%s: %v, %v", name, valid, err)
		}
	}
}

// A tenant's own time-out ends the call.
func TestSilentTenant(t *testing.T) {
	s := httptest.NewServer(mockOf(t, mock.Config{Valid: []string{"u:s"}, Delay: time.Hour}))
	defer s.Close()
	c := NewCaller(nil)
	defer c.Close()
	at := &registry.SessionValidation{URL: s.URL, AllowPrivate: true, TimeoutMillis: 1}
	if valid, err := NewValidator(c, nil).Validate(t.Context(), at, "i", "u", "s"); valid || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrUnanswered) {
		t.Errorf("%v, %v", valid, err)
	}
}

// S003-92: an endpoint that is down is left alone, then tried by one call; the
// other tenant's is asked as ever.
func TestBreaker(t *testing.T) {
	now := time.Unix(1000, 0)
	var calls atomic.Int64
	broken := atomic.Bool{}
	broken.Store(true)
	good := mockOf(t, mock.Config{Valid: []string{"u:s"}})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if broken.Load() {
			w.WriteHeader(500)
			return
		}
		good.ServeHTTP(w, r)
	}))
	defer s.Close()
	other := httptest.NewServer(good)
	defer other.Close()
	c := NewCaller(nil)
	defer c.Close()
	v := NewValidator(c, func() time.Time { return now })
	down := &registry.SessionValidation{URL: s.URL, AllowPrivate: true}
	for range 2 * failuresMax {
		if valid, err := v.Validate(t.Context(), down, "down", "u", "s"); valid || err == nil {
			t.Fatal("valid", valid, err)
		}
	}
	if n := calls.Load(); n != failuresMax {
		t.Errorf("asked %d times, want %d", n, failuresMax)
	}
	if valid, err := v.Validate(t.Context(), &registry.SessionValidation{URL: other.URL, AllowPrivate: true}, "up", "u", "s"); !valid || err != nil {
		t.Errorf("the other tenant: %v, %v", valid, err)
	}
	now = now.Add(openFor)
	for range 3 { // one try, that fails
		_, _ = v.Validate(t.Context(), down, "down", "u", "s")
	}
	if n := calls.Load(); n != failuresMax+1 {
		t.Errorf("asked %d times after the pause, want %d", n, failuresMax+1)
	}
	broken.Store(false)
	if _, err := v.Validate(t.Context(), down, "down", "u", "s"); !errors.Is(err, ErrOpen) {
		t.Errorf("asked within the second pause: %v", err)
	}
	now = now.Add(2 * openFor)
	for range 2 {
		if valid, err := v.Validate(t.Context(), down, "down", "u", "s"); !valid || err != nil {
			t.Errorf("after it came back: %v, %v", valid, err)
		}
	}
}

// Past the calls that a tenant may have under way, no more are made.
func TestCallsMax(t *testing.T) {
	entered, release := make(chan struct{}, CallsMax), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { entered <- struct{}{}; <-release }))
	defer s.Close()
	c := NewCaller(nil)
	defer c.Close()
	v := NewValidator(c, nil)
	at := &registry.SessionValidation{URL: s.URL, AllowPrivate: true}
	ended := make(chan error, CallsMax)
	for range CallsMax {
		go func() {
			_, err := v.Validate(t.Context(), at, "i", "u", "s")
			ended <- err
		}()
	}
	for range CallsMax {
		<-entered
	}
	if _, err := v.Validate(t.Context(), at, "i", "u", "s"); !errors.Is(err, ErrBusy) {
		t.Errorf("one more: %v", err)
	}
	close(release)
	for range CallsMax {
		<-ended
	}
}

// S003-95: the bundled mock refuses another operationType.
func TestS003_95_MockRefusesOtherOperations(t *testing.T) {
	w := httptest.NewRecorder()
	mockOf(t, mock.Config{Valid: []string{"u:s"}}).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{"operationType":"x","userId":"u","sessionId":"s"}`)))
	var got struct {
		Success    bool
		ReturnCode string
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Success || got.ReturnCode != codeOperation {
		t.Errorf("%s, %v", w.Body, err)
	}
}

// What may be dialled.
func TestCheckAddress(t *testing.T) {
	const never, private, public = 0, 1, 2
	for a, want := range map[string]int{
		"8.8.8.8": public, "2606:4700::1111": public, "::ffff:8.8.8.8": public,
		"127.0.0.1": private, "127.9.9.9": private, "::1": private, "10.1.2.3": private, "172.16.0.1": private, "172.31.255.255": private,
		"192.168.1.1": private, "100.64.0.1": private, "198.18.0.1": private, "192.0.2.1": private, "fd00::1": private, "::ffff:10.0.0.1": private,
		"64:ff9b::8.8.8.8": private, "64:ff9b::10.0.0.1": private, "64:ff9b:1::1": private, "2002:7f00:1::": private, "2001::1": private,
		"2001:db8::1": private, "fec0::1": private, "::ffff:127.0.0.1": private,
		"172.32.0.1": public, "100.128.0.1": public, "9.255.255.255": public,
		"0.0.0.0": never, "::": never, "169.254.169.254": never, "::ffff:169.254.169.254": never, "64:ff9b::169.254.169.254": never,
		"fe80::1": never, "fe80::1%eth0": never, "fd00:ec2::254": never, "224.0.0.1": never, "ff02::1": never, "255.255.255.255": never, "240.0.0.1": never,
		"0.1.2.3": never, "100.100.100.200": never,
	} {
		addr := netip.MustParseAddr(a)
		if err := CheckAddress(addr, false); (err == nil) != (want == public) {
			t.Errorf("%s: %v", a, err)
		}
		if err := CheckAddress(addr, true); (err == nil) != (want != never) {
			t.Errorf("%s, private allowed: %v", a, err)
		}
	}
	if CheckAddress(netip.Addr{}, true) == nil {
		t.Error("no address at all was let through")
	}
}

// The address is judged when it is dialled, names included; plain http and
// unknown certificates are refused, proxies of the environment not used.
func TestCallerGuards(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	var calls atomic.Int64
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	defer s.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(s.URL, "https://"), ":")
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	trusting, strict := NewCaller(roots), NewCaller(nil)
	defer trusting.Close()
	defer strict.Close()
	for _, to := range []string{s.URL, "https://localhost:" + port} {
		if _, err := trusting.do(t.Context(), http.MethodGet, to, nil, false, 10); !errors.Is(err, ErrAddress) {
			t.Errorf("%s: %v", to, err)
		}
	}
	var unknown x509.UnknownAuthorityError
	if _, err := strict.do(t.Context(), http.MethodGet, s.URL, nil, true, 10); !errors.As(err, &unknown) {
		t.Errorf("an unknown certificate: %v", err)
	}
	if _, err := strict.do(t.Context(), http.MethodGet, "http://example.com/", nil, false, 10); err == nil || !strings.Contains(err.Error(), "scheme") {
		t.Errorf("plain http: %v", err)
	}
	if _, err := strict.do(t.Context(), http.MethodGet, "file:///etc/passwd", nil, true, 10); err == nil {
		t.Error("a file was read")
	}
	if n := calls.Load(); n != 0 {
		t.Errorf("%d calls got through", n)
	}
	if _, err := trusting.do(t.Context(), http.MethodGet, s.URL, nil, true, 10); err != nil || calls.Load() != 1 {
		t.Errorf("where it is allowed: %v", err)
	}
}

func FuzzReply(f *testing.F) {
	f.Add([]byte(`{"response":{"success":"true","resultCode":"OK","result":"{\"sid\":\"s\",\"valid\":\"true\"}"}}`))
	f.Add([]byte(`{"success":true,"returnCode":"OK","result":{"sid":"s","valid":true}}`))
	f.Add([]byte(`[[[[`))
	f.Fuzz(func(t *testing.T, b []byte) {
		valid, err := readReply(b, "s")
		if valid && (err != nil || !json.Valid(b)) {
			t.Fatalf("%q: valid, %v", b, err)
		}
		if valid, _ := readReply(b, "a session that no input names"); valid && !strings.Contains(string(b), "session") {
			t.Fatalf("%q is valid for any session", b)
		}
	})
}
