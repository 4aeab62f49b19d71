package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/tidemarkio/tidemark/connectors/console"
)

func liveCommand() *cobra.Command {
	return apiCommand{
		use: "live", short: "What the console's overview shows: rates, latency, connections, lag, parked tasks, quorum",
		example: "  tidemark live", args: cobra.NoArgs, method: "GET", path: fixed("/live"),
	}.command()
}

func statsCommand() *cobra.Command {
	var limit int
	return apiCommand{
		use: "stats INSTANCE user|device NAME", short: "A target: connected or not, 30-day pushes and arrivals, push list",
		example: "  tidemark stats demo_APP1 user user42", args: cobra.ExactArgs(3), method: "GET",
		path: func(a []string) string {
			return path("instances", a[0], "targets", a[1], a[2]) + "?limit=" + strconv.Itoa(limit)
		},
		flags: func(c *cobra.Command) { c.Flags().IntVar(&limit, "limit", 20, "length of the push list, at most 1000") },
	}.command()
}

func sendTestCommand() *cobra.Command {
	var f console.SendForm
	return apiCommand{
		use: "send-test INSTANCE BIZ", short: "Send data as the console does: by its rules, and with an operation record", args: cobra.ExactArgs(2), method: "POST",
		example: `  tidemark send-test demo_APP1 UCHAT --to user42 --data hello --id m1
  tidemark send-test demo_APP1 NOTICE --data 'maintenance at noon' --id m2 --os iOS --valid-days 1`,
		path: func(a []string) string { return path("instances", a[0], "sync", a[1], "send") },
		body: func([]string) (any, error) { return f, nil },
		flags: func(c *cobra.Command) {
			fl := c.Flags()
			fl.StringVar(&f.Target, "to", "", "user or device id; none for a global config")
			fl.StringVar(&f.Data, "data", "", "the text to send")
			fl.StringVar(&f.UniqueID, "id", "", "unique id; may be left out for a config that keeps nothing")
			fl.StringSliceVar(&f.OS, "os", []string{console.OSAndroid, console.OSiOS}, "which systems get it")
			fl.StringVar(&f.AppMinVersion, "min-version", "", "lowest app version, inclusive")
			fl.StringVar(&f.AppMaxVersion, "max-version", "", "highest app version, inclusive")
			fl.IntVar(&f.ValidDays, "valid-days", console.DefaultValidDays, "how long it may be delivered")
		},
	}.command()
}

func tailCommand() *cobra.Command {
	var f adminFlags
	var instance, biz, target string
	var partition, last int
	cmd := &cobra.Command{
		Use: "tail", Short: "Follow the oplog: accepted entries as they are written, one JSON line each", Args: cobra.NoArgs,
		Example: "  tidemark tail --instance demo_APP1 --biz UCHAT --last 10",
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{"instance": {instance}, "biz": {biz}, "target": {target}, "last": {strconv.Itoa(last)}, "partition": {strconv.Itoa(partition)}}
			res, err := f.send(cmd.Context(), http.MethodGet, apiV1+"/oplog/tail?"+q.Encode(), "", http.NoBody)
			if err != nil {
				return fmt.Errorf("follow the oplog: %w", err)
			}
			defer res.Body.Close() //nolint:errcheck // it is only read
			return printEvents(cmd.OutOrStdout(), res.Body)
		},
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&instance, "instance", "", "only of this instance")
	fl.StringVar(&biz, "biz", "", "only of this business")
	fl.StringVar(&target, "target", "", "only of this link token")
	fl.IntVar(&partition, "partition", -1, "only of this partition; -1: all")
	fl.IntVar(&last, "last", 0, "how many entries before the end to begin with; 0: none")
	return cmd
}

// tailLineMax bounds a line of an oplog tail, bytes.
const tailLineMax = 1 << 20

// printEvents prints what the events of a stream carry, a line each, until it
// ends.
func printEvents(w io.Writer, r io.Reader) error {
	return events(r, tailLineMax, func(e event) error {
		if e.data == "" {
			return nil // a sign of life
		}
		_, err := fmt.Fprintln(w, e.data)
		return err
	})
}
