package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemarkio/tidemark/cmd/node"
	"github.com/tidemarkio/tidemark/processor/runtime"
)

func statusCommand() *cobra.Command {
	var f adminFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use: "status", Short: "Tasks, lag, parked reasons, restores and connections of a node", Args: cobra.NoArgs,
		Example: `  tidemark status
  tidemark status --admin http://127.0.0.1:8081 --json | jq .partitions`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := f.call(cmd.Context(), "GET", "/api/v1/status", "", nil)
			if err != nil {
				return err
			}
			if asJSON {
				_, err = cmd.OutOrStdout().Write(b)
				return err
			}
			var s node.Status
			if err := json.Unmarshal(b, &s); err != nil {
				return fmt.Errorf("read status: %w", err)
			}
			return printStatus(cmd.OutOrStdout(), &s)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printStatus(w io.Writer, s *node.Status) error {
	if s.Ready {
		fmt.Fprintf(w, "ready   topology %s\n", s.Topology)
	} else {
		fmt.Fprintf(w, "not ready: %s   topology %s\n", s.Waiting, s.Topology)
	}
	if r := s.Registry; r != nil {
		fmt.Fprintf(w, "registry %s, leader %s, settings %d (published %d, waiting %d)\n", r.State, r.Leader, r.Revision, r.Publication.Revision, r.Publication.Pending)
	}
	if s.Edge != nil {
		fmt.Fprintf(w, "clients %d of %d\n", s.Edge.Connections, s.Edge.Max)
	}
	fmt.Fprintln(w)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "PARTITION\tSTATE\tPOSITION\tLAG\tIN FLIGHT\tSTREAM TIME\t")
	for _, p := range s.Partitions {
		fmt.Fprintf(tw, "%d\t%s\t%d\t%d\t%d\t%s\t%s\n", p.Partition, p.State, p.Position.Request, p.Lag, p.InFlight, streamTime(p.Position.StreamTime), remark(&p))
	}
	return tw.Flush()
}

func streamTime(ms int64) string {
	if ms == 0 {
		return "-"
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05Z")
}

// remark says what an operator should know of a partition.
func remark(p *runtime.Status) string {
	switch {
	case p.Reason != "":
		return p.Reason
	case p.Total > 0:
		return fmt.Sprintf("%d of %d records, %s left", p.Done, p.Total, p.ETA)
	}
	return ""
}

func configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Instances, businesses and keys"}
	cmd.AddCommand(configApplyCommand(), configExportCommand())
	return cmd
}

func configApplyCommand() *cobra.Command {
	var f adminFlags
	var file string
	var prune bool
	cmd := &cobra.Command{
		Use: "apply", Short: "Bring the settings to what a file says; prints what changes", Args: cobra.NoArgs,
		Example: `  tidemark config apply -f tidemark.yaml
  tidemark config apply -f tidemark.yaml --prune      # and remove what it does not list`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text := io.Reader(os.Stdin)
			if file != "-" {
				fd, err := os.Open(file)
				if err != nil {
					return err
				}
				defer fd.Close()
				text = fd
			}
			path := "/api/v1/config"
			if prune {
				path += "?prune=true"
			}
			b, err := f.call(cmd.Context(), "POST", path, "application/yaml", text)
			if err != nil {
				return err
			}
			return printDiff(cmd.OutOrStdout(), b)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVarP(&file, "file", "f", "", "the config file, - for standard input (required)")
	cmd.Flags().BoolVar(&prune, "prune", false, "remove what the file does not list")
	if err := cmd.MarkFlagRequired("file"); err != nil {
		panic(err)
	}
	return cmd
}

func printDiff(w io.Writer, b []byte) error {
	var answer struct {
		Changes   []string `json:"changes"`
		Revision  int64    `json:"revision"`
		Published bool     `json:"published"`
		Note      string   `json:"note"`
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	for _, line := range answer.Changes {
		fmt.Fprintln(w, line)
	}
	if len(answer.Changes) == 0 {
		fmt.Fprintln(w, "no changes")
	}
	force := "in force on every partition"
	if !answer.Published {
		force = "and on their way to the partitions: " + answer.Note
	}
	fmt.Fprintf(w, "settings are at revision %d, %s\n", answer.Revision, force)
	return nil
}

func configExportCommand() *cobra.Command {
	var f adminFlags
	cmd := &cobra.Command{
		Use: "export", Short: "Print the settings as a config file, keys left out", Args: cobra.NoArgs,
		Example: `  tidemark config export > tidemark.yaml`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := f.call(cmd.Context(), "GET", "/api/v1/config", "", nil)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(b)
			return err
		},
	}
	f.add(cmd)
	return cmd
}
