//go:build quorum

package main

import (
	"fmt"
	"testing"

	"github.com/anishathalye/porcupine"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// deed is what a client asks of one config.
type deed int

const (
	deedRead   deed = iota // from the leader
	deedCreate             // with a description
	deedPut                // another description
	deedDelete
)

func (d deed) String() string { return [...]string{"read", "create", "put", "delete"}[d] }

// operation is one call about one config. No two calls write the same text.
type operation struct {
	do     deed
	biz    string
	text   string // create, put: the description
	expect int64  // put, delete: If-Match, the revision that the client has seen; 0: any
}

// outcome is how a call ended.
type outcome struct {
	text     string           // read: the description
	revision int64            // of the config, after the call
	problem  registry.Problem // why it was refused
	unknown  bool             // no answer: it was done or not, or will be; see [linearRun.settle]
}

// cell is one config as the specification has it.
type cell struct {
	text     string // its description; empty: there is no such config
	revision int64  // of its latest change, its deletion too
}

// step is the cell after a call; false: the call cannot have ended so.
func (c cell) step(in operation, out outcome) (cell, bool) {
	there, seen := c.text != "", in.expect == 0 || in.expect == c.revision
	switch out.problem {
	case registry.NotFound:
		return c, in.do != deedCreate && !there
	case registry.Exists:
		return c, in.do == deedCreate && there
	case registry.Conflict:
		// A put without If-Match looks and then writes if nobody was faster.
		return c, there && (!seen || in.do == deedPut && in.expect == 0)
	}
	if in.do == deedRead {
		return c, there && out.text == c.text && out.revision == c.revision
	}
	// Revisions only rise, over a deletion too.
	return cell{in.text, out.revision}, there == (in.do != deedCreate) && seen && out.revision > c.revision
}

// registrySpec is what the admin API promises of each config.
var registrySpec = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		by := map[string][]porcupine.Operation{}
		for _, op := range history {
			biz := op.Input.(operation).biz
			by[biz] = append(by[biz], op)
		}
		var all [][]porcupine.Operation
		for _, ops := range by {
			all = append(all, ops)
		}
		return all
	},
	Init: func() any { return cell{} },
	Step: func(state, in, out any) (bool, any) {
		next, ok := state.(cell).step(in.(operation), out.(outcome))
		return ok, next
	},
	DescribeOperation: func(in, out any) string {
		i, o := in.(operation), out.(outcome)
		return fmt.Sprintf("%s %s %q if %d: %q at %d %s", i.do, i.biz, i.text, i.expect, o.text, o.revision, o.problem)
	},
	DescribeState: func(state any) string { return fmt.Sprintf("%+v", state) },
}

// TestQuorumSpecSeesWhatIsWrong: the judge of the runs below finds each kind of
// lie that a registry could tell.
func TestQuorumSpecSeesWhatIsWrong(t *testing.T) {
	create := func(text string) operation { return operation{do: deedCreate, text: text} }
	put := func(text string, expect int64) operation {
		return operation{do: deedPut, text: text, expect: expect}
	}
	read, remove := operation{do: deedRead}, operation{do: deedDelete}
	at := func(revision int64) outcome { return outcome{revision: revision} }
	sees := func(text string, revision int64) outcome { return outcome{text: text, revision: revision} }
	no := func(p registry.Problem) outcome { return outcome{problem: p} }
	type said struct {
		in  operation
		out outcome
	}
	for name, c := range map[string]struct {
		right   bool
		history []said // one after the other
	}{
		"all is well":                 {true, []said{{create("a"), at(1)}, {put("b", 1), at(2)}, {read, sees("b", 2)}, {remove, at(3)}, {read, no(registry.NotFound)}, {create("c"), at(4)}}},
		"refusals":                    {true, []said{{put("a", 0), no(registry.NotFound)}, {create("a"), at(1)}, {create("b"), no(registry.Exists)}, {put("b", 0), at(2)}, {put("c", 1), no(registry.Conflict)}}},
		"a stale read":                {false, []said{{create("a"), at(1)}, {put("b", 0), at(2)}, {read, sees("a", 1)}}},
		"a lost change":               {false, []said{{create("a"), at(1)}, {read, no(registry.NotFound)}}},
		"a change applied twice":      {false, []said{{create("a"), at(1)}, {put("b", 0), at(2)}, {put("c", 0), at(3)}, {read, sees("b", 4)}}},
		"a refused change was done":   {false, []said{{create("a"), at(1)}, {put("b", 0), no(registry.Conflict)}, {read, sees("b", 2)}}},
		"an If-Match that was not":    {false, []said{{create("a"), at(1)}, {put("b", 0), at(2)}, {put("c", 1), at(3)}}},
		"refused, and it was that":    {false, []said{{create("a"), at(1)}, {put("c", 1), no(registry.Conflict)}}},
		"made anew below the old one": {false, []said{{create("a"), at(5)}, {remove, at(6)}, {create("b"), at(6)}}},
		"made anew while it is there": {false, []said{{create("a"), at(1)}, {create("b"), at(2)}}},
		"seen at another revision":    {false, []said{{create("a"), at(1)}, {read, sees("a", 2)}}},
		"deleted and still there":     {false, []said{{create("a"), at(1)}, {remove, at(2)}, {read, sees("a", 1)}}},
	} {
		var history []porcupine.Operation
		for i, s := range c.history {
			history = append(history, porcupine.Operation{ClientId: i, Input: s.in, Output: s.out, Call: int64(2 * i), Return: int64(2*i + 1)})
		}
		if got := porcupine.CheckOperations(registrySpec, history); got != c.right {
			t.Errorf("%s: it judges %t", name, got)
		}
	}
}
