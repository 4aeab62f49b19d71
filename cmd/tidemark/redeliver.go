package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tidemarkio/tidemark/connectors/console"
)

// Limits of the command.
const (
	// redeliverChunk is how many targets one call names: few enough that the
	// bar moves.
	redeliverChunk = 200
	// redeliverFileMax bounds the targets of a file.
	redeliverFileMax = 1_000_000
)

type redeliverFlags struct {
	admin  adminFlags
	file   string
	after  int64
	since  string
	device string
	dryRun bool
}

func redeliverCommand() *cobra.Command {
	var f redeliverFlags
	cmd := &cobra.Command{
		Use: "redeliver INSTANCE BIZ [TARGET...]", Short: "Deliver stored entries once more: move sync points of targets back", Args: cobra.MinimumNArgs(2),
		Long: `Moves the sync points of users or devices back, so that entries behind an oplog
id, or from a time on, are delivered once more as far as they are stored and
still valid: at once to devices that are online, to others at their next
connect. Sync points never move forward. Every call is in the audit, with what
each point was and is.`,
		Example: `  tidemark redeliver demo_APP1 UCHAT user42 --after 17 --dry-run
  tidemark redeliver demo_APP1 UCHAT user42 --after 17
  tidemark redeliver demo_APP1 UCHAT --targets users.txt --since 2026-11-26T08:00:00Z`,
		RunE: func(cmd *cobra.Command, args []string) error {
			form, err := f.form(args[1], cmd.Flags().Changed("after"))
			if err != nil {
				return err
			}
			targets, err := f.targets(args[2:], cmd.InOrStdin())
			if err != nil {
				return err
			}
			return f.run(cmd.Context(), args[0], form, targets, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f.admin.add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.file, "targets", "", "file with a user or device id on each line; - is standard input")
	fl.Int64Var(&f.after, "after", 0, "oplog id behind which entries come again; 0: all")
	fl.StringVar(&f.since, "since", "", "time of acceptance from which they do, such as 2026-11-26T08:00:00Z")
	fl.StringVar(&f.device, "device", "", "only this device, where devices have sync points of their own")
	fl.BoolVar(&f.dryRun, "dry-run", false, "only say what would move")
	return cmd
}

// form is the call, but for its targets.
func (f *redeliverFlags) form(biz string, after bool) (form console.RedeliverForm, err error) {
	form = console.RedeliverForm{BizType: biz, DeviceID: f.device, DryRun: f.dryRun}
	if after == (f.since != "") {
		return form, errors.New("say from where: either --after with an oplog id, or --since with a time")
	}
	if after {
		form.After = &f.after
		return form, nil
	}
	since, err := time.Parse(time.RFC3339, f.since)
	if err != nil {
		return form, fmt.Errorf("--since %q: use a form such as 2026-11-26T08:00:00Z", f.since)
	}
	form.Since = since.UnixMilli()
	return form, nil
}

// targets are those of the arguments or of the file, each once.
func (f *redeliverFlags) targets(args []string, in io.Reader) ([]string, error) {
	if (len(args) > 0) == (f.file != "") {
		return nil, errors.New("name the targets: either as arguments, or in a file with --targets")
	}
	if f.file != "" && f.file != "-" {
		file, err := os.Open(f.file)
		if err != nil {
			return nil, err
		}
		defer file.Close() //nolint:errcheck // it is only read
		in = file
	}
	if f.file == "" {
		in = strings.NewReader(strings.Join(args, "\n"))
	}
	var all []string
	seen := make(map[string]bool)
	for lines := bufio.NewScanner(in); ; {
		if !lines.Scan() {
			if err := lines.Err(); err != nil {
				return nil, fmt.Errorf("read targets: %w", err)
			}
			break
		}
		name := strings.TrimRight(lines.Text(), "\r")
		if name == "" || seen[name] {
			continue
		}
		if len(all) == redeliverFileMax {
			return nil, fmt.Errorf("more than %d targets: split the file", redeliverFileMax)
		}
		seen[name] = true
		all = append(all, name)
	}
	if len(all) == 0 {
		return nil, errors.New("there are no targets")
	}
	return all, nil
}

// run does it in calls of some targets each, and tells each point that moved.
func (f *redeliverFlags) run(ctx context.Context, instance string, form console.RedeliverForm, targets []string, w, errOut io.Writer) error {
	bar := countBar(errOut, "targets", len(targets))
	moved, unmoved := 0, 0
	for rest := targets; len(rest) > 0; {
		form.Targets = rest[:min(redeliverChunk, len(rest))]
		done, err := f.call(ctx, instance, form)
		if err != nil {
			finish(bar)
			return fmt.Errorf("after %d of %d targets (%d sync points moved): %w", len(targets)-len(rest), len(targets), moved, err)
		}
		rest = rest[len(form.Targets):]
		bar.Add(len(form.Targets)) //nolint:errcheck // a bar that cannot be drawn stops nothing
		for _, p := range done.Moved {
			device := ""
			if p.DeviceID != "" {
				device = " device " + p.DeviceID
			}
			if _, err := fmt.Fprintf(w, "%s%s: %d -> %d\n", p.Target, device, p.From, p.To); err != nil {
				return err
			}
		}
		moved += len(done.Moved)
		unmoved += len(done.Unmoved)
	}
	finish(bar)
	verb := "moved back"
	if form.DryRun {
		verb = "would move back"
	}
	_, err := fmt.Fprintf(w, "%d sync points %s; nothing to deliver again for %d of %d targets\n", moved, verb, unmoved, len(targets))
	return err
}

func (f *redeliverFlags) call(ctx context.Context, instance string, form console.RedeliverForm) (*console.Redelivered, error) {
	body, err := json.Marshal(form)
	if err != nil {
		return nil, fmt.Errorf("write the call: %w", err)
	}
	b, err := f.admin.call(ctx, http.MethodPost, apiV1+path("instances", instance, "redeliver"), "application/json", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	done := new(console.Redelivered)
	if err := json.Unmarshal(b, done); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	return done, nil
}

// countBar shows a count on a terminal, and nothing elsewhere.
func countBar(w io.Writer, what string, n int) *progressbar.ProgressBar {
	if f, ok := w.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		return progressbar.DefaultSilent(int64(n), what)
	}
	return progressbar.NewOptions(n, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what), progressbar.OptionShowIts(), progressbar.OptionShowCount(),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
}
