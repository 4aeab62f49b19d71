package main

import (
	"github.com/spf13/cobra"

	"github.com/tidemarkio/tidemark/cmd/node"
	"github.com/tidemarkio/tidemark/topology"
)

func processorCommand() *cobra.Command {
	var cfg node.ProcessorConfig
	var topo topologyFlags
	var logs logFlags
	var brokers string
	cmd := &cobra.Command{
		Use: "processor", Short: "Run sync tasks alone, on a Kafka of yours", Args: cobra.NoArgs,
		Long: `Runs the sync tasks that the consumer group gives to this process, and keeps
others' state warm. Start as many as you like: partitions move to them once they
are warm. Settings reach the tasks as control records, signed with the cluster
key that the registry's node keeps.`,
		Example: `  tidemark processor --brokers kafka1:9092 --data-dir /var/lib/tidemark/p1 --cluster-key-file data/cluster.key`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if cfg.Log, err = logs.logger(cmd.ErrOrStderr()); err != nil {
				return err
			}
			cfg.Version = version
			cfg.Brokers = node.Brokers(brokers)
			cfg.Topology = topology.Config{Prefix: topo.prefix, Partitions: topo.partitions, Window: topo.window}
			p, err := node.NewProcessor(cfg)
			if err != nil {
				return err
			}
			return p.Run(cmd.Context())
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&cfg.DataDir, "data-dir", "data", "directory of the stores; one process at a time")
	fl.StringVar(&brokers, "brokers", "", "the Kafka, host:port,... (required)")
	fl.StringVar(&cfg.ClusterKeyFile, "cluster-key-file", "", "the registry's cluster key, as in its node's data directory (required)")
	fl.StringVar(&cfg.Admin, "admin", node.DefaultAdmin, "readiness, status and metrics; loopback only")
	fl.StringVar(&cfg.Member, "member", "", "name of this process in the group, for people")
	fl.IntVar(&cfg.Standbys, "standbys", 0, "how many other processes keep a partition warm; 0: 1, -1: none")
	fl.DurationVar(&cfg.SessionTimeout, "session-timeout", 0, "how fast the group notices a dead process; 0: 10s")
	fl.DurationVar(&cfg.CheckpointEvery, "checkpoint-every", 0, "how often a partition's base is written to the changelog; 0: 15s")
	addTraceFlags(cmd, &cfg.Trace)
	topo.add(cmd)
	logs.add(cmd)
	return cmd
}
