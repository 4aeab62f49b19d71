package oplog_test

import (
	"fmt"

	"github.com/tidemarkio/tidemark/processor/oplog"
)

func ExampleDecide() {
	fmt.Printf("%+v\n", oplog.Decide(oplog.Facts{Last: 41}))
	fmt.Printf("%+v\n", oplog.Decide(oplog.Facts{Last: 42, Original: 7}))
	// Output:
	// {Duplicate:false ID:42}
	// {Duplicate:true ID:7}
}
