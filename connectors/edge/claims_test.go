package edge

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/tidemarkio/tidemark/schemas"
)

// beside is another edge on the same topics, with stores of its own.
func (h *house) beside(id string) *house {
	h.t.Helper()
	other := &house{
		t: h.t, cluster: h.cluster, topo: h.topo, fs: newMemFS(), shared: h.shared, task: h.task,
		settings: h.current(), changed: make(chan struct{}, 1), cfg: h.cfg,
	}
	other.cfg.EdgeID = id
	other.start()
	return other
}

// Of many that come at once with a new device id, at two edges, one is the
// first; and it stays so over a restart, on a new disk, and for an edge that
// comes later.
func TestFirstConnectIsOne(t *testing.T) {
	h := newHouse(t, nil)
	other := h.beside("beside")
	const devices, each = 20, 6
	var firsts [devices]atomic.Int64
	come := func(s *Server) {
		t.Helper()
		var g errgroup.Group
		for i := range devices * each {
			g.Go(func() error {
				first, err := s.FirstConnect(t.Context(), instance, fmt.Sprint("d", i%devices))
				if first {
					firsts[i%devices].Add(1)
				}
				return err
			})
		}
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	}
	var both errgroup.Group
	for _, s := range []*Server{h.server, other.server} {
		both.Go(func() error { come(s); return nil })
	}
	_ = both.Wait()
	h.restart()
	come(h.server)
	h.close()
	h.fs = newMemFS()
	h.start()
	come(h.server)
	come(h.beside("beside").server)
	for i := range firsts {
		if n := firsts[i].Load(); n != 1 {
			t.Errorf("device %d: %d are the first", i, n)
		}
	}
	if first, err := h.server.FirstConnect(t.Context(), "other_APP", "d1"); err != nil || !first {
		t.Errorf("another instance's device: %v, %v", first, err)
	}
	// A claim is no business: nobody sees it as one.
	if st, err := h.server.Target(instance, schemas.TargetDevice, "d1"); err != nil || len(st.Businesses) != 0 {
		t.Errorf("%+v, %v", st, err)
	}
}

// Whether a device is the first cannot be known where its partition is not read:
// that is for later, and soon said.
func TestFirstConnectOfAParkedPartition(t *testing.T) {
	h := newHouse(t, nil)
	if first, err := h.server.FirstConnect(t.Context(), instance, "known"); err != nil || !first {
		t.Fatal(first, err)
	}
	p := h.server.partitionOf("known")
	waits := make(chan error, 1)
	go func() { waits <- h.server.reached(context.Background(), p, 1<<40) }()
	eventually(t, "it waits", func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.moved == nil {
			return errors.New("it does not")
		}
		return nil
	})
	h.server.feed.parkPartition(p, "a test")
	if err := <-waits; !errors.Is(err, errStopped) {
		t.Errorf("who waited: %v", err)
	}
	if first, err := h.server.FirstConnect(t.Context(), instance, "known"); err != nil || first {
		t.Errorf("a known device: %v, %v", first, err)
	}
	for i := 0; ; i++ {
		if device := fmt.Sprint("new", i); h.server.partitionOf(device) == p {
			if first, err := h.server.FirstConnect(t.Context(), instance, device); !errors.Is(err, ErrLater) || first {
				t.Errorf("a new device: %v, %v", first, err)
			}
			return
		}
	}
}
