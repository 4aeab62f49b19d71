package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

const apiV1 = "/api/v1"

// apiCommand is a subcommand that is one call of the admin API: it makes the
// path and the body, and shows the answer.
type apiCommand struct {
	use, short, example string
	args                cobra.PositionalArgs
	method              string
	path                func(args []string) string
	body                func(args []string) (any, error) // nil: none
	flags               func(*cobra.Command)
	show                func(w io.Writer, answer []byte) error // default: indented JSON
}

func (a apiCommand) command() *cobra.Command {
	var f adminFlags
	cmd := &cobra.Command{
		Use: a.use, Short: a.short, Example: a.example, Args: a.args,
		RunE: func(cmd *cobra.Command, args []string) error {
			body, contentType := io.Reader(http.NoBody), ""
			if a.body != nil {
				v, err := a.body(args)
				if err != nil {
					return err
				}
				b, err := json.Marshal(v)
				if err != nil {
					return fmt.Errorf("write the call: %w", err)
				}
				body, contentType = bytes.NewReader(b), "application/json"
			}
			b, err := f.call(cmd.Context(), a.method, apiV1+a.path(args), contentType, body)
			if err != nil {
				return err
			}
			show := a.show
			if show == nil {
				show = showJSON
			}
			return show(cmd.OutOrStdout(), b)
		},
	}
	f.add(cmd)
	if a.flags != nil {
		a.flags(cmd)
	}
	return cmd
}

// group is a command that only holds others.
func group(use, short string, of ...apiCommand) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short}
	for _, a := range of {
		cmd.AddCommand(a.command())
	}
	return cmd
}

// path joins escaped segments: names may hold anything.
func path(segments ...string) string {
	var b strings.Builder
	for _, s := range segments {
		b.WriteString("/" + url.PathEscape(s))
	}
	return b.String()
}

func fixed(p string) func([]string) string { return func([]string) string { return p } }

func showJSON(w io.Writer, b []byte) error {
	var out bytes.Buffer
	if err := json.Indent(&out, bytes.TrimSpace(b), "", "  "); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	_, err := fmt.Fprintln(w, out.String())
	return err
}

func showRaw(w io.Writer, b []byte) error {
	_, err := w.Write(b)
	return err
}

// showChange says what a change did.
func showChange(w io.Writer, b []byte) error {
	var c struct {
		Revision  int64  `json:"revision"`
		Changed   bool   `json:"changed"`
		Published bool   `json:"published"`
		Note      string `json:"note"`
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	text := "done"
	if !c.Changed {
		text = "nothing to change"
	}
	if !c.Published {
		text += ", and on its way to the partitions: " + c.Note
	}
	_, err := fmt.Fprintf(w, "%s (revision %d)\n", text, c.Revision)
	return err
}

// secretLine reads a secret: from a variable of the environment if it is set,
// else a line of standard input. Arguments would show it to the whole machine.
func secretLine(variable string) (string, error) {
	if s := os.Getenv(variable); s != "" {
		return s, nil
	}
	fmt.Fprintf(os.Stderr, "password (or set $%s): ", variable)
	b, err := io.ReadAll(io.LimitReader(os.Stdin, 1024))
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimRight(line, "\r"), nil
}
