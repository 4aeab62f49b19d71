package node

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"

	"github.com/tidemarkio/tidemark/processor/runtime"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/state"
	"github.com/tidemarkio/tidemark/topology"
)

// stores opens the sync tasks' stores under one directory, one for each
// partition.
type stores struct {
	dir    string
	shared *state.Shared
	topo   *topology.Topology
	log    *slog.Logger
}

func (s *stores) path(partition int32) string {
	return filepath.Join(s.dir, "task-"+strconv.Itoa(int(partition)))
}

func (s *stores) open(partition int32) (runtime.Store, error) {
	t, err := s.shared.OpenTask(state.TaskConfig{Dir: s.path(partition), Topology: s.topo, Partition: partition, Log: s.log})
	if err != nil {
		return nil, err
	}
	return &store{t}, nil
}

// setAside renames the store: it is never deleted by us.
func (s *stores) setAside(partition int32) error {
	for n := 1; ; n++ {
		to := fmt.Sprintf("%s.aside-%d", s.path(partition), n)
		if _, err := os.Stat(to); os.IsNotExist(err) {
			return os.Rename(s.path(partition), to)
		}
	}
}

// store is a state.Task as a runner wants it.
type store struct{ *state.Task }

// feedPuts is how many records of a restore are written at once.
const feedPuts = 4096

func (s *store) Restored() bool {
	_, restoring := s.Restoring()
	return !restoring
}

// Restore begins anew or again: feeding twice does no harm.
func (s *store) Restore() (runtime.Feed, error) {
	if err := s.BeginRestore(); err != nil {
		return nil, err
	}
	return &feed{task: s.Task}, nil
}

// sweptNote is the note that a finished sweep leaves.
const sweptNote = "swept"

func (s *store) Swept() state.Sweep {
	swept := state.Sweep{Position: -1}
	b, err := s.Note(sweptNote)
	if err != nil || b == nil || json.Unmarshal(b, &swept) != nil {
		return state.Sweep{Position: -1} // sweep everything: more work, no harm
	}
	return swept
}

func (s *store) SetSwept(swept state.Sweep) error {
	b, err := json.Marshal(swept)
	if err != nil {
		return err
	}
	return s.PutNote(sweptNote, b)
}

type feed struct {
	task *state.Task
	next state.Feed
}

func (f *feed) Dedupe(p state.DedupePut) error {
	f.next.Dedupe = append(f.next.Dedupe, p)
	return f.flush(feedPuts)
}

func (f *feed) Counter(c state.CounterPut) error {
	f.next.Counters = append(f.next.Counters, c)
	return f.flush(feedPuts)
}

func (f *feed) flush(at int) error {
	if len(f.next.Dedupe)+len(f.next.Counters) < at {
		return nil
	}
	defer f.next.Reset()
	return f.task.Feed(&f.next)
}

func (f *feed) Finish(at state.Position, settings []schemas.Change) error {
	if err := f.flush(1); err != nil {
		return err
	}
	return f.task.FinishRestore(at, settings)
}
