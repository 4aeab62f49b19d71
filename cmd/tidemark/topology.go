package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemarkio/tidemark/topology"
)

// topologyFlags are those that every command which touches topics shares.
type topologyFlags struct {
	prefix     string
	partitions int32
	window     time.Duration
}

func (f *topologyFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.prefix, "topic-prefix", topology.DefaultPrefix, "prefix of all topic names")
	cmd.Flags().Int32Var(&f.partitions, "partitions", topology.DefaultPartitions, "partitions of every topic; fixed once data exists")
	cmd.Flags().DurationVar(&f.window, "window", topology.DefaultWindow, "how long a thirdMsgId is remembered and data kept; fixed once data exists")
}

func (f *topologyFlags) topology() (*topology.Topology, error) {
	return topology.New(topology.Config{Prefix: f.prefix, Partitions: f.partitions, Window: f.window})
}

func topologyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "topology", Short: "The map of topics and stores"}
	var flags topologyFlags
	var output string
	describe := &cobra.Command{
		Use: "describe", Short: "Print the topics, stores and what is frozen", Args: cobra.NoArgs,
		Example: `  tidemark topology describe
  tidemark topology describe --output mermaid
  tidemark topology describe --output json | jq .frozen`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t, err := flags.topology()
			if err != nil {
				return err
			}
			switch w := cmd.OutOrStdout(); output {
			case "text":
				return t.DescribeText(w)
			case "json":
				return t.DescribeJSON(w)
			case "mermaid":
				return t.DescribeMermaid(w)
			}
			return fmt.Errorf("--output %q: use text, json or mermaid", output)
		},
	}
	flags.add(describe)
	describe.Flags().StringVarP(&output, "output", "o", "text", "text, json or mermaid")
	cmd.AddCommand(describe)
	return cmd
}
