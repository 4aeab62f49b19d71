package schemas_test

import (
	"fmt"

	"github.com/tidemarkio/tidemark/schemas"
)

func ExampleRequest_Validate() {
	for _, body := range []string{
		`{"bizType":"UCHAT","linkToken":"2088102147396225","thirdMsgId":"m1","payload":"hello"}`,
		`{"bizType":"UCHAT","linkToken":"2088102147396225","thirdMsgId":"m1"}`,
		`{"bizType":"UCHAT","linkToken":"2088102147396225","thirdMsgId":"m1","binaryPayload":"%"}`,
	} {
		var r schemas.Request
		if err := r.DecodeJSON([]byte(body)); err != nil {
			fmt.Println(err)
			continue
		}
		if fault := r.Validate(); !fault.None() {
			fmt.Println(fault.Code, "-", fault.Reason)
			continue
		}
		fmt.Println("valid, for partition key", r.Key())
	}
	// Output:
	// valid, for partition key 2088102147396225
	// ARGS_IS_NULL - payload and binaryPayload are both missing: give one
	// ARGS_INVALID - binaryPayload is not base64 (standard alphabet, padded, no line breaks)
}
