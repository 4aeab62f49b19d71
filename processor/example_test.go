package processor_test

import (
	"fmt"
	"log"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology"
)

// A task decides requests and says what to write. Nothing of it reaches the
// store before the append is acknowledged.
func Example() {
	topo, err := topology.New(topology.Config{Partitions: 1})
	if err != nil {
		log.Fatal(err)
	}
	store := processor.NewMemory()
	task := processor.New(processor.Config{Topology: topo}, store)
	if err := task.Own(); err != nil {
		log.Fatal(err)
	}

	settings := schemas.Control{Time: 1_800_000_000_000, Revision: 1, Changes: []schemas.Change{
		{Kind: schemas.PutInstance, InstanceID: "demo_APP1"},
		{Kind: schemas.PutSync, InstanceID: "demo_APP1", Sync: schemas.SyncConfig{BizType: "UCHAT", Scope: "specified", Target: "user", Persistent: true, Online: true}},
	}}
	push := schemas.Request{InstanceID: "demo_APP1", BizType: "UCHAT", LinkToken: "user42", ThirdMsgID: "m1", Payload: "hello"}
	for _, r := range []processor.Record{
		{Offset: 0, Control: true, Value: settings.Append(nil, schemas.ClusterKey{})},
		{Offset: 1, Value: push.AppendProto(nil)},
	} {
		if err := task.Input(&r); err != nil {
			log.Fatal(err)
		}
	}
	for _, out := range task.Take() {
		fmt.Println(out.Kind, "of request", out.Position)
	}
	fmt.Println("decided", task.Decided(), "stored", store.Position().Request)

	if err := task.Appended(1, 0); err != nil { // the broker has it, at offset 0
		log.Fatal(err)
	}
	if _, err := task.Apply(); err != nil {
		log.Fatal(err)
	}
	fmt.Println("decided", task.Decided(), "stored", store.Position().Request)
	// Output:
	// append of request 1
	// decided 1 stored -1
	// decided 1 stored 1
}
