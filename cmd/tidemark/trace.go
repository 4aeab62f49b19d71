package main

import (
	"github.com/spf13/cobra"

	"github.com/tidemarkio/tidemark/cmd/node"
)

// addTraceFlags adds where traces go.
func addTraceFlags(cmd *cobra.Command, to *node.TraceConfig) {
	cmd.Flags().StringVar(&to.Endpoint, "otlp-endpoint", "", "OTLP/HTTP receiver of traces, such as http://127.0.0.1:4318; default: none are made")
	cmd.Flags().Float64Var(&to.Sample, "trace-sample", 0, "share of calls to trace that bring no traceparent, 0 to 1; 0: none")
}
