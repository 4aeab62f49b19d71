//go:build quorum

package main

import (
	"net/http"
	"slices"
	"testing"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// TestQuorumIDsOfAConfigMadeAnewGoOn: the leader is killed after it has answered
// that a config is deleted, and again after its successor has answered that it
// is made anew. What each leader gives the config has a revision above all
// before it, which is the registry's part; the tasks, whose part are the ids, go
// on above those that the old config gave.
func TestQuorumIDsOfAConfigMadeAnewGoOn(t *testing.T) {
	ctx := within(t)
	q := registriesOn(t, startKafka(t).ListenAddrs())
	q.launch(ctx, t)
	p, key := q.processor(ctx, t)

	const config = "/instances/" + instance + "/sync"
	var revision int64 // of the latest change
	do := func(member int, method, path string, in any) {
		t.Helper()
		var out struct{ Revision int64 }
		must(t, q.call(ctx, q.nodes[member], method, path, in, &out))
		if out.Revision <= revision {
			t.Errorf("%s %s has revision %d after %d", method, path, out.Revision, revision)
		}
		revision = out.Revision
	}
	gives := func(round string, want int64) {
		t.Helper()
		asked := oneEach(round)
		send(ctx, t, p, produced(asked)...)
		if got := ids(ctx, t, q.kafka, asked); !slices.Equal(got, slices.Repeat([]int64{want}, registryParts)) {
			t.Errorf("%s has the ids %v, want %d", round, got, want)
		}
	}
	killed := -1
	kill := func() (next int) {
		t.Helper()
		if killed >= 0 {
			must(t, q.nodes[killed].Launch())
			must(t, q.nodes[killed].WaitReady(ctx))
		}
		killed = q.leader(ctx, t, 0, -1)
		must(t, q.nodes[killed].Kill())
		return q.leader(ctx, t, (killed+1)%3, killed)
	}
	chat := map[string]any{"bizType": "CHAT", "scope": "specified", "target": "user", "online": true}
	do(0, http.MethodPost, "/instances", map[string]any{"id": instance})
	do(0, http.MethodPost, config, chat)
	gives("the first", 1)
	gives("the second", 2)
	do(0, http.MethodPost, config+"/CHAT/offline", nil)
	do(0, http.MethodDelete, config+"/CHAT", nil)
	deleted := revision
	do(kill(), http.MethodPost, config, chat)
	next := kill()
	gives("made anew", 3)
	var s registry.Sync
	must(t, q.call(ctx, q.nodes[next], http.MethodGet, config+"/CHAT?consistent=true", nil, &s))
	if s.Revision != revision || s.Revision <= deleted {
		t.Errorf("the config is at revision %d: it was deleted at %d and made anew at %d", s.Revision, deleted, revision)
	}
	must(t, q.nodes[killed].Launch())
	must(t, q.nodes[killed].WaitReady(ctx))
	gives("after all are back", 4)
	taken, _, _ := controls(ctx, t, q, key)
	for i := range taken {
		if !slices.Equal(taken[i], taken[0]) || !slices.Contains(taken[i], deleted) || !slices.Contains(taken[i], revision) {
			t.Errorf("partition %d takes the revisions %v, partition 0 %v", i, taken[i], taken[0])
		}
	}
	must(t, p.Stop())
	q.stop(t)
}
