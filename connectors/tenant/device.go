package tenant

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tidemarkio/tidemark/schemas"
)

// Mode is how much devices have to show.
type Mode string

// The modes.
const (
	Off     Mode = "off"     // devices are what they say
	Issue   Mode = "issue"   // the first connect gets a credential; a wrong one is refused, none is let in
	Require Mode = "require" // as Issue, and none is refused too once one was issued
)

// Check names what a mode may be.
func (m Mode) Check() error {
	switch m {
	case Off, Issue, Require:
		return nil
	}
	return fmt.Errorf("device credentials %q: use off, issue or require", string(m))
}

// Errors of [Devices.Admit].
var (
	ErrWrongCredential   = errors.New("the device credential is wrong: the device id belongs to somebody else")
	ErrMissingCredential = errors.New("the device id has a credential: send it as Tidemark-Device-Credential or in the hello")
)

// FirstFunc notes that a device id was seen, durably and for all nodes, and
// reports whether it never was before.
type FirstFunc func(ctx context.Context, instanceID, deviceID string) (bool, error)

// Devices checks devices' credentials. It is safe for concurrent use.
type Devices struct {
	mode  Mode
	key   []byte
	first FirstFunc
}

// NewDevices makes one; first may be nil where the mode is [Off].
func NewDevices(mode Mode, cluster schemas.ClusterKey, first FirstFunc) *Devices {
	mac := hmac.New(sha256.New, cluster[:])
	mac.Write([]byte("tidemark device credential key v1"))
	return &Devices{mode: mode, key: mac.Sum(nil), first: first}
}

// Admit checks a device's credential, or issues one at its first connect.
func (d *Devices) Admit(ctx context.Context, instanceID, deviceID, credential string) (issued string, err error) {
	if d.mode == Off {
		return "", nil
	}
	is := d.credential(instanceID, deviceID)
	if credential != "" {
		if !hmac.Equal([]byte(is), []byte(credential)) {
			return "", ErrWrongCredential
		}
		// So that nobody else is taken for the first, should that be unknown.
		_, err := d.first(ctx, instanceID, deviceID)
		return "", err
	}
	first, err := d.first(ctx, instanceID, deviceID)
	switch {
	case err != nil:
		return "", err
	case first:
		return is, nil
	case d.mode == Require:
		return "", ErrMissingCredential
	}
	return "", nil
}

// credential is 43 characters that go into a header as they are.
func (d *Devices) credential(instanceID, deviceID string) string {
	mac := hmac.New(sha256.New, d.key)
	mac.Write(name(instanceID, deviceID))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// name is unambiguous: the first part's length goes first.
func name(instanceID, deviceID string) []byte {
	b := binary.AppendUvarint(nil, uint64(len(instanceID)))
	return append(append(b, instanceID...), deviceID...)
}
