package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/tidemarkio/tidemark/cmd/internal/e2e"
	"github.com/tidemarkio/tidemark/connectors/console"
)

// browser keeps a login session, and shows it to any node.
type browser struct {
	cookie *http.Cookie
	csrf   string
}

// call gives an answer's status and body; no token is shown but the session's.
func (b *browser) call(ctx context.Context, t *testing.T, n *e2e.Node, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, n.AdminURL()+"/api/v1"+path, strings.NewReader(body))
	must(t, err)
	if b.cookie != nil {
		req.AddCookie(b.cookie)
		req.Header.Set(console.CSRFHeader, b.csrf)
	}
	res, err := http.DefaultClient.Do(req)
	must(t, err)
	defer res.Body.Close() //nolint:errcheck // it is only read
	text, err := io.ReadAll(res.Body)
	must(t, err)
	if path == "/login" && res.StatusCode == http.StatusOK {
		var who console.Whoami
		must(t, json.Unmarshal(text, &who))
		b.cookie, b.csrf = res.Cookies()[0], who.CSRF
	}
	return res.StatusCode, string(text)
}

// is tells who a node takes the browser for; without a session the door, which
// is open on this machine, has a name of its own.
func (b *browser) is(ctx context.Context, t *testing.T, n *e2e.Node) string {
	t.Helper()
	_, text := b.call(ctx, t, n, http.MethodGet, "/session", "")
	var who console.Whoami
	must(t, json.Unmarshal([]byte(text), &who))
	return who.Name
}

// TestLoginsOfACluster: three registries of one quorum. A logout at one and a
// lock at one hold at all; without a majority people still come in and go, and
// are told what that is worth.
func TestLoginsOfACluster(t *testing.T) {
	ctx := within(t)
	q := registriesOn(t, startKafka(t).ListenAddrs())
	q.launch(ctx, t)
	const right, wrong = `{"name":"ann","password":"battery staple 8"}`, `{"name":"ann","password":"battery staple 9"}`
	must(t, q.call(ctx, q.nodes[0], http.MethodPost, "/users", console.UserForm{Name: "ann", Role: "admin", Password: "battery staple 8"}, nil))
	everywhere := func(what string, holds func(n *e2e.Node) bool) {
		t.Helper()
		for i, n := range q.nodes {
			for !holds(n) {
				if !waits(t, ctx) || ctx.Err() != nil {
					t.Fatalf("waiting until at %s %s", registryID(i), what)
				}
			}
		}
	}
	// Every member has said that it knows of logouts, or they are refused.
	everywhere("all members are known", func(n *e2e.Node) bool {
		var s struct{ Peers []struct{ Admin string } }
		must(t, q.call(ctx, n, http.MethodGet, "/registry/status", nil, &s))
		known := 0
		for _, p := range s.Peers {
			if p.Admin != "" {
				known++
			}
		}
		return known == len(q.nodes)
	})

	login := func(n *e2e.Node) *browser {
		t.Helper()
		b := &browser{}
		if code, text := b.call(ctx, t, n, http.MethodPost, "/login", right); code != http.StatusOK {
			t.Fatalf("login: %d %s", code, text)
		}
		return b
	}
	first, second := login(q.nodes[0]), login(q.nodes[1])
	everywhere("both sessions are known", func(n *e2e.Node) bool { return first.is(ctx, t, n) == "ann" && second.is(ctx, t, n) == "ann" })
	if code, text := first.call(ctx, t, q.nodes[2], http.MethodPost, "/logout", ""); code != http.StatusOK || strings.Contains(text, "note") {
		t.Errorf("logout: %d %s", code, text)
	}
	if got := first.is(ctx, t, q.nodes[2]); got == "ann" {
		t.Error("where it was ended the session is open")
	}
	everywhere("the session is over", func(n *e2e.Node) bool { return first.is(ctx, t, n) != "ann" })
	everywhere("the other one is not", func(n *e2e.Node) bool { return second.is(ctx, t, n) == "ann" })

	guesser := &browser{}
	for {
		if code, _ := guesser.call(ctx, t, q.nodes[1], http.MethodPost, "/login", wrong); code == http.StatusTooManyRequests {
			break
		}
	}
	everywhere("ann is locked", func(n *e2e.Node) bool {
		code, _ := guesser.call(ctx, t, n, http.MethodPost, "/login", right)
		return code == http.StatusTooManyRequests
	})
	must(t, q.call(ctx, q.nodes[2], http.MethodDelete, "/locks/user/ann", nil, nil))
	everywhere("ann is free again", func(n *e2e.Node) bool {
		code, _ := (&browser{}).call(ctx, t, n, http.MethodPost, "/login", right)
		return code == http.StatusOK
	})

	// No majority: the one that is left.
	must(t, q.nodes[0].Kill())
	must(t, q.nodes[1].Kill())
	left := q.nodes[2]
	third := login(left)
	if third.is(ctx, t, left) != "ann" {
		t.Error("without a majority nobody comes in")
	}
	if code, text := third.call(ctx, t, left, http.MethodPost, "/logout", ""); code != http.StatusOK || !strings.Contains(text, "other nodes take a copy") || third.is(ctx, t, left) == "ann" {
		t.Errorf("logout without a majority: %d %s", code, text)
	}
	must(t, q.nodes[0].Launch())
	must(t, q.nodes[1].Launch())
	for _, n := range q.nodes {
		must(t, n.WaitReady(ctx))
	}
	everywhere("it is still over", func(n *e2e.Node) bool { return first.is(ctx, t, n) != "ann" && second.is(ctx, t, n) == "ann" })
	q.stop(t)
}
