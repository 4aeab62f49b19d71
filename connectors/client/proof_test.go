package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
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
