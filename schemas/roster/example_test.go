package roster_test

import (
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/schemas/roster"
)

func Example() {
	r, now := roster.New(), time.Unix(0, 0)
	user := roster.Target{InstanceID: "demo_APP1", Dimension: schemas.TargetUser, Name: "user42"}
	r.Apply(&schemas.Presence{EdgeID: "e1", Epoch: 1, LeaseMillis: 5000}, now)
	r.Apply(&schemas.Presence{EdgeID: "e1", Epoch: 1, Session: "s1", InstanceID: "demo_APP1", Dimension: schemas.TargetUser, Target: "user42", DeviceID: "phone1"}, now)

	for _, after := range []time.Duration{time.Second, 6 * time.Second} { // the edge says nothing more
		fmt.Println(after, len(r.Sessions(user, now.Add(after))))
	}
	// Output:
	// 1s 1
	// 6s 0
}
