package main

import (
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/tidemarkio/tidemark/state"
)

func stateCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "state", Short: "Look into local stores"}
	var dataDir string
	var partition int32
	var cfg state.InspectConfig
	inspect := &cobra.Command{
		Use: "inspect", Short: "Print a sync task's store that no process runs", Args: cobra.NoArgs,
		Example: `  tidemark state inspect --data-dir data --partition 3
  tidemark state inspect --data-dir data --partition 3 --business UCHAT --limit -1`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cfg.Dir == "" {
				cfg.Dir = filepath.Join(dataDir, "state", "task-"+strconv.Itoa(int(partition)))
			}
			if err := state.Inspect(cmd.OutOrStdout(), cfg); err != nil {
				return fmt.Errorf("inspect %s: %w", cfg.Dir, err)
			}
			return nil
		},
	}
	fl := inspect.Flags()
	fl.StringVar(&dataDir, "data-dir", "data", "the node's data directory")
	fl.Int32Var(&partition, "partition", 0, "which partition's store; 0: the first")
	fl.StringVar(&cfg.Dir, "dir", "", "a store's own directory, instead of these two")
	fl.StringVar(&cfg.Instance, "instance", "", "counters of instances whose id begins so")
	fl.StringVar(&cfg.Business, "business", "", "counters of businesses that begin so")
	fl.StringVar(&cfg.LinkToken, "link-token", "", "counters of link tokens that begin so")
	fl.IntVar(&cfg.Limit, "limit", state.DefaultInspectLimit, "how many counters, and dedupe keys of each bucket; -1: all")
	cmd.AddCommand(inspect)
	return cmd
}
