package flights_test

import (
	"fmt"

	"github.com/tidemarkio/tidemark/cmd/node/flights"
)

func ExampleDay() {
	events, err := flights.Day()
	if err != nil {
		panic(err)
	}
	fmt.Println(len(events), "requests")
	for _, e := range events {
		if e.Request.LinkToken == "N607JB" && e.Request.BizType != flights.Delay {
			fmt.Println(e.At, e.Request.BizType, e.Request.ThirdMsgID)
		}
	}
	// Output:
	// 4323 requests
	// 3h0m0s SCHEDULE 2013-03-08/B6507-EWR-06:00/SCHEDULE
	// 5h57m0s DEPARTURE 2013-03-08/B6507-EWR-06:00/DEPARTURE
	// 8h51m0s ARRIVAL 2013-03-08/B6507-EWR-06:00/ARRIVAL
	// 10h20m0s SCHEDULE 2013-03-08/B6505-EWR-13:20/SCHEDULE
	// 18h52m0s DEPARTURE 2013-03-08/B6505-EWR-13:20/DEPARTURE
	// 18h59m0s SCHEDULE 2013-03-08/B611-JFK-21:59/SCHEDULE
	// 21h28m0s ARRIVAL 2013-03-08/B6505-EWR-13:20/ARRIVAL
	// 26h23m0s DEPARTURE 2013-03-08/B611-JFK-21:59/DEPARTURE
	// 29h10m0s ARRIVAL 2013-03-08/B611-JFK-21:59/ARRIVAL
}
