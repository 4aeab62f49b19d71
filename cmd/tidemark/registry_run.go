package main

import (
	"github.com/spf13/cobra"

	"github.com/tidemarkio/tidemark/cmd/node"
	"github.com/tidemarkio/tidemark/topology"
)

// registryRunFlags are those of `tidemark registry run`.
type registryRunFlags struct {
	node     node.Config
	topology topologyFlags
	registry registryFlags
	brokers  string
	console  consoleFlags
	logs     logFlags
}

func registryRunCommand() *cobra.Command {
	f := registryRunFlags{node: node.Config{RegistryOnly: true}}
	cmd := &cobra.Command{
		Use: "run", Short: "Run a registry node alone, on a Kafka of yours", Args: cobra.NoArgs,
		Long: `Runs a member of the registry's quorum, with the console and admin API, and
without sync tasks and doors. Whichever node leads writes settings to the
partitions of that Kafka. Three nodes survive the loss of one, five of two.

The node waits for a majority for as long as it takes: /readyz on the admin
port says so. It leaves the cluster key, which processors need, in its data
directory.`,
		Example: `  tidemark registry run --brokers kafka1:9092 --data-dir /var/lib/tidemark/registry
  tidemark registry run --brokers kafka1:9092 --registry-id r1 --registry-listen 10.0.0.1:7000 --registry-peers r1=10.0.0.1:7000,r2=10.0.0.2:7000,r3=10.0.0.3:7000 --registry-tls-cert r1.crt --registry-tls-key r1.key --registry-tls-ca ca.crt
  tidemark registry run --brokers kafka1:9092 --registry-id r4 --registry-listen 10.0.0.4:7000 --registry-join 10.0.0.1:7000,10.0.0.2:7000 --registry-tls-cert r4.crt --registry-tls-key r4.key --registry-tls-ca ca.crt`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if f.node.Log, err = f.logs.logger(cmd.ErrOrStderr()); err != nil {
				return err
			}
			f.node.Version, f.node.Brokers = version, node.Brokers(f.brokers)
			if f.node.Registry, err = f.registry.config(); err != nil {
				return err
			}
			f.node.Topology = topology.Config{Prefix: f.topology.prefix, Partitions: f.topology.partitions, Window: f.topology.window}
			if err := f.console.apply(&f.node); err != nil {
				return err
			}
			n, err := node.New(f.node)
			if err != nil {
				return err
			}
			return n.Run(cmd.Context())
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.node.DataDir, "data-dir", "data", "directory of the registry's log, snapshots and key")
	fl.StringVar(&f.node.ConfigFile, "config", "", "settings to apply at every start, without pruning")
	fl.StringVar(&f.brokers, "brokers", "", "the Kafka, host:port,... (required)")
	fl.StringVar(&f.node.Admin, "admin", node.DefaultAdmin, "operators' door: console, admin API, metrics, readiness")
	secretVar(fl, &f.node.AdminToken, "admin-token", "TIDEMARK_ADMIN_TOKEN", "asked of every call of the admin API; default $TIDEMARK_ADMIN_TOKEN, empty: open on loopback")
	fl.BoolVar(&f.node.PublicPlaintext, "plaintext", false, "allow plaintext HTTP on other addresses than loopback (behind a proxy that ends TLS)")
	f.console.add(cmd)
	f.topology.add(cmd)
	f.registry.add(cmd)
	f.logs.add(cmd)
	return cmd
}
