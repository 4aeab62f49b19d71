package ingress

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/topology/registry"
)

const (
	demo     = "demo_APP1"
	demoKey  = "ak-demo-0123456789"
	otherKey = "ak-other-0123456789"
)

// world is a registry with two instances that have keys and one that has none.
type world struct {
	t     testing.TB
	model *registry.Model
	now   time.Time
	n     int
	mu    sync.Mutex // over used
	used  []string
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, model: new(registry.Model), now: time.UnixMilli(1_700_000_000_000)}
	w.apply(registry.Create{ID: "test", ClusterKey: registry.Hash{1}, Pepper: registry.Hash{2}, Topology: []byte(`{}`)})
	for id, key := range map[string]string{demo: demoKey, "other_APP1": otherKey, "open_APP1": ""} {
		w.apply(registry.CreateInstance{ID: id})
		if key != "" {
			w.apply(registry.AddKey{InstanceID: id, For: registry.APIKey, Key: w.model.NewKey(registry.APIKey, key, "")})
		}
	}
	return w
}

func (w *world) apply(op registry.Op) {
	w.t.Helper()
	w.n++
	next, res := w.model.Apply(registry.Command{ID: strconv.Itoa(w.n), Time: w.now.UnixMilli(), Ops: []registry.Op{op}})
	if err := res.Err(); err != nil {
		w.t.Fatal(err)
	}
	w.model = next
}

func (w *world) doorman(replaysMax int) *Doorman {
	return NewDoorman(DoormanConfig{
		Model: func() *registry.Model { return w.model }, Now: func() time.Time { return w.now }, ReplaysMax: replaysMax,
		Used: func(instanceID string, _ registry.KeyKind, id string, _ time.Time) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.used = append(w.used, instanceID+"/"+id)
		},
	})
}

// authorize asks the doorman both of his questions.
func authorize(d *Doorman, r *http.Request, instanceID string, body []byte) error {
	verify, err := d.Authorize(r, instanceID)
	if err == nil && verify != nil {
		err = verify(body)
	}
	return err
}

func (w *world) id(key string) string { return w.model.HashKey(registry.APIKey, key).ID() }

const uri = "/webapi/sync/single?instanceId=" + demo

// call comes from this machine; from gives it another caller.
func call(uri, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, uri, strings.NewReader(body))
	r.RemoteAddr, r.Host = "127.0.0.1:50000", "127.0.0.1:8080"
	return r
}

func from(address string, r *http.Request) *http.Request {
	r.RemoteAddr = address
	return r
}

// signed is a call signed with a key at a time.
func (w *world) signed(uri, body, key string, at time.Time) *http.Request {
	r := call(uri, body)
	stamp := strconv.FormatInt(at.UnixMilli(), 10)
	r.Header.Set(HeaderKey, w.id(key))
	r.Header.Set(HeaderTimestamp, stamp)
	r.Header.Set(HeaderSignature, signaturePrefix+hex.EncodeToString(Sign(key, Canonical(r.Method, uri, stamp, w.id(key), []byte(body)))))
	return r
}

func TestAPIKeys(t *testing.T) {
	w := newWorld(t)
	d := w.doorman(0)
	bearer := func(key string) *http.Request {
		r := call(uri, "{}")
		r.Header.Set("Authorization", "Bearer "+key)
		return r
	}
	for _, c := range []struct {
		what     string
		r        *http.Request
		instance string
		want     error
	}{
		{"no key", call(uri, "{}"), demo, errNoKey},
		{"the key", bearer(demoKey), demo, nil},
		{"a wrong key", bearer("nonsense"), demo, errWrongKey},
		{"an empty key", bearer(""), demo, errNoKey},
		{"another instance's key", bearer(otherKey), demo, errWrongKey},
		{"an instance without keys", call(uri, "{}"), "open_APP1", nil},
		{"an instance that is not there", call(uri, "{}"), "nobody", nil},
	} {
		if err := authorize(d, c.r, c.instance, []byte("{}")); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.what, err, c.want)
		}
	}
	if want := demo + "/" + w.id(demoKey); len(w.used) != 1 || w.used[0] != want {
		t.Errorf("used %v, want once %s", w.used, want)
	}
	// Rotation: both open while they overlap, and then the new one alone.
	retire := w.now.Add(time.Minute)
	w.apply(registry.AddKey{InstanceID: demo, For: registry.APIKey, Key: w.model.NewKey(registry.APIKey, "ak-new-0123456789", ""), Retire: retire.UnixMilli()})
	for _, key := range []string{demoKey, "ak-new-0123456789"} {
		if err := authorize(d, bearer(key), demo, []byte("{}")); err != nil {
			t.Errorf("%s while keys overlap: %v", key, err)
		}
	}
	w.now = retire
	if err := authorize(d, bearer(demoKey), demo, []byte("{}")); !errors.Is(err, errWrongKey) {
		t.Errorf("the retired key: %v", err)
	}
	if err := authorize(d, bearer("ak-new-0123456789"), demo, []byte("{}")); err != nil {
		t.Errorf("the new key: %v", err)
	}
}

// TestSignature goes through what must be refused with the switch on
// (S003-162, D26, D30).
func TestSignature(t *testing.T) {
	w := newWorld(t)
	d := w.doorman(0)
	const body = `{"bizType":"UCHAT"}`
	if err := authorize(d, call("/webapi/sync/single?instanceId=open_APP1", body), "open_APP1", []byte(body)); err != nil {
		t.Fatalf("switch off, unsigned: %v", err)
	}
	w.apply(registry.SetSignature{On: true})
	without := func(header string) *http.Request {
		r := w.signed(uri, body, demoKey, w.now)
		r.Header.Del(header)
		return r
	}
	with := func(header, value string) *http.Request {
		r := w.signed(uri, body, demoKey, w.now)
		r.Header.Set(header, value)
		return r
	}
	plainBearer := call(uri, body)
	plainBearer.Header.Set("Authorization", "Bearer "+demoKey)
	tick := w.now.Add(time.Millisecond)
	for _, c := range []struct {
		what     string
		r        *http.Request
		instance string
		body     string
		want     error
	}{
		{"unsigned", call(uri, body), demo, body, errUnsigned},
		{"an API key alone", plainBearer, demo, body, errUnsigned},
		{"no key id", without(HeaderKey), demo, body, errBadSign},
		{"no time", without(HeaderTimestamp), demo, body, errTime},
		{"no signature", without(HeaderSignature), demo, body, errUnsigned},
		{"stale", w.signed(uri, body, demoKey, w.now.Add(-SignatureWindow-time.Millisecond)), demo, body, errTime},
		{"from the future", w.signed(uri, body, demoKey, w.now.Add(SignatureWindow+time.Millisecond)), demo, body, errTime},
		{"another body", w.signed(uri, body, demoKey, w.now), demo, body + " ", errBadSign},
		{"another time", with(HeaderTimestamp, strconv.FormatInt(tick.UnixMilli(), 10)), demo, body, errBadSign},
		{"another path", func() *http.Request {
			r := w.signed(uri, body, demoKey, w.now)
			r.URL.Path = "/webapi/sync/global"
			return r
		}(), demo, body, errBadSign},
		{"another instance's key", w.signed(uri, body, otherKey, w.now), demo, body, errBadSign},
		{"a key that is not there", w.signed(uri, body, "ak-nobody-0123456789", w.now), demo, body, errBadSign},
		{"an instance that is not there", w.signed(uri, body, demoKey, w.now), "nobody", body, errBadSign},
		{"an instance without keys", w.signed(uri, body, demoKey, w.now), "open_APP1", body, errBadSign},
		{"not hexadecimal", with(HeaderSignature, "v1=zz"), demo, body, errBadSign},
		{"an unknown version", with(HeaderSignature, "v2="+strings.Repeat("0", 64)), demo, body, errBadSign},
		{"half of one", with(HeaderSignature, "v1="+strings.Repeat("0", 32)), demo, body, errBadSign},
		{"right", w.signed(uri, body, demoKey, w.now), demo, body, nil},
		{"replayed", w.signed(uri, body, demoKey, w.now), demo, body, errReplayed},
		{"signed anew", w.signed(uri, body, demoKey, tick), demo, body, nil},
	} {
		if err := authorize(d, c.r, c.instance, []byte(c.body)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.what, err, c.want)
		}
	}
	w.apply(registry.SetSignature{On: false})
	if err := authorize(d, call("/webapi/sync/single?instanceId=open_APP1", body), "open_APP1", []byte(body)); err != nil {
		t.Errorf("switched off again: %v", err)
	}
}

// TestReplaysAreRememberedAsLongAsTheyWouldPass walks a clock along: whatever
// was accepted is refused again for as long as its time is accepted.
func TestReplaysAreRememberedAsLongAsTheyWouldPass(t *testing.T) {
	w := newWorld(t)
	w.apply(registry.SetSignature{On: true})
	d := w.doorman(0)
	start := w.now
	var sent []time.Time
	for step := range 40 {
		w.now = start.Add(time.Duration(step) * 37 * time.Second)
		for _, ahead := range []time.Duration{-SignatureWindow, 0, SignatureWindow} {
			at := w.now.Add(ahead)
			if err := authorize(d, w.signed(uri, "{}", demoKey, at), demo, []byte("{}")); err != nil {
				t.Fatalf("step %d, %s: %v", step, ahead, err)
			}
			sent = append(sent, at)
		}
		for _, at := range sent {
			if err := authorize(d, w.signed(uri, "{}", demoKey, at), demo, []byte("{}")); err == nil {
				t.Fatalf("at %s the call signed at %s passes again", w.now, at)
			}
		}
	}
	if d.seen.n > len(sent)*3/4 {
		t.Errorf("%d of %d signatures are kept: the old ones should be forgotten", d.seen.n, len(sent))
	}
}

func TestReplaysFull(t *testing.T) {
	w := newWorld(t)
	w.apply(registry.SetSignature{On: true})
	d := w.doorman(3)
	for i := range 3 {
		if err := authorize(d, w.signed(uri, "{}", demoKey, w.now.Add(time.Duration(i))), demo, []byte("{}")); i == 0 && err != nil {
			t.Fatal(err)
		}
		w.now = w.now.Add(time.Millisecond)
	}
	if err := authorize(d, w.signed(uri, "{}", demoKey, w.now), demo, []byte("{}")); !errors.Is(err, errReplaysFull) {
		t.Errorf("past the limit: %v", err)
	}
	w.now = w.now.Add(SignatureWindow + time.Minute)
	if err := authorize(d, w.signed(uri, "{}", demoKey, w.now), demo, []byte("{}")); err != nil {
		t.Errorf("when the old ones have aged: %v", err)
	}
}

// TestReplayedAtOnce: of many copies that arrive together one passes.
func TestReplayedAtOnce(t *testing.T) {
	w := newWorld(t)
	w.apply(registry.SetSignature{On: true})
	d := NewDoorman(DoormanConfig{Model: func() *registry.Model { return w.model }, Now: func() time.Time { return w.now }})
	var passed sync.Map
	var wg sync.WaitGroup
	for i := range 50 {
		r := w.signed(uri, "{}", demoKey, w.now)
		wg.Go(func() {
			if authorize(d, r, demo, []byte("{}")) == nil {
				passed.Store(i, true)
			}
		})
	}
	wg.Wait()
	n := 0
	passed.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d of 50 copies passed", n)
	}
}

// TestExamples runs the scripts that callers are shown.
func TestExamples(t *testing.T) {
	w := newWorld(t)
	w.apply(registry.SetSignature{On: true})
	d := NewDoorman(DoormanConfig{Model: func() *registry.Model { return w.model }})
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = authorize(d, r, r.URL.Query().Get("instanceId"), body)
		}
		if err != nil {
			rw.Header().Set(HeaderReason, err.Error())
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(rw, "got %s", body)
	}))
	defer server.Close()
	const body = `{"bizType":"UCHAT","payload":"grüße, 你好"}`
	for _, script := range []string{"sign.sh", "sign.py"} {
		for key, want := range map[string]string{demoKey: "got " + body, "ak-wrong-0123456789": ""} {
			cmd := exec.CommandContext(t.Context(), filepath.Join("examples", script), server.URL, demo, body)
			cmd.Env = append(os.Environ(), "TIDEMARK_API_KEY="+key, "TIDEMARK_API_KEY_ID="+w.id(demoKey))
			out, err := cmd.Output()
			if got := strings.TrimSpace(string(out)); got != want {
				t.Errorf("%s with %s (needs bash, curl, openssl, python3): %q, %v; want %q", script, key, got, err, want)
			}
		}
	}
}

func ExampleSign() {
	const apiKey, keyID = "ak-demo", "k1" // id: as shown with the key
	body := []byte(`{"bizType":"UCHAT"}`)
	text := Canonical("POST", "/webapi/sync/single?instanceId=demo_APP1", "1700000000000", keyID, body)
	fmt.Println(HeaderSignature + ": v1=" + hex.EncodeToString(Sign(apiKey, text)))
	// Output:
	// Tidemark-Signature: v1=6a9c37b61c2c34c3fbd440e5f3c331bcec78199f38cb0dfaa4b2a7df8741485b
}

func FuzzAuthorize(f *testing.F) {
	w := newWorld(f)
	w.apply(registry.SetSignature{On: true})
	f.Add("k", "1700000000000", "v1=00", "Bearer x", uri, "{}")
	f.Fuzz(func(t *testing.T, key, stamp, sig, bearer, target, body string) {
		r := call(uri, body)
		r.Header[HeaderKey], r.Header[HeaderTimestamp], r.Header[HeaderSignature] = []string{key}, []string{stamp}, []string{sig}
		r.Header["Authorization"] = []string{bearer}
		r.URL.RawQuery = target
		if err := authorize(w.doorman(0), r, demo, []byte(body)); err == nil {
			t.Errorf("a call that nobody signed passes: %q %q %q", key, stamp, sig)
		}
	})
}
