package topology_test

import (
	"fmt"
	"log"

	"github.com/tidemarkio/tidemark/topology"
)

// A producer finds the partition of a link token as the Java client does, and
// a node compares what it was started with with what the data was made with.
func Example() {
	t, err := topology.New(topology.Config{Prefix: "demo.", Partitions: 16})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(t.Requests.Name, t.Of("N711MQ"))

	other, err := topology.New(topology.Config{Partitions: 8})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(other.Diff(t.Frozen()))
	// Output:
	// demo.requests 6
	// partitions is 8 here, but the data was made with 16
}
