package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A client shows the proof of its user, and the credential that it was given,
// from then on, on streams and acknowledgements.
func TestProofs(t *testing.T) {
	var seen []string
	streams := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, fmt.Sprintf("%s %s %q", r.URL.Path, r.Header.Get("Tidemark-User-Token"), r.Header.Get("Tidemark-Device-Credential")))
		if r.URL.Path == "/sync/ack" {
			fmt.Fprint(w, `{"success":true}`)
			return
		}
		if streams++; streams > 2 {
			w.WriteHeader(http.StatusGone)
			return
		}
		if streams == 1 {
			w.Header().Set("Tidemark-Device-Credential", "given")
		}
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "id: %d\nevent: sync\ndata: {\"bizType\":\"A\",\"from\":%d,\"to\":%d,\"op\":[{\"id\":%d,\"thirdMsgId\":\"m\",\"pl\":\"x\"}]}\n\n", streams, streams-1, streams, streams)
	}))
	defer server.Close()
	var kept []string
	cfg := Config{
		URL: server.URL, InstanceID: "i", DeviceID: "d", UserID: "u", UserToken: "token", Biz: []string{"A"}, Ack: true,
		KeepCredential: func(c string) error { kept = append(kept, c); return nil },
		BackoffMin:     time.Millisecond, BackoffMax: time.Millisecond, Log: slog.New(slog.DiscardHandler),
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var gone *CloseError
	if err := c.Run(t.Context(), func(context.Context, Event) error { return nil }); !errors.As(err, &gone) {
		t.Fatal(err)
	}
	want := `[/sync/stream token "" /sync/ack token "given" /sync/stream token "given" /sync/ack token "given" /sync/stream token "given"]`
	if got := fmt.Sprint(seen); got != want {
		t.Errorf("the server saw\n%s\nwant\n%s", got, want)
	}
	if fmt.Sprint(kept) != "[given]" {
		t.Errorf("kept %v, want it once", kept)
	}

	// One that cannot be kept ends the run: the next start would be refused.
	streams = 0
	full := errors.New("disk full")
	cfg.KeepCredential = func(string) error { return full }
	if c, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	if err := c.Run(t.Context(), func(context.Context, Event) error { return nil }); !errors.Is(err, full) {
		t.Errorf("%v, want %v", err, full)
	}
}

// The end of a user's proof is said in the log, and the stream goes on: what is
// the device's still comes.
func TestUnboundGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := &script{streams: []answer{{text: event("A", 0, 1, 1) + "event: unbound\ndata: {\"reason\":\"the proof has ended\"}\n\n" + event("D", 0, 1, 1)}}}
		var got []string
		c := scripted(t, s, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
		play(t, c, collect(&got))
		if want := []string{"A1=p1", "D1=p1"}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if !strings.Contains(log.String(), "new UserToken") || !strings.Contains(log.String(), "the proof has ended") {
			t.Errorf("logged %s", &log)
		}
		if h := s.opened[1].Header.Get("Last-Event-ID"); h != "D-1" {
			t.Errorf("the next stream names cursor %q", h)
		}
	})
}
