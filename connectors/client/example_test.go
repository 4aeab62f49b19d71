package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/tidemarkio/tidemark/connectors/client"
)

func Example() {
	// A server that pushes one message. Yours is tidemark, on port 8080.
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "id: 1\nevent: sync\ndata: "+`{"bizType":"UCHAT","from":0,"to":1,"op":[{"id":1,"thirdMsgId":"m1","pl":"hello"}]}`+"\n\n")
	}))
	defer server.Close()

	c, err := client.New(client.Config{
		URL: server.URL, InstanceID: "demo_APP1", ClientKey: "ck-demo", DeviceID: "phone1", UserID: "user42", Biz: []string{"UCHAT"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	enough := errors.New("enough")
	err = c.Run(context.Background(), func(_ context.Context, e client.Event) error {
		for _, op := range e.Ops {
			fmt.Printf("%s %d: %s\n", e.BizType, op.ID, op.Payload)
		}
		return enough // a real handler stores what it got, and returns nil
	})
	fmt.Println(err)
	// Output:
	// UCHAT 1: hello
	// enough
}
