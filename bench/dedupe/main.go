package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tidemarkio/tidemark/bench/report"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "dedupe:", err)
		os.Exit(1)
	}
}

type options struct {
	keys   int64
	ops    int64
	dir    string
	report string
	only   string
	layout int
	stores int
	large  bool
	quick  bool
}

const (
	largeKeys = 100_000_000
	// nodeStores is how many tasks a small process has.
	nodeStores = 8
	// nodeKeys is how many keys it has beside the full number.
	nodeKeys = 1_000_000
	// quickKeys and quickOps only show that it works.
	quickKeys = 1_000_000
	quickOps  = 200_000
)

func run(ctx context.Context) error {
	var o options
	flag.Int64Var(&o.keys, "keys", 10_000_000, "keys in the store")
	flag.Int64Var(&o.ops, "ops", 1_000_000, "look-ups to measure")
	flag.StringVar(&o.dir, "dir", "", "where the stores go (default: a temporary directory)")
	flag.StringVar(&o.report, "report", "bench/dedupe/REPORT.md", "file to write the report to; - for standard output only")
	flag.StringVar(&o.only, "only", "", "layouts to run, by name, separated by semicolons (default: all)")
	flag.IntVar(&o.layout, "child", -1, "run one layout in this process and print its figures (used by the program itself)")
	flag.IntVar(&o.stores, "stores", 1, "stores that the keys are spread over (with -child)")
	flag.BoolVar(&o.large, "large", false, "also run the layouts get, filter and runs with 100 M keys; needs 10 GB of disk and an hour")
	flag.BoolVar(&o.quick, "quick", false, "1 M keys and few look-ups, no report file: only to see that it works; a minute")
	flag.Parse()
	if o.quick {
		o.keys, o.ops, o.report = quickKeys, quickOps, "-"
	}
	if o.keys < 2*batchKeys {
		return fmt.Errorf("%d keys: at least %d", o.keys, 2*batchKeys)
	}
	if o.layout >= 0 {
		return child(o)
	}
	return parent(ctx, o)
}

// child measures one layout and prints the figures as JSON.
func child(o options) error {
	if o.layout >= len(layouts) || o.stores < 1 || o.dir == "" {
		return errors.New("a child needs a layout, a directory and stores")
	}
	r := &runner{layout: o.layout, dir: o.dir, keys: o.keys, ops: o.ops}
	res, err := r.run(o.stores)
	if err != nil {
		return fmt.Errorf("%s: %w", layouts[o.layout].name, err)
	}
	return json.NewEncoder(os.Stdout).Encode(res)
}

// job is one child.
type job struct {
	layout, stores int
	keys           int64
}

func parent(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp(o.dir, "tidemark-dedupe-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // it is in the temporary directory
	jobs := o.jobs()
	if len(jobs) == 0 {
		return fmt.Errorf("no layout is called %q", o.only)
	}
	results := make([]result, 0, len(jobs))
	for i, j := range jobs {
		fmt.Fprintf(os.Stderr, "[%d/%d] %s, %s keys in %d stores ... ", i+1, len(jobs), layouts[j.layout].name, report.Count(j.keys), j.stores)
		began := time.Now()
		res, err := o.start(ctx, j, filepath.Join(dir, strconv.Itoa(i)))
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%.0f s\n", time.Since(began).Seconds())
		results = append(results, res)
	}
	text := render(ctx, o, results)
	fmt.Print(text)
	if o.report == "-" {
		return nil
	}
	return os.WriteFile(o.report, []byte(text), 0o644)
}

// jobs are every layout with all keys in one store, and the chosen one as a
// process has it: eight stores.
func (o options) jobs() []job {
	var all []job
	ours := -1
	for i, l := range layouts {
		if l.name == chosen {
			ours = i
		}
		if o.only == "" || strings.Contains(";"+o.only+";", ";"+l.name+";") {
			all = append(all, job{i, 1, o.keys})
		}
	}
	if o.only == "" {
		if o.keys != nodeKeys {
			all = append(all, job{ours, nodeStores, nodeKeys})
		}
		all = append(all, job{ours, nodeStores, o.keys})
	}
	for i, l := range layouts {
		if o.large && (l.name == "get" || l.name == "filter" || l.name == chosen) {
			all = append(all, job{i, 1, largeKeys})
		}
	}
	return all
}

func (o options) start(ctx context.Context, j job, dir string) (result, error) {
	var res result
	self, err := os.Executable()
	if err != nil {
		return res, err
	}
	cmd := exec.CommandContext(ctx, self, "-child", strconv.Itoa(j.layout), "-stores", strconv.Itoa(j.stores),
		"-keys", strconv.FormatInt(j.keys, 10), "-ops", strconv.FormatInt(o.ops, 10), "-dir", dir) // #nosec G204: ourselves
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := errors.Join(cmd.Run(), os.RemoveAll(dir)); err != nil {
		return res, err
	}
	return res, json.Unmarshal(out.Bytes(), &res)
}
