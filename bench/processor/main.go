package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemarkio/tidemark/bench/report"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

const examples = `  go run ./bench/processor                                 # everything, about an hour; writes the report
  go run ./bench/processor --quick --out /var/tmp/report   # does it work? two minutes
  go run ./bench/processor --scenarios pipe,tidemark --latency-rounds 0
  go run ./bench/processor --tidemark 'bin/tidemark processor --brokers {brokers} --topic-prefix {prefix} --data-dir {data} --cluster-key-file {key}'
  go run ./bench/processor render --out bench/processor    # the report again, from results.json`

func command() *cobra.Command {
	o := defaults()
	root := &cobra.Command{
		Use:   "processor",
		Short: "Measure the sync task beside its ceiling and its peers, on a real Kafka",
		Long: `Starts a real Apache Kafka on loopback, loads it with requests, and lets several programs drain them in turns:
throughput, CPU, memory, then latency at fixed rates. Checks what each wrote. Writes REPORT.md, plots and results.json.

Needs Java 17 and Maven. Let nothing else run on the machine.`,
		Example:       examples,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return benchmark(cmd.Context(), o) },
	}
	o.register(root)
	root.AddCommand(pipeCommand(), renderCommand())
	return root
}

// options of a run of the benchmark.
type options struct {
	work          workload
	scenarios     []string
	rounds        int
	latencyRounds int
	latency       latencyPlan
	out           string
	tidemark      string
	tidemarkGroup string
	keyFile       string
	peerDir       string
	peerArgs      string
	heapMiB       int
	runLimit      time.Duration
	limit         time.Duration
	quiet         quietness
	quick         bool
}

func defaults() *options {
	return &options{
		work:          workload{Requests: 1_000_000, Bytes: 256, Tokens: 100_000, Businesses: 4, Duplicates: 0.05, Partitions: 8, Seed: 1},
		rounds:        5,
		latencyRounds: 3,
		latency:       latencyPlan{rates: []int{500, 2000}, duration: 30 * time.Second, warmUp: 10 * time.Second},
		out:           "bench/processor",
		tidemark:      findTidemark(),
		tidemarkGroup: "{prefix}processor",
		peerDir:       "bench/peers/kafka-streams",
		heapMiB:       1024,
		runLimit:      5 * time.Minute,
		limit:         3 * time.Hour,
		quiet:         quietness{share: 0.05, tries: 3, limit: 2 * time.Minute},
	}
}

func (o *options) register(c *cobra.Command) {
	f := c.Flags()
	f.IntVar(&o.work.Requests, "requests", o.work.Requests, "requests to drain")
	f.IntVar(&o.work.Bytes, "bytes", o.work.Bytes, "size of an encoded request")
	f.IntVar(&o.work.Tokens, "tokens", o.work.Tokens, "link tokens")
	f.IntVar(&o.work.Businesses, "businesses", o.work.Businesses, "businesses")
	f.Float64Var(&o.work.Duplicates, "duplicates", o.work.Duplicates, "share of requests that repeat an earlier one")
	f.Int32Var(&o.work.Partitions, "partitions", o.work.Partitions, "partitions")
	f.Uint64Var(&o.work.Seed, "seed", o.work.Seed, "of the load's random numbers")
	f.StringSliceVar(&o.scenarios, "scenarios", nil, "which of "+strings.Join(scenarioNames(), ", ")+" (default: all; tidemark if its program is there)")
	f.IntVar(&o.rounds, "rounds", o.rounds, "rounds of the throughput part")
	f.IntVar(&o.latencyRounds, "latency-rounds", o.latencyRounds, "rounds of the latency part")
	f.IntSliceVar(&o.latency.rates, "rates", o.latency.rates, "requests per second offered in the latency part")
	f.DurationVar(&o.latency.duration, "latency-time", o.latency.duration, "how long each rate is offered")
	f.DurationVar(&o.latency.warmUp, "warm-up", o.latency.warmUp, "load before the first rate, at the last rate")
	f.StringVar(&o.out, "out", o.out, "directory for the report")
	f.StringVar(&o.tidemark, "tidemark", o.tidemark, "Tidemark's command line, with {brokers} {prefix} {partitions} {data} {key}")
	f.StringVar(&o.tidemarkGroup, "tidemark-group", o.tidemarkGroup, "Tidemark's consumer group")
	f.StringVar(&o.keyFile, "cluster-key-file", "", "key that signs the control records, 64 hex digits (default: a new one)")
	f.StringVar(&o.peerDir, "peer", o.peerDir, "directory of the Kafka Streams peer")
	f.StringVar(&o.peerArgs, "peer-args", "", "more arguments for the Kafka Streams peer, such as '--threads 4 --caching'")
	f.IntVar(&o.heapMiB, "broker-heap", o.heapMiB, "the broker's Java heap, MiB")
	f.DurationVar(&o.runLimit, "run-limit", o.runLimit, "time limit of one run of one program")
	f.DurationVar(&o.limit, "limit", o.limit, "time limit of everything")
	f.Float64Var(&o.quiet.share, "noise", o.quiet.share, "share of the cores that others may use in a run before it is repeated")
	f.IntVar(&o.quiet.tries, "tries", o.quiet.tries, "runs of a program until one was quiet enough")
	f.DurationVar(&o.quiet.limit, "quiet-limit", o.quiet.limit, "how long to wait for a quiet machine before a run")
	f.BoolVar(&o.quick, "quick", false, "a small load, one round, no waiting for quiet: only to see that it works")
}

// settle applies --quick and fills what depends on other options.
func (o *options) settle() error {
	if o.quick {
		o.work.Requests, o.work.Tokens = 20_000, 2_000
		o.rounds, o.latencyRounds = 1, 1
		o.latency = latencyPlan{rates: []int{200, 500}, duration: 2 * time.Second, warmUp: time.Second}
		o.quiet.tries, o.quiet.limit = 1, 0
	}
	if len(o.scenarios) == 0 {
		for _, name := range scenarioNames() {
			if name != "tidemark" || o.tidemark != "" {
				o.scenarios = append(o.scenarios, name)
			}
		}
	}
	if err := o.work.validate(); err != nil {
		return err
	}
	switch {
	case o.rounds < 0 || o.latencyRounds < 0 || o.quiet.tries < 1:
		return errors.New("rounds and tries cannot be negative, and tries not 0")
	case o.latencyRounds > 0 && (len(o.latency.rates) == 0 || len(o.latency.rates) > 8):
		return errors.New("--rates: between one and eight")
	case o.latencyRounds > 0 && (o.latency.duration < time.Second || o.latency.warmUp < time.Second):
		return errors.New("--latency-time and --warm-up: at least 1s")
	}
	for _, r := range o.latency.rates {
		if r < 1 || r > 100_000 {
			return fmt.Errorf("rate of %d/s: use 1 to 100,000", r)
		}
	}
	return nil
}

func pipeCommand() *cobra.Command {
	var cfg pipeConfig
	c := &cobra.Command{
		Use:    "pipe",
		Short:  "What the pipe scenarios run in a process of its own",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cfg.second != "" {
				return runTxPipe(cmd.Context(), cfg)
			}
			return runPipe(cmd.Context(), cfg)
		},
	}
	f := c.Flags()
	f.StringSliceVar(&cfg.brokers, "brokers", nil, "where Kafka is")
	f.StringVar(&cfg.requests, "requests", "", "topic to read")
	f.StringVar(&cfg.group, "group", "", "consumer group")
	f.StringVar(&cfg.output, "output", "", "topic to write")
	f.StringVar(&cfg.second, "second", "", "second topic to write: makes it transactional")
	return c
}

func renderCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "render",
		Short: "Write the report again from the results in a directory",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			r, err := report.ReadResults[Results](filepath.Join(dir, resultsFile))
			if err != nil {
				return err
			}
			return render(r, dir)
		},
	}
	c.Flags().StringVar(&dir, "out", "bench/processor", "directory of results.json and the report")
	return c
}
