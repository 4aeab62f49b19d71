package quorum

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// Backup writes the registry as it is now. The file holds secrets: the cluster
// key, hashes of keys and passwords, token secrets. That it was made is in the
// audit before anything of it leaves; nothing was written if that failed.
func (n *Node) Backup(ctx context.Context, w io.Writer, who Who) error {
	_, err := n.Propose(ctx, registry.Command{Actor: who.Actor, Source: who.Source, Ops: []registry.Op{registry.Note{
		Action: registry.RegistryBackup, Object: registry.Object{Kind: registry.KindRegistry, Name: n.Model().Cluster().ID},
	}}})
	if err != nil {
		return fmt.Errorf("back up registry: %w", err)
	}
	m, err := n.Read(ctx)
	if err != nil {
		return fmt.Errorf("back up registry: %w", err)
	}
	if err := m.Snapshot(w); err != nil {
		return fmt.Errorf("back up registry: %w", err)
	}
	return nil
}

// Restore replaces the registry's state by a backup's; the audit of what was
// done since stays. Settings go out whole to every partition afterwards.
//
// The backup is read to its end and checked before anything is changed: one
// that is cut short or damaged is refused with [registry.Invalid], one of another
// topology with [registry.Refused]. An error of r is given as it is.
func (n *Node) Restore(ctx context.Context, r io.Reader, who Who) error {
	file, err := n.spool(r)
	if err != nil {
		return fmt.Errorf("restore registry: %w", err)
	}
	defer file.Close()
	if err := n.checkBackup(file); err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("restore registry: %w", err)
	}
	return n.restore(ctx, file, n.Propose, who.Actor, who.Source)
}

// spool keeps what comes in a file that only this process can open, and that
// goes with it.
func (n *Node) spool(r io.Reader) (*os.File, error) {
	file, err := os.CreateTemp(n.cfg.Dir, "restore-*.tmp")
	if err != nil {
		return nil, err
	}
	err = os.Remove(file.Name())
	size := int64(0)
	if err == nil {
		size, err = io.Copy(file, io.LimitReader(r, registry.MaxRestoreBytes+1))
	}
	if err == nil && size > registry.MaxRestoreBytes {
		err = refuse(registry.Refused, "", "a backup over %d bytes", registry.MaxRestoreBytes)
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// checkBackup refuses what the last part of a restore would be refused for, and
// what cannot be read.
func (n *Node) checkBackup(r io.Reader) error {
	backup, err := registry.Restore(r)
	if err != nil {
		return refuse(registry.Invalid, "", "the backup is not whole, damaged, or none: %v", err)
	}
	if !backup.Created() {
		return refuse(registry.Invalid, "", "the backup is of a registry that was never created")
	}
	if now := n.Model(); now.Created() {
		if err := backup.Cluster().CheckTopology(now.Cluster().Topology); err != nil {
			return refuse(registry.Refused, "", "the backup is of another topology: %v", err)
		}
	}
	return nil
}

func (n *Node) restore(ctx context.Context, r io.Reader, propose func(context.Context, registry.Command) (registry.Result, error), actor, source string) error {
	id, err := n.random(8)
	if err != nil {
		return err
	}
	var next []byte // read ahead, to know which part is the last
	for part := 0; ; part++ {
		data := next
		if part == 0 {
			if data, err = chunk(r); err != nil {
				return fmt.Errorf("restore registry: %w", err)
			}
		}
		if next, err = chunk(r); err != nil {
			return fmt.Errorf("restore registry: %w", err)
		}
		last := len(next) == 0
		result, err := propose(ctx, registry.Command{Actor: actor, Source: source, Ops: []registry.Op{
			registry.RestoreChunk{ID: id, Part: part, Data: data, Last: last},
		}})
		if err == nil {
			err = result.Err()
		}
		if err != nil {
			var refused *registry.Error // for Conflict, the parts are another restore's
			if part > 0 && (!errors.As(err, &refused) || refused.Problem != registry.Conflict) {
				n.dropParts(ctx, propose, actor, source)
			}
			return fmt.Errorf("restore registry: part %d: %w", part, err)
		}
		if last {
			return nil
		}
	}
}

// dropParts frees the registry of the parts of a restore that has failed: an
// empty one of another restore takes their place. Without a leader they stay
// until the next restore.
func (n *Node) dropParts(ctx context.Context, propose func(context.Context, registry.Command) (registry.Result, error), actor, source string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), raftTimeout)
	defer cancel()
	id, err := n.random(8)
	if err == nil {
		_, err = propose(ctx, registry.Command{Actor: actor, Source: source, Ops: []registry.Op{registry.RestoreChunk{ID: id}}})
	}
	if err != nil {
		n.log.Warn("registry: the parts of a failed restore stay in memory until the next one", "error", err)
	}
}

// chunkBytes is how much of a backup goes in one command; tests have less.
var chunkBytes = registry.RestoreChunkBytes

func chunk(r io.Reader) ([]byte, error) {
	b := make([]byte, chunkBytes)
	n, err := io.ReadFull(r, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return b[:n], err
}
