package quorum

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// TestLinearizable runs clients against a quorum while its leaders are killed
// and cut off, and has porcupine look for an order in which all answers make
// sense. TIDEMARK_RUNS sets how many runs; each has its own seed.
func TestLinearizable(t *testing.T) {
	runs := 20
	if s := os.Getenv("TIDEMARK_RUNS"); s != "" {
		runs, _ = strconv.Atoi(s)
	}
	for seed := range uint64(runs) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { linearRun(t, seed) })
		})
	}
}

const (
	doRead = iota
	doWrite
	doSwap // write if nobody was faster
)

// call is one call of the registry's API; reply is its answer. The registry is
// a set of configs whose description is the value, at a revision.
type call struct {
	do     int
	biz    string
	value  string
	expect int64 // doSwap: the revision that was read before
}

type reply struct {
	value    string
	revision int64 // of the config
	refused  bool  // doSwap: somebody was faster
	unknown  bool  // no answer: it may have happened or not, or happen yet
}

// cell is the specification's state of one config.
type cell struct {
	value    string
	revision int64
}

// spec is what one config of a registry does.
var spec = porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		by := map[string][]porcupine.Operation{}
		for _, op := range history {
			by[op.Input.(call).biz] = append(by[op.Input.(call).biz], op)
		}
		var all [][]porcupine.Operation
		for _, ops := range by {
			all = append(all, ops)
		}
		return all
	},
	Init: func() []any { return []any{cell{}} },
	Step: func(state, input, output any) []any {
		now, in, out := state.(cell), input.(call), output.(reply)
		switch {
		case in.do == doRead && (now.revision == 0 || out.value == now.value && out.revision == now.revision):
			return []any{cell{out.value, out.revision}} // the first sight of it says where it starts
		case in.do == doRead:
			return nil
		case in.do == doSwap && out.refused:
			if now.revision == in.expect {
				return nil
			}
			return []any{now}
		case in.do == doSwap && now.revision != in.expect:
			if out.unknown {
				return []any{now} // it was refused, and nobody heard it
			}
			return nil
		case out.unknown:
			// Its revision is not known; the next sight of it tells.
			return []any{now, cell{in.value, -1}}
		case now.revision >= out.revision:
			return nil // revisions only rise
		}
		return []any{cell{in.value, out.revision}}
	},
	Equal: func(a, b any) bool { return a == b },
}

// spec's cells of revision -1 take the revision of whoever sees them first.
func init() {
	step := spec.Step
	spec.Step = func(state, input, output any) []any {
		now, in, out := state.(cell), input.(call), output.(reply)
		if now.revision != -1 {
			return step(state, input, output)
		}
		switch in.do {
		case doRead:
			if out.value != now.value {
				return nil
			}
			return []any{cell{out.value, out.revision}}
		case doSwap:
			if out.refused {
				return []any{now}
			}
			if out.unknown {
				return []any{now, cell{in.value, -1}}
			}
			return []any{cell{in.value, out.revision}} // it had read that very revision
		}
		if out.unknown {
			return []any{now, cell{in.value, -1}}
		}
		return []any{cell{in.value, out.revision}}
	}
}

func linearRun(t *testing.T, seed uint64) {
	c := newCluster(t, 3)
	c.every = 32
	c.startAll()
	c.propose(c.leader(), registry.CreateInstance{ID: "a"}, config("X"), config("Y"))
	h := &history{start: time.Now()}
	stop := make(chan struct{})
	var clients, chaos sync.WaitGroup
	var mu sync.RWMutex // over c.nodes
	for i := range 5 {
		clients.Go(func() { h.client(t, c, &mu, i, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	chaos.Go(func() { disturb(c, &mu, rand.New(rand.NewPCG(seed, 99)), stop) })
	chaos.Go(func() {
		for r := rand.New(rand.NewPCG(seed, 100)); ; c.fabric.reset() {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(r.IntN(150)) * time.Millisecond):
			}
		}
	})
	clients.Wait()
	close(stop)
	chaos.Wait()
	if len(h.ops) < 60 {
		t.Errorf("only %d calls were answered", len(h.ops))
	}
	t.Logf("%d calls, %d without an answer", len(h.ops), h.unknown)
	if got := porcupine.CheckOperationsTimeout(spec.ToModel(), h.ops, 0); got != porcupine.Ok {
		t.Errorf("no order explains the answers: %v", got)
	}
	c.alike()
	c.stopAll()
}

// disturb kills leaders, cuts them off and moves leadership until stop.
func disturb(c *cluster, mu *sync.RWMutex, r *rand.Rand, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(r.IntN(3000)) * time.Millisecond):
		}
		leader := c.leader()
		switch r.IntN(4) {
		case 0, 1:
			mu.Lock()
			c.crash(leader.ID())
			mu.Unlock()
			time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
			mu.Lock()
			c.start(leader.ID())
			mu.Unlock()
		case 2:
			c.fabric.isolate(leader.Address(), true)
			time.Sleep(time.Duration(r.IntN(4000)) * time.Millisecond)
			c.fabric.isolate(leader.Address(), false)
		case 3:
			_ = leader.Transfer(context.Background(), "", Who{Actor: "chaos"}) // it may have lost the lead already
		}
	}
}

type history struct {
	mu      sync.Mutex
	start   time.Time
	ops     []porcupine.Operation
	unknown int
}

// client calls whichever node for a while, each call with its own patience.
func (h *history) client(t *testing.T, c *cluster, mu *sync.RWMutex, id int, r *rand.Rand) {
	seen := map[string]int64{}
	for n := range 25 {
		time.Sleep(time.Duration(r.IntN(800)) * time.Millisecond)
		in := call{do: r.IntN(3), biz: []string{"X", "Y"}[r.IntN(2)], value: fmt.Sprintf("%d.%d", id, n)}
		if in.do == doSwap {
			if in.expect = seen[in.biz]; in.expect == 0 {
				in.do = doRead
			}
		}
		mu.RLock()
		node := c.nodes[c.peers[r.IntN(3)].ID]
		mu.RUnlock()
		if node == nil {
			continue // it is down
		}
		begin := time.Since(h.start)
		out, ok := ask(t, node, in, time.Duration(200+r.IntN(4000))*time.Millisecond)
		if !ok {
			continue // for certain it did nothing
		}
		if out.revision > 0 {
			seen[in.biz] = out.revision
		}
		h.add(id, in, out, begin)
	}
}

func (h *history) add(id int, in call, out reply, begin time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	end := int64(time.Since(h.start))
	if out.unknown {
		end = math.MaxInt64 // it may still happen
		h.unknown++
		id = 1000 + h.unknown // the client goes on beside it
	}
	h.ops = append(h.ops, porcupine.Operation{ClientId: id, Input: in, Output: out, Call: int64(begin), Return: end})
}

// ask makes one call; ok is false if it certainly did nothing.
func ask(t *testing.T, n *Node, in call, patience time.Duration) (out reply, ok bool) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if in.do == doRead {
		m, err := n.Read(ctx)
		if err != nil {
			return out, false
		}
		s := m.Sync("a", in.biz)
		if s == nil {
			return reply{}, true // before it was made: never right
		}
		return reply{value: s.Description, revision: s.Revision}, true
	}
	op := describe(in.biz, in.value).(registry.ModifySync)
	op.Expect = in.expect
	r, err := n.Propose(ctx, registry.Command{Actor: "client", Ops: []registry.Op{op}})
	var unknown *UnknownError
	switch {
	case errors.As(err, &unknown):
		return reply{unknown: true}, true
	case problem(err) == registry.Conflict:
		return reply{refused: true}, true
	case problem(err) != "":
		t.Errorf("%+v: %v", in, err)
		return out, false
	case err != nil:
		return out, false
	}
	return reply{value: in.value, revision: r.Revision}, true
}
