package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemarkio/tidemark/connectors/console"
)

// redeliverTo runs the command against an admin API that moves the point of
// every target whose name begins with u from 9 to where it is asked.
func redeliverTo(t *testing.T, fail int, args ...string) (out string, calls []console.RedeliverForm, err error) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var f console.RedeliverForm
		if r.URL.Path != "/api/v1/instances/demo_APP1/redeliver" || r.Header.Get("Authorization") != "Bearer secret" || json.NewDecoder(r.Body).Decode(&f) != nil {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		if calls = append(calls, f); len(calls) == fail {
			http.Error(w, "no leader is known", http.StatusServiceUnavailable)
			return
		}
		var done console.Redelivered
		for _, target := range f.Targets {
			if strings.HasPrefix(target, "u") {
				done.Moved = append(done.Moved, console.RewoundPoint{Target: target, DeviceID: "d1", From: 9, To: *f.After})
			} else {
				done.Unmoved = append(done.Unmoved, target)
			}
		}
		_ = json.NewEncoder(w).Encode(done)
	}))
	defer srv.Close()
	var b bytes.Buffer
	cmd := root()
	cmd.SetOut(&b)
	cmd.SetErr(&b)
	cmd.SetArgs(append([]string{"redeliver", "demo_APP1", "UCHAT", "--admin", srv.URL, "--admin-token", "secret"}, args...))
	err = cmd.Execute()
	return b.String(), calls, err
}

func TestRedeliver(t *testing.T) {
	out, calls, err := redeliverTo(t, 0, "u1", "nobody", "--after", "3", "--device", "d1", "--dry-run")
	if want := "u1 device d1: 9 -> 3\n1 sync points would move back; nothing to deliver again for 1 of 2 targets\n"; err != nil || out != want {
		t.Errorf("%q, %v, want %q", out, err, want)
	}
	if len(calls) != 1 || !calls[0].DryRun || calls[0].DeviceID != "d1" || *calls[0].After != 3 || calls[0].BizType != "UCHAT" {
		t.Errorf("called with %+v", calls)
	}
	// A file in calls of some targets each, each target once.
	var names strings.Builder
	for i := range redeliverChunk + 1 {
		fmt.Fprintf(&names, "u%d\r\n\nu%d\n", i, i)
	}
	file := filepath.Join(t.TempDir(), "targets.txt")
	if err := os.WriteFile(file, []byte(names.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	out, calls, err = redeliverTo(t, 0, "--targets", file, "--after", "0")
	if err != nil || len(calls) != 2 || len(calls[1].Targets) != 1 || !strings.HasSuffix(out, fmt.Sprintf("%d sync points moved back; nothing to deliver again for 0 of %d targets\n", redeliverChunk+1, redeliverChunk+1)) {
		t.Errorf("%d calls, %v: %s", len(calls), err, out)
	}
	if _, _, err = redeliverTo(t, 2, "--targets", file, "--after", "0"); err == nil || !strings.Contains(err.Error(), "after 200 of 201 targets (200 sync points moved): no leader is known") {
		t.Errorf("half of it: %v", err)
	}
	for want, args := range map[string][]string{
		"say from where":   {"u1"},
		"either --after":   {"u1", "--after", "1", "--since", "2026-11-26T08:00:00Z"},
		"use a form":       {"u1", "--since", "yesterday"},
		"name the targets": {"--after", "1"},
		"in a file":        {"u1", "--targets", file, "--after", "1"},
		"no such file":     {"--targets", file + "x", "--after", "1"},
	} {
		if _, calls, err := redeliverTo(t, 0, args...); err == nil || !strings.Contains(err.Error(), want) || len(calls) > 0 {
			t.Errorf("%v: %v, %d calls, want %q", args, err, len(calls), want)
		}
	}
}
