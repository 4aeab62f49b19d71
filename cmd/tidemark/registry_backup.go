package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// partSuffix is a backup's name until it is whole.
const partSuffix = ".part"

func registryBackupCommand() *cobra.Command {
	var f adminFlags
	var force bool
	cmd := &cobra.Command{
		Use: "backup FILE", Short: "Save the registry to a file; it holds secrets", Args: cobra.ExactArgs(1),
		Long: `Saves the whole registry to a file that only its owner may read: settings, audit,
hashes of keys and passwords, the cluster key. The file appears under its name
when it is whole. To found a registry from it anew, restore it into an empty one.`,
		Example: `  tidemark registry backup registry.backup`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), transferMax)
			defer cancel()
			size, err := f.backup(ctx, args[0], force, cmd.ErrOrStderr())
			if err != nil {
				return fmt.Errorf("save backup: %w", err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %d bytes\n", args[0], size)
			return nil
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "write over a file that is there")
	return cmd
}

func (f *adminFlags) backup(ctx context.Context, name string, force bool, errOut io.Writer) (size int64, err error) {
	if _, err := os.Stat(name); err == nil && !force {
		return 0, fmt.Errorf("%s is there already: choose another name, or say --force", name)
	}
	res, err := f.send(ctx, http.MethodGet, apiV1+"/registry/backup", "", nil)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	// What an earlier try left may be another's file, or lead to one.
	if err := os.Remove(name + partSuffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	file, err := os.OpenFile(name+partSuffix, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	bar := transferBar(errOut, "saving", res.ContentLength)
	size, err = io.Copy(io.MultiWriter(file, bar), res.Body)
	finish(bar)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return 0, errors.Join(err, os.Remove(file.Name()))
	}
	return size, os.Rename(file.Name(), name)
}

func registryRestoreCommand() *cobra.Command {
	var f adminFlags
	var replace bool
	cmd := &cobra.Command{
		Use: "restore FILE", Short: "Put a backup in the registry's place", Args: cobra.ExactArgs(1),
		Long: `Replaces the registry's state by a backup's, on whichever node; the quorum must
have a leader. The members stay, and so does the audit of what was done since.
The settings go out whole to every partition afterwards, above every revision
that tasks know, so what the backup lacks is removed there too.

A registry that has instances is refused without --replace: it would lose what
was changed since the backup.`,
		Example: `  tidemark registry restore registry.backup
  tidemark registry restore registry.backup --replace`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), transferMax)
			defer cancel()
			s, err := f.restore(ctx, args[0], replace, cmd.ErrOrStderr())
			if err != nil {
				return fmt.Errorf("restore backup: %w", err)
			}
			return printQuorum(cmd.OutOrStdout(), s, time.Now())
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&replace, "replace", false, "although the registry has instances: what was changed since the backup is lost")
	return cmd
}

func (f *adminFlags) restore(ctx context.Context, name string, replace bool, errOut io.Writer) (*registry.Status, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if err := f.mayReplace(ctx, replace); err != nil {
		return nil, err
	}
	bar := transferBar(errOut, "restoring", info.Size())
	body := progressbar.NewReader(io.LimitReader(file, info.Size()), bar)
	res, err := f.send(ctx, http.MethodPost, apiV1+"/registry/restore", "application/octet-stream", &body)
	finish(bar)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	s := new(registry.Status)
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(s); err != nil {
		return nil, fmt.Errorf("it is done, and the answer cannot be read: %w", err)
	}
	return s, nil
}

// mayReplace refuses to replace a registry that is in use, unless told to.
func (f *adminFlags) mayReplace(ctx context.Context, replace bool) error {
	if replace {
		return nil
	}
	b, err := f.call(ctx, http.MethodGet, apiV1+"/instances?consistent=true", "", nil)
	if err != nil {
		return err
	}
	var have struct {
		Instances []json.RawMessage `json:"instances"`
		Revision  int64             `json:"revision"`
	}
	if err := json.Unmarshal(b, &have); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if len(have.Instances) > 0 {
		return fmt.Errorf("the registry has %d instances at revision %d: what was changed since the backup would be lost; save it first (registry backup), then say --replace", len(have.Instances), have.Revision)
	}
	return nil
}

// transferBar shows bytes on a terminal, and nothing elsewhere. Size -1: it is
// not known.
func transferBar(w io.Writer, what string, size int64) *progressbar.ProgressBar {
	if f, ok := w.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		return progressbar.DefaultBytesSilent(size, what)
	}
	return progressbar.NewOptions64(size, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what), progressbar.OptionShowBytes(true),
		progressbar.OptionShowTotalBytes(true), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
}

func finish(bar *progressbar.ProgressBar) {
	bar.Finish() //nolint:errcheck // a bar that cannot be drawn stops nothing
}
