package processor

import (
	"bytes"
	"maps"
	"slices"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/state"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// Memory is a [Store] in plain maps: for simulation, where a crash is a copy,
// and for tests, as the dumber twin of the store on disk.
type Memory struct {
	position state.Position
	settings *registry.Settings
	dedupe   map[int64]map[state.Hash]int64
	counters map[state.Hash]state.CounterPut
}

// NewMemory makes an empty store.
func NewMemory() *Memory {
	return &Memory{
		position: state.Start(), settings: &registry.Settings{},
		dedupe: make(map[int64]map[state.Hash]int64), counters: make(map[state.Hash]state.CounterPut),
	}
}

// Clone copies the store: what a crash leaves.
func (m *Memory) Clone() *Memory {
	c := &Memory{position: m.position, settings: m.settings, dedupe: make(map[int64]map[state.Hash]int64, len(m.dedupe)), counters: maps.Clone(m.counters)}
	for b, keys := range m.dedupe {
		c.dedupe[b] = maps.Clone(keys)
	}
	return c
}

// Position implements [Store].
func (m *Memory) Position() state.Position { return m.position }

// Settings implements [Store].
func (m *Memory) Settings() []schemas.Change { return m.settings.Changes() }

// Original implements [Store].
func (m *Memory) Original(key state.Hash, oldest, newest int64) (int64, error) {
	for b := newest; b >= oldest; b-- {
		if id := m.dedupe[b][key]; id != 0 {
			return id, nil
		}
	}
	return 0, nil
}

// Last implements [Store].
func (m *Memory) Last(hash state.Hash, _ []byte) (int64, error) { return m.counters[hash].ID, nil }

// Apply implements [Store].
func (m *Memory) Apply(b *state.Batch) error {
	for _, p := range b.Dedupe {
		if m.dedupe[p.Bucket] == nil {
			m.dedupe[p.Bucket] = make(map[state.Hash]int64)
		}
		m.dedupe[p.Bucket][p.Key] = p.ID
	}
	for _, c := range b.Counters {
		c.Key = bytes.Clone(c.Key)
		m.counters[c.Hash] = c
	}
	maps.DeleteFunc(m.dedupe, func(bucket int64, _ map[state.Hash]int64) bool { return bucket < b.ExpireBefore })
	m.settings = m.settings.With(b.Position.Revision, slices.Clone(b.Changes))
	m.position = b.Position
	return nil
}
