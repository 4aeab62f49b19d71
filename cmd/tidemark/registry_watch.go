package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const (
	// watchAgain is how long a watch waits before it asks again.
	watchAgain = time.Second
	// watchSilence is how long a node may say nothing: it gives a sign of life
	// every few seconds, so one that does not is gone.
	watchSilence = 30 * time.Second
	// watchLineMax bounds a line of a watch, bytes: an event has many objects.
	watchLineMax = 16 << 20
)

func registryWatchCommand() *cobra.Command {
	var f adminFlags
	w := registryWatch{admin: &f, again: watchAgain, silence: watchSilence}
	cmd := &cobra.Command{
		Use: "watch", Short: "Follow changes of the settings, one JSON line each", Args: cobra.NoArgs,
		Long: `Follows the registry's changes until it is interrupted. A connection that is lost
is made again, and goes on after the last revision that was printed: nothing is
missed. A line with the event "reset" says that what changed in between is no
longer known: read everything again. After an interrupt, --since goes on.`,
		Example: `  tidemark registry watch
  tidemark registry watch --since 1207`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w.out, w.errOut = cmd.OutOrStdout(), cmd.ErrOrStderr()
			return w.run(cmd.Context())
		},
	}
	f.add(cmd)
	cmd.Flags().Int64Var(&w.since, "since", -1, "a revision: begin with what changed after it; -1: now")
	return cmd
}

// registryWatch follows the registry through lost connections.
type registryWatch struct {
	admin          *adminFlags
	since          int64 // revision up to which all is printed; -1: none yet
	again, silence time.Duration
	out, errOut    io.Writer
}

func (w *registryWatch) run(ctx context.Context) error {
	for {
		err := w.once(ctx)
		var no *refusedCall
		switch {
		case ctx.Err() != nil:
			return nil // the one who watches has seen enough
		case errors.As(err, &no) && no.status/100 == 4, errors.As(err, new(printError)):
			return fmt.Errorf("watch the registry: %w", err)
		}
		fmt.Fprintf(w.errOut, "the watch was broken off (%v): going on after revision %d\n", err, w.since)
		select {
		case <-time.After(w.again):
		case <-ctx.Done():
			return nil
		}
	}
}

// once prints what comes over one connection.
func (w *registryWatch) once(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := time.AfterFunc(w.silence, func() { cancel(fmt.Errorf("the node said nothing for %s", w.silence)) })
	defer silent.Stop()
	query := ""
	if w.since >= 0 {
		query = "?since=" + strconv.FormatInt(w.since, 10)
	}
	res, err := w.admin.send(ctx, http.MethodGet, apiV1+"/watch"+query, "", http.NoBody)
	if err == nil {
		defer res.Body.Close() //nolint:errcheck // it is only read
		err = events(res.Body, watchLineMax, func(e event) error {
			silent.Reset(w.silence)
			return w.take(e)
		})
		if err == nil {
			err = io.ErrUnexpectedEOF // a watch has no end
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// take prints an event that says something.
func (w *registryWatch) take(e event) error {
	if e.name == "change" || e.name == "reset" {
		said := make(map[string]json.RawMessage)
		if err := json.Unmarshal([]byte(e.data), &said); err != nil {
			return fmt.Errorf("read the event %q: %w", e.name, err)
		}
		said["event"] = json.RawMessage(strconv.Quote(e.name))
		line, err := json.Marshal(said)
		if err != nil {
			return fmt.Errorf("read the event %q: %w", e.name, err)
		}
		if _, err := fmt.Fprintf(w.out, "%s\n", line); err != nil {
			return printError{err}
		}
	}
	if e.name == "end" {
		return fmt.Errorf("the node ended it: %s", e.data)
	}
	if e.id != "" {
		at, err := strconv.ParseInt(e.id, 10, 64)
		if err != nil {
			return fmt.Errorf("the event's id %.40q is no revision", e.id)
		}
		w.since = at
	}
	return nil
}

// printError is about the output, so that trying again makes no sense.
type printError struct{ error }

// Unwrap gives what happened.
func (e printError) Unwrap() error { return e.error }

// event is one of Server-Sent Events.
type event struct{ name, id, data string }

// events reads a stream until it ends; a line has at most lineMax bytes.
func events(r io.Reader, lineMax int, take func(event) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, lineMax)
	var e event
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "event":
			e.name = value
		case "id":
			e.id = value
		case "data":
			e.data = value
		case "":
			if err := take(e); err != nil {
				return err
			}
			e = event{}
		}
	}
	return lines.Err()
}
