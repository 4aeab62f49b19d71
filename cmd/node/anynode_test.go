package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/connectors/client"
	"github.com/tidemarkio/tidemark/connectors/console"
	"github.com/tidemarkio/tidemark/processor/runtime"
	"github.com/tidemarkio/tidemark/schemas"
)

const trioConfig = `
instances:
  - id: demo_APP1
    clientKey: ck-demo
    sync:
      - {bizType: UCHAT, scope: specified, target: user, multiDevice: true}
`

// runs lists the partitions that a node decides.
func (w *trio) runs(i int) (all []int32) {
	for _, s := range w.nodes[i].tasks.Status() {
		if s.State == runtime.StateRunning {
			all = append(all, s.Partition)
		}
	}
	return all
}

// push pushes one entry to a user through a node.
func (w *trio) push(through int, user, id string) {
	w.t.Helper()
	p := &pusher{running: &running{t: w.t, Node: w.nodes[through]}}
	a := p.post("/webapi/sync/single?instanceId=demo_APP1", p.with(fields{"bizType": "UCHAT", "linkToken": user, "thirdMsgId": id}))
	if !a.Success {
		w.t.Fatalf("push to %s: %+v", user, a)
	}
}

// follow reads a node's oplog tail until it has n entries, and gives them as
// "token thirdMsgId", sorted.
func (w *trio) follow(at, n int, q console.TailQuery, ready func()) (got []string, partitions []int32) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	enough := errors.New("enough")
	err := (tail{w.nodes[at]}).Follow(ctx, q, func(e *console.TailEntry) error {
		if e == nil {
			ready()
			ready = func() {}
			return nil
		}
		got = append(got, e.LinkToken+" "+e.ThirdMsgID)
		if !slices.Contains(partitions, e.Partition) {
			partitions = append(partitions, e.Partition)
		}
		if len(got) == n {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		w.t.Fatalf("the tail ended with %v, %d of %d entries: %q", err, len(got), n, got)
	}
	slices.Sort(got)
	return got, partitions
}

// TestAnyNodeAnswersForAll: the tail of the oplog and the data query are those
// of the whole house, whichever node is asked.
func TestAnyNodeAnswersForAll(t *testing.T) {
	w := startTrio(t)
	if err := w.nodes[0].Apply(t.Context(), []byte(trioConfig), nil); err != nil {
		t.Fatal(err)
	}
	w.until("each node runs a partition", func() error {
		for i := range w.nodes {
			if p := w.runs(i); len(p) != 1 {
				return fmt.Errorf("node %d runs %v", i, p)
			}
		}
		return nil
	})
	w.until("every node has the settings", func() error {
		for i, n := range w.nodes {
			if n.settings().Sync("demo_APP1", "UCHAT") == nil {
				return fmt.Errorf("node %d has not", i)
			}
		}
		return nil
	})
	var want []string
	for i := range 9 {
		w.push(i%3, fmt.Sprint("u", i), "m1")
		want = append(want, fmt.Sprint("u", i, " m1"))
	}
	w.until("node 0 has all in its views", func() error {
		for i := range 9 {
			if p, err := w.nodes[0].edge.Pushes("demo_APP1", fmt.Sprint("u", i), 1); err != nil || len(p) != 1 {
				return fmt.Errorf("u%d: %v, %w", i, p, err)
			}
		}
		return nil
	})
	got, partitions := w.follow(0, 9, console.TailQuery{Partition: -1, Last: 9}, func() {})
	if !slices.Equal(got, want) || len(partitions) != 3 {
		t.Errorf("the tail showed %q of partitions %v, want %q", got, partitions, want)
	}
	// What comes, of a partition that another node decides.
	other := w.runs(1)[0]
	user := ""
	for i := 0; user == ""; i++ {
		if u := fmt.Sprint("u", i); w.nodes[0].topo.Of(u) == other {
			user = u
		}
	}
	got, _ = w.follow(0, 1, console.TailQuery{Partition: other, LinkToken: user}, func() { w.push(2, user, "m2") })
	if !slices.Equal(got, []string{user + " m2"}) {
		t.Errorf("the tail of node 1's partition showed %q at node 0", got)
	}
	if err := (tail{w.nodes[0]}).Follow(t.Context(), console.TailQuery{Partition: 3}, nil); err == nil {
		t.Error("a partition that there is not was followed")
	}
	w.query("v1", "d1")
	w.until("the overview names its node, and the others with their doors", func() error {
		s, err := (&live{node: w.nodes[1]}).Live(t.Context())
		if err != nil {
			return err
		}
		want := []console.OtherNode{{Node: "r1", Admin: w.nodes[0].AdminURL()}, {Node: "r3", Admin: w.nodes[2].AdminURL()}}
		if s.Node != "r2" || !slices.Equal(s.Others, want) {
			return fmt.Errorf("%q, %v, want %v", s.Node, s.Others, want)
		}
		return nil
	})
}

// query pushes to a user through node 0, has a device take it at node 1, and
// asks node 2.
func (w *trio) query(user, device string) {
	w.t.Helper()
	w.push(0, user, "m1")
	c, err := client.New(client.Config{URL: w.nodes[1].URL(), InstanceID: "demo_APP1", ClientKey: "ck-demo", DeviceID: device, UserID: user, Biz: []string{"UCHAT"}, Ack: true})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, leave := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx, func(context.Context, client.Event) error { return nil }) }()
	is := func(want string) {
		w.t.Helper()
		w.until("the data query says "+want, func() error {
			target, err := stats{w.nodes[2]}.Target(w.t.Context(), "demo_APP1", schemas.TargetUser, user, 10)
			if err != nil {
				return err
			}
			got := fmt.Sprintf("connected %v, pushes %d, arrivals %d", target.Connected, target.Pushes, target.Arrivals)
			for _, s := range target.Sessions {
				got += ", " + s.DeviceID + " at " + s.Edge
			}
			for _, p := range target.PushList {
				got += fmt.Sprintf(", %d arrived %v", p.OplogID, p.Arrived)
			}
			if got != want {
				return errors.New(got)
			}
			return nil
		})
	}
	is("connected true, pushes 1, arrivals 1, d1 at r2, 1 arrived true")
	leave()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		w.t.Error("the device ended with", err)
	}
	is("connected false, pushes 1, arrivals 1, 1 arrived true")
}
