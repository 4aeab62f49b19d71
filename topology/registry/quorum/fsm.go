package quorum

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// machine applies committed commands to the model. Raft calls it from one
// goroutine; everybody else reads the newest version.
type machine struct {
	now atomic.Pointer[version]
	log *slog.Logger
}

// version is a model and the way to hear of the next one. Watchers wait for
// next; Raft only ever closes it, so no watcher can hold Raft up, however many
// there are.
type version struct {
	model *registry.Model
	next  chan struct{}
}

func newMachine(log *slog.Logger) *machine {
	m := &machine{log: log}
	m.now.Store(&version{&registry.Model{}, make(chan struct{})})
	return m
}

func (m *machine) model() *registry.Model { return m.now.Load().model }

func (m *machine) put(model *registry.Model) {
	old := m.now.Swap(&version{model, make(chan struct{})})
	close(old.next)
}

// Apply applies one entry.
func (m *machine) Apply(l *raft.Log) any { return m.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch applies committed entries; watchers see the model after the last.
func (m *machine) ApplyBatch(logs []*raft.Log) []any {
	results := make([]any, len(logs))
	model := m.model()
	for i, l := range logs {
		if l.Type != raft.LogCommand {
			continue
		}
		c, err := registry.DecodeCommand(l.Data)
		if err != nil {
			m.log.Error("registry: skipped a log entry", "index", l.Index, "error", err)
			model = model.Skip()
			results[i] = registry.Result{Revision: model.Revision(), Refused: &registry.Error{Problem: registry.Unknown, Reason: err.Error()}}
			continue
		}
		var r registry.Result
		model, r = model.Apply(c)
		results[i] = r
	}
	m.put(model)
	return results
}

// Snapshot takes the model as it is: it never changes.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) { return snapshot{m.model()}, nil }

// Restore replaces the model by a snapshot's.
func (m *machine) Restore(r io.ReadCloser) error {
	defer r.Close()
	model, err := registry.Restore(r)
	if err != nil {
		return err
	}
	m.put(model)
	return nil
}

type snapshot struct{ model *registry.Model }

// Persist writes the snapshot.
func (s snapshot) Persist(sink raft.SnapshotSink) error {
	if err := s.model.Snapshot(sink); err != nil {
		return errors.Join(fmt.Errorf("write snapshot %s: %w", sink.ID(), err), sink.Cancel())
	}
	return sink.Close()
}

// Release has nothing to release.
func (snapshot) Release() {}
