package chain_test

import (
	"fmt"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/schemas/chain"
)

// Two owners wrote at once, and the append of position 5 failed at first.
func ExampleReader() {
	var log [][]byte
	write := func(e schemas.Entry, before chain.Value) chain.Value {
		canonical := e.AppendCanonical(make([]byte, schemas.ChainLen))
		next := chain.Next(before, canonical)
		log = append(log, schemas.AppendChain(canonical[schemas.ChainLen:], next))
		return next
	}
	first := schemas.Entry{ThirdMsgID: "m1", OplogID: 1, RequestOffset: 4, PrevOffset: chain.None}
	second := schemas.Entry{ThirdMsgID: "m2", OplogID: 2, RequestOffset: 5, PrevOffset: 4}
	third := schemas.Entry{ThirdMsgID: "m3", OplogID: 3, RequestOffset: 9, PrevOffset: 5}
	c1 := write(first, chain.Value{})
	write(first, chain.Value{})
	c2 := chain.Next(c1, second.AppendCanonical(make([]byte, schemas.ChainLen)))
	write(third, c2)
	write(second, c1)
	write(third, c2)

	r := chain.Start()
	for _, record := range log {
		var e schemas.Entry
		if err := e.Decode(record); err != nil {
			fmt.Println(err)
			return
		}
		verdict, err := r.Accept(record, &e)
		if err != nil {
			fmt.Println(err) // a damaged log: stop, and tell an operator
			return
		}
		fmt.Println(e.ThirdMsgID, verdict)
	}
	// Output:
	// m1 accept
	// m1 repeat
	// m3 orphan
	// m2 accept
	// m3 accept
}
