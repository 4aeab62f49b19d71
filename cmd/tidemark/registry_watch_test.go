package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRegistryWatchGoesOn: connections that end, that say nothing any more and
// nodes that are starting are tried again, after the last revision that was
// told; a refusal and an output that is gone are not.
func TestRegistryWatchGoesOn(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Query().Get("since"))
		say := func(text string) { _, _ = io.WriteString(w, text); _ = http.NewResponseController(w).Flush() }
		switch len(asked) {
		case 1:
			say(": still here\n\nid: 5\nevent: revision\ndata: {\"revision\":5}\n\n")
			say("id: 6\nevent: change\ndata: {\"revision\":6,\"changes\":[1]}\n\nid: 7\nevent: change\ndata: {\"rev")
		case 2:
			http.Error(w, "starting", http.StatusServiceUnavailable)
		case 3:
			say("id: 9\nevent: reset\ndata: {\"revision\":9}\n\nevent: end\ndata: {\"reason\":\"bye\"}\n\n")
		case 4:
			say("id: 10\nevent: change\ndata: {\"revision\":10}\n\n")
			<-r.Context().Done() // silent for ever
		default:
			http.Error(w, "log in", http.StatusUnauthorized)
		}
	}))
	defer srv.Close()
	var out, errOut bytes.Buffer
	w := registryWatch{admin: &adminFlags{url: srv.URL}, since: -1, again: time.Millisecond, silence: 500 * time.Millisecond, out: &out, errOut: &errOut}
	if err := w.run(ctx); err == nil || !strings.Contains(err.Error(), "log in") {
		t.Errorf("a refusal: %v", err)
	}
	if want := []string{"", "6", "6", "9", "10"}; !slices.Equal(asked, want) {
		t.Errorf("asked since %q, want %q", asked, want)
	}
	if want := `{"changes":[1],"event":"change","revision":6}` + "\n" + `{"event":"reset","revision":9}` + "\n" + `{"event":"change","revision":10}` + "\n"; out.String() != want {
		t.Errorf("printed:\n%s", &out)
	}
	for _, want := range []string{"unexpected EOF): going on after revision 6", "(starting)", `{"reason":"bye"}): going on after revision 9`, "said nothing for 500ms"} {
		if !strings.Contains(errOut.String(), want) {
			t.Errorf("%q is not in\n%s", want, &errOut)
		}
	}
	asked = asked[:2]
	w.out = brokenPipe{}
	if err := w.run(ctx); !errors.Is(err, errPipe) {
		t.Errorf("nobody reads: %v", err)
	}
	stop()
	if err := w.run(ctx); err != nil {
		t.Errorf("interrupted: %v", err)
	}
}

var errPipe = errors.New("broken pipe")

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, fmt.Errorf("write: %w", errPipe) }
