package sim_test

import (
	"fmt"

	"github.com/tidemarkio/tidemark/cmd/sim"
)

func ExampleRun() {
	rep, err := sim.Run(sim.Options{Seed: 7, Schedules: 100})
	fmt.Println(rep.Schedules, "schedules, violation:", err)
	// Output: 100 schedules, violation: <nil>
}
