package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/tidemarkio/tidemark/cmd/sim"
)

func simCommand() *cobra.Command {
	var o sim.Options
	var fault string
	cmd := &cobra.Command{
		Use: "sim", Short: "Play random schedules of crashes, zombies and lost appends, and check the invariants", Args: cobra.NoArgs,
		Example: `  tidemark sim --schedules 5000
  tidemark sim --seed 7 --schedules 1              # one schedule again
  tidemark sim --fault early-result                # plant a fault, see it found`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			planted, err := sim.ParseFault(fault)
			if err != nil {
				return err
			}
			o.Fault = planted
			bar := progressbar.NewOptions(o.Schedules, progressbar.OptionSetWriter(cmd.ErrOrStderr()), progressbar.OptionShowIts(),
				progressbar.OptionSetDescription("schedules"), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
			o.Progress = func(done int) { bar.Set(done) } //nolint:errcheck // a bar that cannot be drawn stops nothing
			rep, err := sim.Run(o)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d schedules from seed %d: every invariant holds\n%+v\n", rep.Schedules, o.Seed, rep.Counts)
			return nil
		},
	}
	cmd.Flags().Uint64Var(&o.Seed, "seed", 1, "seed of the first schedule")
	cmd.Flags().IntVar(&o.Schedules, "schedules", sim.DefaultSchedules, "how many schedules to play")
	cmd.Flags().StringVar(&fault, "fault", "none", "fault to plant: "+strings.Join(sim.FaultNames(), ", "))
	return cmd
}
