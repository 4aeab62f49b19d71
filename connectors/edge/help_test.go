package edge

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidemarkio/tidemark/state"
	"github.com/tidemarkio/tidemark/state/view"
	"github.com/tidemarkio/tidemark/topology"
)

func viewLog(biz, token string) view.Log {
	return view.Log{InstanceID: instance, Target: token, BizType: biz}
}

func bareTopology(t *testing.T) *topology.Topology {
	t.Helper()
	topo, err := topology.New(topology.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

func bareShared(t *testing.T) *state.Shared {
	t.Helper()
	s, err := state.NewShared(state.SharedConfig{CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func newMemFS() vfs.FS { return vfs.NewMem() }

// globalHead checks that a global log has come that far.
func (s *Server) globalHead(biz string, want int64) error {
	head, err := s.globals.store.Head(view.Log{InstanceID: instance, BizType: biz})
	if err != nil || head != want {
		return fmt.Errorf("head %d, %w", head, err)
	}
	return nil
}

// applied checks that a log has come that far.
func (s *Server) applied(biz, token string, want int64) error {
	head, err := s.partitionOf(token).view.Head(view.Log{InstanceID: instance, Target: token, BizType: biz})
	if err != nil || head != want {
		return fmt.Errorf("head %d, %w", head, err)
	}
	return nil
}
