package registry_test

import (
	"fmt"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// A command makes a new model and leaves the old one as it is. All of it is
// applied, or nothing.
func Example() {
	empty, _ := new(registry.Model).Apply(registry.Command{ID: "0", Actor: "ann", Ops: []registry.Op{
		registry.Create{ID: "registry", ClusterKey: registry.Hash{1}, Pepper: registry.Hash{2}, Topology: []byte(`{"partitions":8}`)},
	}})
	m, result := empty.Apply(registry.Command{ID: "1", Actor: "ann", Ops: []registry.Op{
		registry.CreateInstance{ID: "demo_APP1"},
		registry.CreateSync{Sync: registry.Sync{InstanceID: "demo_APP1", BizType: "UCHAT", Scope: "specified", Target: "user", Online: true, Description: "chat"}},
	}})
	fmt.Println(result.Err(), m.InstanceCount(), m.SyncCount(), empty.InstanceCount())

	same, result := m.Apply(registry.Command{ID: "2", Actor: "ann", Ops: []registry.Op{
		registry.CreateInstance{ID: "other_APP"},
		registry.CreateInstance{ID: "demo_APP1"},
	}})
	fmt.Println(result.Err())
	fmt.Println(same.InstanceCount())
	// Output:
	// <nil> 1 1 0
	// ops[1].id: instance "demo_APP1" exists
	// 1
}
