// Command tidemark is the whole of Tidemark in one binary: `tidemark dev` for
// everything in one process, the tools around it, and their help.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

// gcPercent is how far the heap may grow between collections. Less than Go's
// default: what we hold is mostly in Pebble's own memory and in queues, so a
// collection is cheap, and people look at how much memory we take.
const gcPercent = 50

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := root().ExecuteContext(ctx); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "tidemark:", err)
		stop()
		os.Exit(1)
	}
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tidemark",
		Short: "Data sync on Kafka: ordered, deduplicated, delivered once",
		Long: `Tidemark turns sync requests ("user 42 has a new order state") into an ordered,
deduplicated log per target and business, and delivers it to every device that
should have it: in order, once, live or at the next connect.

Start with:
  tidemark dev              everything in one process, on an embedded broker
  tidemark listen --help    receive pushes in the terminal
  tidemark send --help      push something`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.AddCommand(devCommand(), processorCommand(), sendCommand(), listenCommand(), configCommand(), statusCommand(), registryCommand(), topologyCommand(), stateCommand(), simCommand(),
		instanceCommand(), syncCommand(), keyCommand(), userCommand(), signatureCommand(), auditCommand(), liveCommand(), statsCommand(), sendTestCommand(), redeliverCommand(), tailCommand(), mockTenantCommand(), versionCommand())
	return cmd
}

// version is set by the build.
var version = "dev"

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Example: "  tidemark version", Args: cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), "tidemark", version) },
	}
}
