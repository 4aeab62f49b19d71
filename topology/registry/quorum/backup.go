package quorum

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// Backup writes the registry as it is now. The file holds secrets: the cluster
// key, hashes of keys and passwords, token secrets.
func (n *Node) Backup(ctx context.Context, w io.Writer, who Who) error {
	m, err := n.Read(ctx)
	if err != nil {
		return fmt.Errorf("back up registry: %w", err)
	}
	if err := m.Snapshot(w); err != nil {
		return fmt.Errorf("back up registry: %w", err)
	}
	_, err = n.Propose(ctx, registry.Command{Actor: who.Actor, Source: who.Source, Ops: []registry.Op{registry.Note{
		Action: registry.RegistryBackup, Object: registry.Object{Kind: registry.KindRegistry, Name: m.Cluster().ID},
	}}})
	return err
}

// Restore replaces the registry's state by a backup's; the audit of what was
// done since stays. Settings go out whole to every partition afterwards.
func (n *Node) Restore(ctx context.Context, r io.Reader, who Who) error {
	return n.restore(ctx, r, n.Propose, who.Actor, who.Source)
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
			return fmt.Errorf("restore registry: part %d: %w", part, err)
		}
		if last {
			return nil
		}
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
