package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemarkio/tidemark/bench/report"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := commandOf(&options{}).ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// Parts of the benchmark, in the order in which they run.
const (
	partForce    = "force"
	partTakeover = "takeover"
	partLoad     = "load"
	partWatch    = "watch"
	partPages    = "pages"
	partPropose  = "propose"
)

var allParts = []string{partForce, partTakeover, partLoad, partWatch, partPages, partPropose}

// options of a run.
type options struct {
	tidemark string
	out      string
	only     []string
	changes  int
	kills    int
	configs  int
	watchers int
	told     int
	visits   int
	listed   int
	records  int
	callers  int
	duration time.Duration
	heapMiB  int
	limit    time.Duration
	quick    bool
}

const examples = `  go run ./bench/registry                                 # everything, about five minutes; writes the report
  go run ./bench/registry --quick --out /var/tmp/registry # does it work?
  go run ./bench/registry --only pages --visits 300 --out /var/tmp/registry
  go run ./bench/registry --only force,takeover --kills 30 --out /var/tmp/registry
  go run ./bench/registry render --out bench/registry     # the report again, from results.json`

// commandOf fills options from the command line and runs with them.
func commandOf(o *options) *cobra.Command {
	root := &cobra.Command{
		Use:   "registry",
		Short: "Measure the registry: changes in force, takeovers, loading, watchers, console pages, proposals",
		Long: `Starts a real Apache Kafka, three registry nodes and a processor on loopback, and measures what operators see of the
registry; then the quorum alone, and the console's pages. Writes REPORT.md and results.json.

Needs Java 17 and Maven, and bin/tidemark (make build). Let nothing else run on the machine.`,
		Example: examples, Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return benchmark(cmd.Context(), o) },
	}
	f := root.Flags()
	f.StringVar(&o.tidemark, "tidemark", "bin/tidemark", "the program to measure")
	f.StringVar(&o.out, "out", "bench/registry", "directory for the report")
	f.StringSliceVar(&o.only, "only", allParts, "which parts")
	f.IntVar(&o.changes, "changes", 400, "force: changes to make")
	f.IntVar(&o.kills, "kills", 12, "takeover: leaders to kill")
	f.IntVar(&o.configs, "configs", 10_000, "load: configs in the snapshot and in the file")
	f.IntVar(&o.watchers, "watchers", 1000, "watch: watchers of one node")
	f.IntVar(&o.told, "told", 300, "watch: changes that they are told of")
	f.IntVar(&o.visits, "visits", 100, "pages: how often to get each")
	f.IntVar(&o.listed, "listed", 1000, "pages: configs in the registry")
	f.IntVar(&o.records, "records", 100_000, "load and pages: records of the audit, at least; load has a registry without, too")
	f.IntVar(&o.callers, "callers", 64, "propose: how many at once")
	f.DurationVar(&o.duration, "time", 5*time.Second, "propose: how long each is measured")
	f.IntVar(&o.heapMiB, "broker-heap", 1024, "Kafka's Java heap, MiB")
	f.DurationVar(&o.limit, "limit", 15*time.Minute, "time limit of everything")
	f.BoolVar(&o.quick, "quick", false, "small sizes: only to see that it works")
	var dir string
	again := &cobra.Command{
		Use: "render", Short: "Write the report again from the results in a directory", Args: cobra.NoArgs,
		Example: "  go run ./bench/registry render --out bench/registry",
		RunE: func(*cobra.Command, []string) error {
			r, err := report.ReadResults[Results](filepath.Join(dir, resultsFile))
			if err != nil {
				return err
			}
			return render(r, dir)
		},
	}
	again.Flags().StringVar(&dir, "out", "bench/registry", "directory of results.json and the report")
	root.AddCommand(again)
	return root
}

// settle applies --quick and checks.
func (o *options) settle() error {
	if o.quick {
		o.changes, o.kills, o.configs, o.watchers, o.told = min(o.changes, 24), min(o.kills, 2), min(o.configs, 1000), min(o.watchers, 100), min(o.told, 20)
		o.visits, o.listed, o.records, o.duration = min(o.visits, 5), min(o.listed, 200), min(o.records, 2000), min(o.duration, time.Second)
	}
	for _, p := range o.only {
		if !slices.Contains(allParts, p) {
			return fmt.Errorf("--only %s: use %s", p, strings.Join(allParts, ", "))
		}
	}
	for _, f := range []struct {
		name          string
		value, lo, hi int
	}{
		{"changes", o.changes, ways * 2, 100_000}, {"kills", o.kills, 1, 1000}, {"configs", o.configs, 1, 40_000},
		{"watchers", o.watchers, 1, 100_000}, {"told", o.told, 1, 100_000}, {"visits", o.visits, 1, 100_000},
		{"listed", o.listed, instances, 10_000}, {"records", o.records, 1, 190_000}, {"callers", o.callers, 1, 1000},
	} {
		if f.value < f.lo || f.value > f.hi {
			return fmt.Errorf("--%s %d: use %d to %d", f.name, f.value, f.lo, f.hi)
		}
	}
	if o.duration < time.Second {
		return fmt.Errorf("--time %s: at least 1s", o.duration)
	}
	return nil
}

// asks reports whether one of the parts is to run.
func (o *options) asks(parts ...string) bool {
	return slices.ContainsFunc(parts, func(p string) bool { return slices.Contains(o.only, p) })
}
