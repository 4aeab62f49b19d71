//go:build quorum

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/tidemarkio/tidemark/cmd/internal/e2e"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// quorumRuns is how many runs the clients make; TIDEMARK_RUNS sets another
// number, TIDEMARK_SEED the plan of a run that failed.
const quorumRuns = 24

const (
	quorumClients = 15 // five of each member
	// quorumReads are asked of a leader before its fault ends, so that the
	// first things that it does again are answers.
	quorumReads = 40
	// quorumBatch is how many changes are answered before, during and after a
	// fault.
	quorumBatch = 40
	// judgeMax is how long porcupine may take over a run.
	judgeMax = time.Minute
	// patienceMax outlives every fault.
	patienceMax = 10 * time.Second
	// agreeMax is how long members may take until they hold the same.
	agreeMax = time.Minute
)

// fault is what befalls a leader, and how it ends.
type fault struct {
	name         string
	strike, heal func(leader int) error
}

func faults(q *registries, l *lan) []fault {
	return []fault{
		{"killed", func(i int) error { return q.nodes[i].Kill() }, func(i int) error { return q.nodes[i].Launch() }},
		{"paused", func(i int) error { return q.nodes[i].Pause() }, func(i int) error { return q.nodes[i].Resume() }},
		{"cut off", l.cut, l.join},
		{"mute", l.mute, l.heard},
		{"deaf", l.deafen, l.hears},
	}
}

// TestQuorumIsLinearizable: three members, each on a host of its own, with TLS.
// Clients change and read configs through each of them while the leader is
// killed, paused, or cut off in one direction or both. After each run there is
// an order that explains all answers; each change that was answered is in the
// audit of all three, once, and no refused one is; what the members hold is
// what the audit makes. In the end they stop in order, and find it all again.
func TestQuorumIsLinearizable(t *testing.T) {
	ctx, random := within(t), planned(t)
	runs := quorumRuns
	if s := os.Getenv("TIDEMARK_RUNS"); s != "" {
		var err error
		runs, err = strconv.Atoi(s)
		must(t, err)
	}
	l := newLan(t, 3)
	q := registriesOnLan(t, l)
	q.launch(ctx, t)
	kinds := faults(q, l)
	plan := make([]int, runs)
	for i := range plan {
		plan[i] = i % len(kinds)
	}
	random.Shuffle(runs, func(i, j int) { plan[i], plan[j] = plan[j], plan[i] })
	for i, kind := range plan {
		r := &linearRun{q: q, instance: fmt.Sprintf("run%d_APP1", i), seed: random.Uint64(), begun: time.Now()}
		if !t.Run(fmt.Sprintf("%d %s", i, kinds[kind].name), func(t *testing.T) { r.do(ctx, t, kinds[kind]) }) {
			q.explain(t)
			return
		}
	}
	q.survive(ctx, t)
}

// planned is seeded, or the seed that is asked for.
func planned(t *testing.T) *rand.Rand {
	if s := os.Getenv("TIDEMARK_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		must(t, err)
		return rand.New(rand.NewPCG(seed, 0))
	}
	return seeded(t)
}

// registriesOnLan prepares a member on each host; none runs yet.
func registriesOnLan(t *testing.T, l *lan) *registries {
	t.Helper()
	kafka := startKafka(t, kfake.ListenFn(l.listen))
	q := &registries{kafka: kafka.ListenAddrs(), token: "of-this-test"}
	a := newAuthority(t)
	var listen []string
	for _, h := range l.hosts {
		listen = append(listen, net.JoinHostPort(h.members, "7000"))
	}
	for i, args := range founders(listen) {
		args = append(args, "--plaintext", "--admin-token", q.token)
		n := q.add(t, l.run(i, e2e.Self()), append(args, a.member(t, l.hosts[i].members)...)...)
		n.Admin = net.JoinHostPort(l.hosts[i].manage, "8181")
	}
	return q
}

// explain logs the end of each member's log.
func (q *registries) explain(t *testing.T) {
	t.Helper()
	for i, n := range q.nodes {
		t.Log(n.Explain(errors.New(registryID(i))))
	}
}

// survive restarts all members, and finds what they held.
func (q *registries) survive(ctx context.Context, t *testing.T) {
	t.Helper()
	before := q.agree(ctx, t, "")
	q.stop(t)
	q.launch(ctx, t)
	after := q.agree(ctx, t, "")
	if len(after) < len(before) || !slices.EqualFunc(before, after[:len(before)], sameRecord) {
		t.Errorf("%d records of the audit before a restart of all members, and %d others after it", len(before), len(after))
	}
	for i, r := range after {
		if r.Seq != int64(i+1) {
			t.Fatalf("record %d of the audit has the number %d", i+1, r.Seq)
		}
	}
	q.stop(t)
}

func sameRecord(a, b *registry.Record) bool {
	return a.Seq == b.Seq && a.Revision == b.Revision && a.Action == b.Action && a.Object == b.Object && string(a.After) == string(b.After)
}

// linearRun is one fault and what clients saw of it. Its configs are those of
// an instance of its own.
type linearRun struct {
	q        *registries
	instance string
	seed     uint64
	begun    time.Time

	mu       sync.Mutex
	history  []porcupine.Operation
	refused  []operation // did nothing, so it was answered
	failures []error     // answers that no registry should give
	unknown  int
	answered int // changes
}

var linearBiz = []string{"A", "B", "C", "D"}

func (r *linearRun) do(ctx context.Context, t *testing.T, f fault) {
	q := r.q
	must(t, q.call(ctx, q.nodes[0], http.MethodPost, "/instances?wait=false", map[string]any{"id": r.instance}, nil))
	going, stop := context.WithCancel(ctx)
	defer stop()
	var clients sync.WaitGroup
	defer clients.Wait()
	defer stop()
	for i := range quorumClients {
		clients.Go(func() { r.client(going, i, rand.New(rand.NewPCG(r.seed, uint64(i)))) })
	}
	r.more(ctx, t)
	leader := q.leader(ctx, t, 0, -1)
	must(t, f.strike(leader))
	struck := time.Now()
	next := q.leader(ctx, t, (leader+1)%3, leader)
	elected := time.Since(struck)
	r.more(ctx, t)
	answered := r.late(leader)
	defer answered()
	pause(ctx, 50*time.Millisecond) // so that they are in its socket
	must(t, f.heal(leader))
	must(t, q.nodes[leader].WaitReady(ctx))
	r.more(ctx, t)
	stop()
	clients.Wait()
	answered()
	t.Logf("%s was %s; %s led %s later; changes stood still for %s; %d calls, %d of them without an answer, %d that did nothing",
		registryID(leader), f.name, registryID(next), elected.Round(time.Millisecond), r.stood(struck).Round(time.Millisecond), len(r.history), r.unknown, len(r.refused))
	for _, err := range r.failures {
		t.Error(err)
	}
	tr := follow(t, q.agree(ctx, t, r.instance))
	judge(t, r.settle(t, tr))
	r.holds(t, tr.is)
}

// more waits until another batch of changes is answered.
func (r *linearRun) more(ctx context.Context, t *testing.T) {
	t.Helper()
	begin := r.changes()
	until(ctx, t, "changes are answered", func() bool { return r.changes() >= begin+quorumBatch })
}

func (r *linearRun) changes() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.answered
}

// stood is how long after a moment the first change began that was answered.
func (r *linearRun) stood(since time.Time) time.Duration {
	from, first := since.Sub(r.begun), time.Duration(math.MaxInt64)
	for _, op := range r.history {
		out, began := op.Output.(outcome), time.Duration(op.Call)
		if op.Input.(operation).do != deedRead && out.problem == "" && !out.unknown && began > from {
			first = min(first, time.Duration(op.Return))
		}
	}
	return first - from
}

// client makes calls of one member until it is told to stop, each with its own
// patience: some give up early, some outlive the fault.
func (r *linearRun) client(going context.Context, id int, random *rand.Rand) {
	seen := map[string]int64{} // revisions, by bizType
	for n := 0; going.Err() == nil; n++ {
		in := operation{biz: linearBiz[random.IntN(len(linearBiz))], text: fmt.Sprintf("%s %d.%d", r.instance, id, n)}
		switch p := random.IntN(100); {
		case p < 45:
			in.do, in.text = deedRead, ""
		case p < 60:
			in.do = deedCreate
		case p < 90:
			in.do = deedPut
		default:
			in.do, in.text = deedDelete, ""
		}
		if in.do >= deedPut && random.IntN(2) == 0 {
			in.expect = seen[in.biz]
		}
		patience := time.Duration(100+random.IntN(900)) * time.Millisecond
		if random.IntN(2) == 0 {
			patience = patienceMax
		}
		began := time.Since(r.begun)
		out, err := r.ask(patience, r.q.nodes[id%len(r.q.nodes)], in)
		r.note(id, in, out, err, began)
		if out.revision > 0 {
			seen[in.biz] = out.revision
		}
		pause(going, time.Duration(random.IntN(10))*time.Millisecond)
	}
}

// late asks a leader that does not answer, many at a time.
func (r *linearRun) late(leader int) (wait func()) {
	var all sync.WaitGroup
	for i := range quorumReads {
		in := operation{biz: linearBiz[i%len(linearBiz)]}
		all.Go(func() {
			began := time.Since(r.begun)
			out, err := r.ask(patienceMax, r.q.nodes[leader], in)
			r.note(quorumClients+i, in, out, err, began)
		})
	}
	return all.Wait
}

// errNothing says that a call certainly did nothing.
var errNothing = errors.New("it did nothing")

// note puts a call into the history.
func (r *linearRun) note(id int, in operation, out outcome, err error, began time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	end := int64(time.Since(r.begun))
	switch {
	case errors.Is(err, errNothing):
		r.refused = append(r.refused, in)
		return
	case err != nil:
		r.failures = append(r.failures, fmt.Errorf("%s %s: %w", in.do, in.biz, err))
		return
	case out.unknown:
		end = math.MaxInt64 // it may still happen
		r.unknown++
		id = quorumClients + quorumReads + r.unknown // the client goes on beside it
	case in.do != deedRead && out.problem == "":
		r.answered++
	}
	r.history = append(r.history, porcupine.Operation{ClientId: id, Input: in, Output: out, Call: int64(began), Return: end})
}

// ask makes one call of a member's admin API.
func (r *linearRun) ask(patience time.Duration, n *e2e.Node, in operation) (out outcome, err error) {
	// Clients stop between calls: an answer that comes is always noted.
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	path := "/instances/" + r.instance + "/sync"
	var headers []string
	if in.expect > 0 {
		headers = []string{"If-Match", strconv.Quote(strconv.FormatInt(in.expect, 10))}
	}
	var reply struct {
		Revision    int64
		Description string
	}
	switch in.do {
	case deedRead:
		err = r.q.call(ctx, n, http.MethodGet, path+"/"+in.biz+"?consistent=true", nil, &reply)
	case deedCreate:
		body := map[string]any{"bizType": in.biz, "scope": "specified", "target": "user", "online": false, "description": in.text}
		err = r.q.call(ctx, n, http.MethodPost, path+"?wait=false", body, &reply)
	case deedPut:
		err = r.q.call(ctx, n, http.MethodPut, path+"/"+in.biz+"?wait=false", map[string]any{"description": in.text}, &reply, headers...)
	case deedDelete:
		err = r.q.call(ctx, n, http.MethodDelete, path+"/"+in.biz+"?wait=false", nil, &reply, headers...)
	}
	if err == nil {
		return outcome{text: reply.Description, revision: reply.Revision}, nil
	}
	return in.ended(err)
}

// ended is what an error says of a call.
func (in operation) ended(err error) (outcome, error) {
	var no *refusal
	told := errors.As(err, &no)
	switch {
	case in.do == deedRead && (!told || no.status == http.StatusServiceUnavailable), errors.Is(err, syscall.ECONNREFUSED):
		return outcome{}, errNothing
	case !told: // time is up, or the connection broke
		return outcome{unknown: true}, nil
	case no.status == http.StatusNotFound, no.status == http.StatusConflict:
		return outcome{problem: registry.Problem(no.problem)}, nil
	case no.status != http.StatusServiceUnavailable:
		return outcome{}, err
	case strings.Contains(no.reason, "is unknown"):
		return outcome{unknown: true}, nil
	}
	// It says that nothing was changed, or it could not look, or it only
	// starts: the audit is asked later whether that is true.
	return outcome{}, errNothing
}

// judge has porcupine look for an order that explains the answers.
func judge(t *testing.T, history []porcupine.Operation) {
	t.Helper()
	verdict, info := porcupine.CheckOperationsVerbose(registrySpec, history, judgeMax)
	if verdict == porcupine.Ok {
		return
	}
	picture := filepath.Join(t.ArtifactDir(), "history.html")
	must(t, porcupine.VisualizePath(registrySpec, info, picture))
	t.Errorf("no order explains the answers (%s), see %s", verdict, picture)
}
