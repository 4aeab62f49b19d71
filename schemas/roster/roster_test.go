package roster

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/schemas"
)

// TestRoster goes through what can be said of sessions. Each line of a history
// is one record, or lets time pass; then the sessions at user u are looked at.
func TestRoster(t *testing.T) {
	for name, tt := range map[string]struct{ history, want string }{
		"nobody was here":                     {"", ""},
		"a session counts under a lease":      {"lease e1 1 5s; come e1 1 s1 u", "e1/s1"},
		"and in whatever order they come":     {"come e1 1 s1 u; lease e1 1 5s", "e1/s1"},
		"without a lease it does not":         {"come e1 1 s1 u", ""},
		"nor when the lease has run out":      {"lease e1 1 5s; come e1 1 s1 u; pass 5s", ""},
		"a lease is renewed":                  {"lease e1 1 5s; come e1 1 s1 u; pass 4s; lease e1 1 5s; pass 4s", "e1/s1"},
		"and taken back":                      {"lease e1 1 5s; come e1 1 s1 u; lease e1 1 0s", ""},
		"a session goes":                      {"lease e1 1 5s; come e1 1 s1 u; come e1 1 s2 u; go e1 1 s1 u", "e1/s2"},
		"who goes was elsewhere all the time": {"lease e1 1 5s; come e1 1 s1 v; go e1 1 s1 u; come e1 1 s2 u", "e1/s2"},
		"said twice is there once":            {"lease e1 1 5s; come e1 1 s1 u; come e1 1 s1 u", "e1/s1"},
		"at two edges":                        {"lease e1 1 5s; lease e2 7 9s; come e1 1 s1 u; come e2 7 s1 u", "e1/s1 e2/s1"},
		"one of which dies":                   {"lease e1 1 5s; lease e2 7 9s; come e1 1 s1 u; come e2 7 s1 u; pass 6s", "e2/s1"},
		"an edge that was started anew":       {"lease e1 1 5s; come e1 1 s1 u; lease e1 2 5s; come e1 2 s2 u", "e1/s2"},
		"its former self is not heard":        {"lease e1 2 5s; come e1 2 s2 u; lease e1 1 5s; go e1 1 s2 u; come e1 1 s1 u", "e1/s2"},
		"a sweep leaves what may come back":   {"lease e1 1 5s; come e1 1 s1 u; pass 10m; sweep; lease e1 1 5s", "e1/s1"},
		"but not what is long gone":           {"lease e1 1 5s; come e1 1 s1 u; pass 31m; sweep; lease e1 1 5s", ""},
		"nor who never had a lease":           {"come e1 1 s1 u; pass 31m; sweep; lease e1 1 5s", ""},
	} {
		r, now := New(), time.Unix(1_700_000_000, 0)
		for _, line := range strings.Split(tt.history, "; ") {
			w := append(strings.Fields(line), "", "", "", "")
			p := &schemas.Presence{EdgeID: w[1], InstanceID: "i", Dimension: schemas.TargetUser}
			fmt.Sscan(w[2], &p.Epoch) //nolint:errcheck // not every line has one
			length, _ := time.ParseDuration(w[3])
			switch w[0] {
			case "pass":
				d, err := time.ParseDuration(w[1])
				if err != nil {
					t.Fatal(err)
				}
				now = now.Add(d)
			case "sweep":
				r.Sweep(now)
			case "lease":
				p.LeaseMillis = length.Milliseconds()
				r.Apply(p, now)
			case "come", "go":
				p.Session, p.Target, p.Gone = w[3], w[4], w[0] == "go"
				r.Apply(p, now)
			}
		}
		var got []string
		for _, p := range r.Sessions(Target{"i", schemas.TargetUser, "u"}, now) {
			got = append(got, p.EdgeID+"/"+p.Session)
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s: %q are online, want %q", name, s, tt.want)
		}
		if other := r.Sessions(Target{"i", schemas.TargetDevice, "u"}, now); len(other) > 0 {
			t.Errorf("%s: %d sessions at a device of the user's name", name, len(other))
		}
	}
}

// What is gone takes no memory.
func TestRosterForgets(t *testing.T) {
	r, now := New(), time.Unix(1_700_000_000, 0)
	for i := range 10 {
		p := schemas.Presence{EdgeID: "e1", Epoch: 1, Session: "s", InstanceID: "i", Target: fmt.Sprint(i)}
		r.Apply(&p, now)
		if i%2 == 0 {
			p.Gone = true
			r.Apply(&p, now)
		}
	}
	if n := r.Targets(); n != 5 {
		t.Errorf("%d targets, want 5", n)
	}
	r.Apply(&schemas.Presence{EdgeID: "e1", Epoch: 2}, now)
	if n := r.Targets(); n != 0 {
		t.Errorf("%d targets are left of a process that is gone", n)
	}
}
