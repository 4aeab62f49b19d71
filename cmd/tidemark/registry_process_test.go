package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemarkio/tidemark/cmd/internal/e2e"
	"github.com/tidemarkio/tidemark/cmd/node"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// registryParts is how many partitions the registries below publish to.
const registryParts = 3

// registries are the `tidemark registry run` of one quorum, on one Kafka.
type registries struct {
	nodes []*e2e.Node
	dirs  []string
	args  [][]string // of each, without the topology
	kafka []string
	token string // of the admin API; empty: open
}

func registryID(i int) string { return fmt.Sprint("r", i+1) }

// startKafka is a Kafka in this process, in whose way tests can stand.
func startKafka(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

// registriesOn prepares three on loopback; none runs yet.
func registriesOn(t *testing.T, kafka []string) *registries {
	t.Helper()
	q := &registries{kafka: kafka}
	listen := make([]string, 3)
	for i := range listen {
		var err error
		listen[i], err = e2e.FreeAddress()
		must(t, err)
	}
	for _, args := range founders(listen) {
		q.add(t, e2e.Self(), args...)
	}
	return q
}

// founders are the flags of the first members, by where they listen.
func founders(listen []string) (args [][]string) {
	var members []string
	for i, address := range listen {
		members = append(members, registryID(i)+"="+address)
	}
	for i, address := range listen {
		args = append(args, []string{"--registry-id", registryID(i), "--registry-listen", address, "--registry-peers", strings.Join(members, ",")})
	}
	return args
}

// add prepares one more.
func (q *registries) add(t *testing.T, program e2e.Program, args ...string) *e2e.Node {
	t.Helper()
	dir := t.TempDir()
	n := q.member(t, program, dir, args...)
	q.nodes, q.dirs, q.args = append(q.nodes, n), append(q.dirs, dir), append(q.args, args)
	return n
}

func (q *registries) member(t *testing.T, program e2e.Program, dir string, args ...string) *e2e.Node {
	t.Helper()
	n, err := e2e.NewNode(e2e.Config{Program: program, Role: "registry run", Dir: dir, Brokers: q.kafka, Args: append([]string{"--partitions", fmt.Sprint(registryParts)}, args...)})
	must(t, err)
	return n
}

// launch starts all and waits until each is ready.
func (q *registries) launch(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, n := range q.nodes {
		must(t, n.Launch())
		t.Cleanup(func() { _ = n.Kill() }) // a test that cares has stopped it
	}
	for _, n := range q.nodes {
		must(t, n.WaitReady(ctx))
	}
}

// stop ends all in order.
func (q *registries) stop(t *testing.T) {
	t.Helper()
	for _, n := range q.nodes {
		must(t, n.Stop())
	}
}

// refusal is an answer of the admin API that is not 2xx.
type refusal struct {
	status  int
	problem string
	reason  string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d %s: %s", r.status, r.problem, r.reason) }

// call asks a node's admin API; headers are pairs.
func (q *registries) call(ctx context.Context, n *e2e.Node, method, path string, in, out any, headers ...string) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, n.AdminURL()+"/api/v1"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if in == nil {
		req.Body = http.NoBody
	}
	if q.token != "" {
		req.Header.Set("Authorization", "Bearer "+q.token)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		var e struct {
			Error struct{ Problem, Reason string }
		}
		_ = json.Unmarshal(text, &e) // the status says enough
		return &refusal{res.StatusCode, e.Error.Problem, e.Error.Reason}
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// leader waits until a node other than the given one leads, by the word of
// one that runs.
func (q *registries) leader(ctx context.Context, t *testing.T, ask int, not int) int {
	t.Helper()
	for {
		one, cancel := context.WithTimeout(ctx, 2*time.Second)
		var s struct{ Registry registry.Status } // it asks nobody else, who may not answer
		err := q.call(one, q.nodes[ask], http.MethodGet, "/status", nil, &s)
		cancel()
		for i := range q.nodes {
			if err == nil && i != not && s.Registry.Leader == registryID(i) {
				return i
			}
		}
		if !waits(t, ctx) {
			t.Fatalf("no leader other than %s: %q, %v", registryID(not), s.Registry.Leader, err)
		}
	}
}

// waits pauses between two looks at a condition; false: the time is up.
func waits(t *testing.T, ctx context.Context) bool { //nolint:revive // t comes first in every helper of tests
	t.Helper()
	select {
	case <-ctx.Done():
	case <-time.After(20 * time.Millisecond):
	}
	return t.Context().Err() == nil && ctx.Err() == nil
}

// until polls a condition.
func until(ctx context.Context, t *testing.T, what string, holds func() bool) {
	t.Helper()
	for !holds() {
		if !waits(t, ctx) {
			t.Fatalf("waiting until %s: %v", what, ctx.Err())
		}
	}
}

// TestRegistryRefusesAnotherTopology: a member that was told another map than
// the registry's ends, and says what differs; so does a node that wants to be
// one. The others go on.
func TestRegistryRefusesAnotherTopology(t *testing.T) {
	ctx := within(t)
	q := registriesOn(t, startKafka(t).ListenAddrs())
	q.launch(ctx, t)
	const differs = "windowMillis is 172800000 here, but the cluster was made with 2592000000"
	must(t, q.nodes[2].Stop())
	strange := q.member(t, e2e.Self(), q.dirs[2], append(q.args[2], "--window", "48h")...)
	endsWith(ctx, t, strange, differs)

	listen, err := e2e.FreeAddress()
	must(t, err)
	members := q.args[0][3] + "," + q.args[1][3]
	endsWith(ctx, t, q.member(t, e2e.Self(), t.TempDir(), "--registry-id", "r4", "--registry-listen", listen, "--registry-join", members, "--window", "48h"), differs)

	must(t, q.call(ctx, q.nodes[1], http.MethodPost, "/instances", map[string]any{"id": instance}, nil))
	must(t, q.nodes[2].Launch())
	must(t, q.nodes[2].WaitReady(ctx))
	q.stop(t)
}

// endsWith launches a node that is to end by itself, with an error that holds
// the text.
func endsWith(ctx context.Context, t *testing.T, n *e2e.Node, text string) {
	t.Helper()
	must(t, n.Launch())
	select {
	case <-n.Done():
	case <-ctx.Done():
		must(t, errors.Join(n.Explain(errors.New("it does not end")), n.Kill()))
	}
	if err := n.Err(); err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("it ends with %v, want %q", err, text)
	}
}

// controls are the changes of settings that a partition's task takes from its
// log: the first record of each revision that is above all before it.
func controls(ctx context.Context, t *testing.T, q *registries, key schemas.ClusterKey) (taken [][]int64, held []*registry.Settings, records int) {
	t.Helper()
	logs, err := e2e.ReadTopic(ctx, q.kafka, prefix+"requests")
	must(t, err)
	for p, log := range logs {
		revisions, s := []int64{}, &registry.Settings{}
		for _, r := range log {
			if r.Headers[schemas.HeaderControl] == "" {
				continue
			}
			var c schemas.Control
			must(t, c.Decode(r.Value, key))
			if int(c.Partition) != p {
				t.Errorf("partition %d holds a control record for %d", p, c.Partition)
			}
			if c.Revision == 0 {
				continue // a tick
			}
			records++
			if c.Revision > s.Revision {
				revisions, s = append(revisions, c.Revision), s.With(c.Revision, c.Changes)
			}
		}
		taken, held = append(taken, revisions), append(held, s)
	}
	return taken, held, records
}

// oneEach makes a request for each partition, on its own.
func oneEach(round string) (all []e2e.Request) {
	for p := range int32(registryParts) {
		for i := 0; len(all) == int(p); i++ {
			r := e2e.Request{InstanceID: instance, BizType: "CHAT", LinkToken: fmt.Sprint("u", i), ThirdMsgID: round, Payload: "x"}
			if e2e.PartitionOf(r.Key(), registryParts) == p {
				all = append(all, r)
			}
		}
	}
	return all
}

// produced are the requests as a producer writes them, each in its partition.
func produced(asked []e2e.Request) (all []*kgo.Record) {
	for p, r := range asked {
		all = append(all, &kgo.Record{Partition: int32(p), Key: []byte(r.Key()), Value: r.JSON()})
	}
	return all
}

// ids waits until the log has an entry for each request, and gives their ids.
func ids(ctx context.Context, t *testing.T, kafka []string, asked []e2e.Request) (all []int64) {
	t.Helper()
	for {
		topics, err := e2e.ReadTopics(ctx, kafka, prefix)
		must(t, err)
		a := e2e.Check(topics, nil, nil)
		all = nil
		for p, r := range asked {
			for _, e := range a.Entries[p] {
				if e.LinkToken == r.LinkToken && e.ThirdMsgID == r.ThirdMsgID {
					all = append(all, e.OplogID)
				}
			}
		}
		if len(all) == len(asked) {
			return all
		}
		if !waits(t, ctx) {
			t.Fatalf("%d of %d requests of round %s are on the oplog", len(all), len(asked), asked[0].ThirdMsgID)
		}
	}
}

// processor starts sync tasks beside the registries, and gives the key that
// their control records are signed with.
func (q *registries) processor(ctx context.Context, t *testing.T) (*e2e.Node, schemas.ClusterKey) {
	t.Helper()
	keyFile := filepath.Join(q.nodes[0].DataDir(), "cluster.key")
	key, err := node.ReadClusterKey(keyFile)
	must(t, err)
	p, err := e2e.NewNode(e2e.Config{Program: e2e.Self(), Role: "processor", Dir: t.TempDir(), Brokers: q.kafka,
		Args: []string{"--cluster-key-file", keyFile, "--partitions", fmt.Sprint(registryParts)}})
	must(t, err)
	start(ctx, t, p)
	t.Cleanup(func() { _ = p.Kill() })
	return p, key
}

// TestNewRegistryLeaderFinishesWhatTheOldLeft: a leader is killed when its
// changes are committed and some partitions have them. The next one brings
// them to the others; each task takes each revision once; and the ids of a
// config that these changes removed and made anew go on above the old ones.
func TestNewRegistryLeaderFinishesWhatTheOldLeft(t *testing.T) {
	ctx := within(t)
	kafka := startKafka(t)
	q := registriesOn(t, kafka.ListenAddrs())
	q.launch(ctx, t)
	p, key := q.processor(ctx, t)

	const config = "/instances/" + instance + "/sync"
	chat := map[string]any{"bizType": "CHAT", "scope": "specified", "target": "user", "online": true}
	must(t, q.call(ctx, q.nodes[0], http.MethodPost, "/instances", map[string]any{"id": instance}, nil))
	must(t, q.call(ctx, q.nodes[1], http.MethodPost, config, chat, nil))
	for round := range 2 {
		asked := oneEach(fmt.Sprint("before-", round))
		send(ctx, t, p, produced(asked)...)
		if got := ids(ctx, t, q.kafka, asked); !slices.Equal(got, slices.Repeat([]int64{int64(round + 1)}, registryParts)) {
			t.Fatalf("round %d has the ids %v", round, got)
		}
	}

	lead := q.leader(ctx, t, 0, -1)
	follower := (lead + 1) % 3
	away := kafka.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: prefix + "requests", Partitions: []int32{1}, Err: kerr.NotEnoughReplicas, Count: -1})
	for _, c := range []struct {
		method, path string
		in           any
	}{{http.MethodPost, config + "/CHAT/offline", nil}, {http.MethodDelete, config + "/CHAT", nil}, {http.MethodPost, config, chat}} {
		must(t, q.call(ctx, q.nodes[follower], c.method, c.path+"?wait=false", c.in, nil))
	}
	var s registry.Status
	must(t, q.call(ctx, q.nodes[follower], http.MethodGet, "/registry/status", nil, &s))
	until(ctx, t, "two partitions have the changes", func() bool {
		_, held, _ := controls(ctx, t, q, key)
		return held[0].Revision == s.Revision && held[2].Revision == s.Revision
	})
	must(t, q.nodes[lead].Kill())
	if _, held, _ := controls(ctx, t, q, key); held[1].Revision >= s.Revision {
		t.Fatal("the old leader left nothing to do")
	}
	away.Remove()
	next := q.leader(ctx, t, follower, lead)
	until(ctx, t, "the next leader has finished", func() bool {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		err := q.call(ctx, q.nodes[next], http.MethodGet, "/registry/status", nil, &s)
		return err == nil && s.Publication.Pending == 0
	})
	taken, held, written := controls(ctx, t, q, key)
	for i := range taken {
		if !slices.Equal(taken[i], taken[0]) || !slices.Equal(held[i].Changes(), held[0].Changes()) || held[i].Sync(instance, "CHAT") == nil {
			t.Errorf("partition %d takes the revisions %v and holds %v; partition 0 takes %v and holds %v", i, taken[i], held[i].Changes(), taken[0], held[0].Changes())
		}
	}

	asked := oneEach("after")
	send(ctx, t, p, produced(asked)...)
	if got := ids(ctx, t, q.kafka, asked); !slices.Equal(got, slices.Repeat([]int64{3}, registryParts)) {
		t.Errorf("the config that was made anew has the ids %v, and 1 and 2 were given before", got)
	}
	// Nothing is left for the old leader when it comes back.
	must(t, q.nodes[lead].Launch())
	must(t, q.nodes[lead].WaitReady(ctx))
	if _, _, again := controls(ctx, t, q, key); again != written {
		t.Errorf("%d records of settings were written, and %d after the old leader is back", written, again)
	}
	must(t, p.Stop())
	q.stop(t)
}
