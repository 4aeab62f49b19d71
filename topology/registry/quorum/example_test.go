package quorum_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"

	"github.com/tidemarkio/tidemark/topology/registry"
	"github.com/tidemarkio/tidemark/topology/registry/quorum"
)

// A registry of one node. More are started with Peers, or Join this one.
func Example() {
	dir, err := os.MkdirTemp("", "registry")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	n, err := quorum.Open(quorum.Config{Dir: dir, Topology: []byte(`{"partitions":8}`), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	defer func() { stop(); <-ended }()

	if err := n.Ready(ctx); err != nil {
		log.Fatal(err)
	}
	if _, err := n.Propose(ctx, registry.Command{Actor: "ann", Ops: []registry.Op{registry.CreateInstance{ID: "demo_APP1"}}}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(n.Model().Instance("demo_APP1").ID, n.Status().State)
	// Output: demo_APP1 leader
}
