package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
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

// options of a run.
type options struct {
	tidemark string
	out      string
	only     string // kafka, embedded or empty
	clients  int
	rates    []int
	duration time.Duration
	warmUp   time.Duration
	idle     int
	heapMiB  int
	limit    time.Duration
	quick    bool
}

// Limits of options.
const (
	// clientsMax keeps a user's share of the load below the server's window.
	clientsMax = 2000
	idleMax    = 50_000
	rateMax    = 20_000
	// windowEntries is what the server sends a client that never acknowledges.
	windowEntries = 10_000
)

func command() *cobra.Command {
	o := &options{}
	root := &cobra.Command{
		Use:   "delivery",
		Short: "Measure due → push at a client, and HTTP call → answer",
		Long: `Starts a real Apache Kafka and tidemark dev on loopback, opens streams, offers load through both doors, and times
what arrives; then the same on the embedded broker. Writes REPORT.md, plots and results.json.

Needs Java 17 and Maven, and bin/tidemark (make build). Let nothing else run on the machine.`,
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return benchmark(cmd.Context(), o) },
	}
	f := root.Flags()
	f.StringVar(&o.tidemark, "tidemark", "bin/tidemark", "the program to measure")
	f.StringVar(&o.out, "out", "bench/delivery", "directory for the report")
	f.StringVar(&o.only, "only", "", "kafka or embedded; default both")
	f.IntVar(&o.clients, "clients", 200, "SSE clients, each a user")
	f.IntSliceVar(&o.rates, "rates", []int{500, 2000}, "requests per second")
	f.DurationVar(&o.duration, "time", 20*time.Second, "how long each rate is offered at each door")
	f.DurationVar(&o.warmUp, "warm-up", 10*time.Second, "load through each door before the clock, at the last rate")
	f.IntVar(&o.idle, "idle", 5000, "silent streams to weigh; 0: none")
	f.IntVar(&o.heapMiB, "broker-heap", 1024, "Kafka's Java heap, MiB")
	f.DurationVar(&o.limit, "limit", 15*time.Minute, "time limit of everything")
	f.BoolVar(&o.quick, "quick", false, "short phases, fewer clients: only to see that it works")
	var dir string
	again := &cobra.Command{
		Use: "render", Short: "Write the report again from the results in a directory", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			r, err := report.ReadResults[Results](filepath.Join(dir, resultsFile))
			if err != nil {
				return err
			}
			return render(r, dir)
		},
	}
	again.Flags().StringVar(&dir, "out", "bench/delivery", "directory of results.json and the report")
	root.AddCommand(again)
	return root
}

// settle applies --quick and checks.
func (o *options) settle() error {
	if o.quick {
		o.clients, o.duration, o.warmUp, o.idle = 50, 3*time.Second, 2*time.Second, min(o.idle, 500)
	}
	switch {
	case o.only != "" && o.only != onKafka && o.only != onEmbedded:
		return fmt.Errorf("--only %s: kafka or embedded", o.only)
	case o.clients < 1 || o.clients > clientsMax:
		return fmt.Errorf("--clients %d: use 1 to %d", o.clients, clientsMax)
	case o.idle < 0 || o.idle > idleMax:
		return fmt.Errorf("--idle %d: use 0 to %d", o.idle, idleMax)
	case len(o.rates) == 0 || len(o.rates) > 4:
		return errors.New("--rates: between one and four")
	case o.duration < time.Second || o.warmUp < time.Second:
		return errors.New("--time and --warm-up: at least 1s")
	}
	total := 0.0
	for _, r := range o.rates {
		if r < 1 || r > rateMax {
			return fmt.Errorf("rate of %d/s: use 1 to %d", r, rateMax)
		}
		total += 2 * float64(r) * o.duration.Seconds()
	}
	total += 2 * float64(o.rates[len(o.rates)-1]) * o.warmUp.Seconds()
	if share := total / float64(o.clients); share > windowEntries/2 {
		return fmt.Errorf("%.0f pushes for each client, who acknowledges none: at most %d; use more clients or less load", share, windowEntries/2)
	}
	return nil
}
