package state_test

import (
	"fmt"
	"log"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/zeebo/xxh3"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/state"
	"github.com/tidemarkio/tidemark/topology"
)

// A task applies what its log has acknowledged, with the position inside, and
// looks up what it needs for the next request.
func Example() {
	topo, err := topology.New(topology.Config{})
	if err != nil {
		log.Fatal(err)
	}
	shared, err := state.NewShared(state.SharedConfig{})
	if err != nil {
		log.Fatal(err)
	}
	defer shared.Close()
	task, err := shared.OpenTask(state.TaskConfig{Dir: "task-0", FS: vfs.NewMem(), Topology: topo})
	if err != nil {
		log.Fatal(err)
	}
	defer task.Close()

	counter := schemas.CounterKey(nil, "demo_APP1", "UCHAT", "user-1")
	seen := xxh3.Hash128([]byte("instance, business, link token and thirdMsgId")).Bytes()
	if err := task.Apply(&state.Batch{
		Position: state.Position{Request: 41, OplogOffset: 7, Entry: 41},
		Dedupe:   []state.DedupePut{{Bucket: 9, Key: seen, ID: 3}},
		Counters: []state.CounterPut{{Hash: state.HashKey(counter), Key: counter, ID: 3, Position: 41}},
	}); err != nil {
		log.Fatal(err)
	}

	original, err := task.Original(seen, 8, 10)
	if err != nil {
		log.Fatal(err)
	}
	last, err := task.Last(state.HashKey(counter), counter)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(task.Position().Request, original, last)
	// Output: 41 3 3
}
