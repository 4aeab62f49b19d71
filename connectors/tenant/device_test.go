package tenant

import (
	"context"
	"errors"
	"testing"

	"github.com/tidemarkio/tidemark/schemas"
)

// seen is a [FirstFunc] that remembers.
func seen() FirstFunc {
	all := make(map[[2]string]bool)
	return func(_ context.Context, instanceID, deviceID string) (bool, error) {
		at := [2]string{instanceID, deviceID}
		first := !all[at]
		all[at] = true
		return first, nil
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
// it is required, with none.
func TestDeviceCredential(t *testing.T) {
	first := seen()
	key := schemas.ClusterKey{1}
	mine := admit(t, NewDevices(Require, key, first), "i", "d1", "", nil)
	if len(mine) != 43 {
		t.Errorf("issued %q", mine)
	}
	for _, mode := range []Mode{Require, Issue} {
		d := NewDevices(mode, key, first)
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
		admit(t, d, "i", "unknown"+string(mode), "made up", ErrWrongCredential)
		if got := admit(t, d, "i", "unknown"+string(mode), "", nil); got == "" || got == mine {
			t.Errorf("a wrong try took a device id from its owner: issued %q", got)
		}
	}
	admit(t, NewDevices(Require, schemas.ClusterKey{2}, first), "i", "d1", mine, ErrWrongCredential) // another cluster's
	if got := admit(t, NewDevices(Off, key, nil), "i", "d3", "whatever", nil); got != "" {
		t.Errorf("issued %q", got)
	}
}

// Who shows the credential of a device that was forgotten makes it known: nobody
// else is the first then.
func TestOwnerMakesItKnown(t *testing.T) {
	key := schemas.ClusterKey{1}
	mine := admit(t, NewDevices(Require, key, seen()), "i", "d1", "", nil)
	d := NewDevices(Require, key, seen())
	admit(t, d, "i", "d1", mine, nil)
	admit(t, d, "i", "d1", "", ErrMissingCredential)
}

// Without an answer whether it is the first, no device gets a credential, nor
// is it let in.
func TestFirstUnknown(t *testing.T) {
	unknown := errors.New("the topic cannot be written")
	d := NewDevices(Issue, schemas.ClusterKey{1}, func(context.Context, string, string) (bool, error) { return true, unknown })
	if got := admit(t, d, "i", "d1", "", unknown); got != "" {
		t.Errorf("issued %q", got)
	}
}

func TestMode(t *testing.T) {
	for m, ok := range map[Mode]bool{Off: true, Issue: true, Require: true, "": false, "on": false} {
		if err := m.Check(); (err == nil) != ok {
			t.Errorf("%q: %v", m, err)
		}
	}
}
