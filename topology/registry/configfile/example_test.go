package configfile_test

import (
	"fmt"
	"log"

	"github.com/tidemarkio/tidemark/topology/registry"
	"github.com/tidemarkio/tidemark/topology/registry/configfile"
)

// A file is compared with a model: the plan says what would change, in words
// and as operations for the registry.
func Example() {
	file, err := configfile.Parse([]byte(`
instances:
  - id: demo_APP1
    clientKey: ck-demo
    sync:
      - {bizType: UCHAT, scope: specified, target: user, online: true, description: chat}
`))
	if err != nil {
		log.Fatal(err)
	}
	model, _ := new(registry.Model).Apply(registry.Command{ID: "0", Actor: "ann", Ops: []registry.Op{
		registry.Create{ID: "registry", ClusterKey: registry.Hash{1}, Pepper: registry.Hash{2}, Topology: []byte(`{"partitions":8}`)},
	}})
	plan, err := file.Plan(model, false)
	if err != nil {
		log.Fatal(err)
	}
	for _, line := range plan.Diff {
		fmt.Println(line)
	}
	fmt.Println(len(plan.Ops), "operations")

	_, err = configfile.Parse([]byte("instances:\n  - id: demo_APP1\n    colour: red\n"))
	fmt.Println(err)
	// Output:
	// + instance demo_APP1
	// + client key 9e67095fbd5e of demo_APP1
	// + config demo_APP1/UCHAT (specified, user, persistent, queue, online)
	// 3 operations
	// read config: line 3: unknown field "colour"
}
