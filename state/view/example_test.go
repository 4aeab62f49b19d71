package view_test

import (
	"fmt"
	"log"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/state"
	"github.com/tidemarkio/tidemark/state/view"
	"github.com/tidemarkio/tidemark/topology"
)

// A view takes sync points from the acks topic and answers how far a device is.
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
	v, err := view.Open(3, view.Config{Shared: shared, Topology: topo, Dir: "view-3", FS: vfs.NewMem()})
	if err != nil {
		log.Fatal(err)
	}
	defer v.Close()
	if err := v.Begin(0, 0); err != nil {
		log.Fatal(err)
	}

	ack := schemas.Ack{InstanceID: "demo_APP1", BizType: "UCHAT", Target: "user42", DeviceID: "phone", To: 7, Entries: 7}
	if _, err := v.Apply(nil, []view.Record{{Offset: 0, Value: ack.Append(nil)}}); err != nil {
		log.Fatal(err)
	}
	to, known, err := v.Point(view.Log{InstanceID: "demo_APP1", Target: "user42", BizType: "UCHAT"}, "phone")
	fmt.Println(to, known, err)
	fmt.Println("next sync point to read:", v.Position().Acks)
	// Output:
	// 7 true <nil>
	// next sync point to read: 1
}
