package tenant

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sync/errgroup"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/state"
	"github.com/tidemarkio/tidemark/topology"
)

// registrar is a store that outlives its Devices.
type registrar struct {
	t      testing.TB
	fs     *vfs.MemFS
	topo   *topology.Topology
	shared *state.Shared
}

func newRegistrar(t testing.TB) *registrar {
	t.Helper()
	topo, err := topology.New(topology.Config{})
	if err != nil {
		t.Fatal(err)
	}
	shared, err := state.NewShared(state.SharedConfig{CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := shared.Close(); err != nil {
			t.Error(err)
		}
	})
	return &registrar{t, vfs.NewCrashableMem(), topo, shared}
}

func (r *registrar) open(mode Mode, key schemas.ClusterKey) *Devices {
	r.t.Helper()
	db, err := r.shared.OpenDB(state.DBConfig{Dir: "devices", FS: r.fs, Identity: state.Identity{Kind: "devices", Topology: r.topo}})
	if err != nil {
		r.t.Fatal(err)
	}
	return NewDevices(mode, key, db)
}

func (r *registrar) close(d *Devices) {
	r.t.Helper()
	if err := d.Close(); err != nil {
		r.t.Fatal(err)
	}
}

func admit(t *testing.T, d *Devices, instance, device, credential string, want error) string {
	t.Helper()
	issued, err := d.Admit(t.Context(), instance, device, credential)
	if !errors.Is(err, want) || want == nil && err != nil {
		t.Errorf("%s, %s, %q: %v, want %v", instance, device, credential, err, want)
	}
	return issued
}

// The first connect gets a credential; nobody gets in with another, nor, where
// it is required, with none. It holds after a crash.
func TestDeviceCredential(t *testing.T) {
	r := newRegistrar(t)
	key := schemas.ClusterKey{1}
	d := r.open(Require, key)
	mine := admit(t, d, "i", "d1", "", nil)
	if len(mine) != 43 {
		t.Errorf("issued %q", mine)
	}
	crashed := r.fs.CrashClone(vfs.CrashCloneCfg{}) // nothing that was not synced
	r.close(d)
	r.fs = crashed
	for _, mode := range []Mode{Require, Issue} {
		d = r.open(mode, key)
		var missing error
		if mode == Require {
			missing = ErrMissingCredential
		}
		if got := admit(t, d, "i", "d1", "", missing); got != "" {
			t.Error("issued to somebody else")
		}
		if again := admit(t, d, "i", "d1", mine, nil); again != "" {
			t.Error("issued again to its owner")
		}
		admit(t, d, "i", "d1", mine[:42], ErrWrongCredential)
		admit(t, d, "i", "d1", mine+"x", ErrWrongCredential)
		admit(t, d, "i", "d2", mine, ErrWrongCredential)     // another device's
		admit(t, d, "other", "d1", mine, ErrWrongCredential) // another instance's
		admit(t, d, "id", "1", mine, ErrWrongCredential)     // the same letters
		admit(t, d, "i", "unknown", "made up", ErrWrongCredential)
		if got := admit(t, d, "i", "unknown"+string(mode), "", nil); got == "" || got == mine {
			t.Errorf("a wrong try took a device id from its owner: issued %q", got)
		}
		r.close(d)
	}
	d = r.open(Require, schemas.ClusterKey{2})
	admit(t, d, "i", "d1", mine, ErrWrongCredential) // another cluster's
	r.close(d)
	d = r.open(Off, key)
	if got := admit(t, d, "i", "d3", "whatever", nil); got != "" {
		t.Errorf("issued %q", got)
	}
	r.close(d)
}

// Of many that come at once with a new device id, one gets the credential.
func TestFirstConnectIsOne(t *testing.T) {
	r := newRegistrar(t)
	d := r.open(Require, schemas.ClusterKey{1})
	defer r.close(d)
	const devices, each = 20, 10
	var issued [devices]atomic.Int64
	var g errgroup.Group
	for i := range devices * each {
		g.Go(func() error {
			credential, err := d.Admit(t.Context(), "i", fmt.Sprint(i%devices), "")
			if credential != "" {
				issued[i%devices].Add(1)
			} else if !errors.Is(err, ErrMissingCredential) {
				return fmt.Errorf("device %d: %w", i%devices, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	for i := range issued {
		if n := issued[i].Load(); n != 1 {
			t.Errorf("device %d: %d credentials", i, n)
		}
	}
}

func TestMode(t *testing.T) {
	for m, ok := range map[Mode]bool{Off: true, Issue: true, Require: true, "": false, "on": false} {
		if err := m.Check(); (err == nil) != ok {
			t.Errorf("%q: %v", m, err)
		}
	}
}

// Who comes while the first connect is being written is not the first.
func TestSecondWhileFirstIsWritten(t *testing.T) {
	r := newRegistrar(t)
	d := r.open(Require, schemas.ClusterKey{1})
	defer r.close(d)
	d.writing.Lock()
	var g errgroup.Group
	g.Go(func() error {
		if credential, err := d.Admit(t.Context(), "i", "d1", ""); err != nil || credential == "" {
			return fmt.Errorf("the first: %q, %w", credential, err)
		}
		return nil
	})
	for pending := 0; pending == 0; runtime.Gosched() {
		d.mu.Lock()
		pending = len(d.pending)
		d.mu.Unlock()
	}
	second := make(chan error, 1)
	go func() {
		_, err := d.Admit(t.Context(), "i", "d1", "")
		second <- err
	}()
	select {
	case err := <-second:
		if !errors.Is(err, ErrMissingCredential) {
			t.Errorf("the second: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the second waits for the first")
	}
	d.writing.Unlock()
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}
