package console

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// MaxOverlap is the longest that a rotated key opens beside its successor.
const MaxOverlap = 90 * 24 * time.Hour

func (c *Console) keyRoutes() []route {
	keys := v1 + "/instances/{instanceId}/keys"
	return []route{
		get(keys, "an instance's keys, without what they are: when made, when last used", registry.Viewer, Keys{}, c.listKeys, readParam),
		{Method: "POST", Path: keys, Summary: "make a key; its secret is in this answer and nowhere else", Role: registry.Admin, Query: []param{waitParam},
			In: KeyForm{}, Out: NewKey{}, Status: http.StatusCreated, Change: true, Do: c.postKey},
		change("DELETE", keys+"/{kind}/{keyId}", "revoke a key at once", registry.Admin, nil, c.deleteKey),
	}
}

// Keys are an instance's keys as anybody may see them.
type Keys struct {
	APIKeys    []registry.KeyView `json:"apiKeys"`
	ClientKeys []registry.KeyView `json:"clientKeys"`
}

func (c *Console) listKeys(r *request) (any, error) {
	_, i, err := c.instance(r)
	if err != nil {
		return nil, err
	}
	v := i.View()
	return Keys{v.APIKeys, v.ClientKeys}, nil
}

// KeyForm asks for a new key.
type KeyForm struct {
	For   registry.KeyKind `json:"for"` // api or client
	Label string           `json:"label,omitempty"`
	// RetireSeconds rotates: the kind's other keys open for so long still.
	// 0: they stay.
	RetireSeconds int64 `json:"retireSeconds,omitempty"`
}

// NewKey is a key that was made.
type NewKey struct {
	Changed
	ID     string           `json:"id"`
	For    registry.KeyKind `json:"for"`
	Secret string           `json:"secret"` // shown this once
	// Retired is when the kind's other keys stop opening, epoch ms.
	Retired int64 `json:"retired,omitempty"`
}

// MakeKey makes a key of an instance in a caller's name.
func (c *Console) MakeKey(ctx context.Context, caller Caller, from, instanceID string, wait bool, f KeyForm) (*NewKey, error) {
	if limit := int64(MaxOverlap.Seconds()); f.RetireSeconds < 0 || f.RetireSeconds > limit {
		return nil, &Error{http.StatusBadRequest, registry.Invalid, "retireSeconds", fmt.Sprintf("%d: use 0 to %d", f.RetireSeconds, limit)}
	}
	b := make([]byte, 32)
	if _, err := io.ReadFull(c.cfg.Rand, b); err != nil {
		return nil, fmt.Errorf("read random bytes: %w", err)
	}
	prefix := "ck_"
	if f.For == registry.APIKey {
		prefix = "ak_"
	}
	key := &NewKey{For: f.For, Secret: prefix + base64.RawURLEncoding.EncodeToString(b)}
	m, err := c.newest(ctx)
	if err != nil {
		return nil, err
	}
	op := registry.AddKey{InstanceID: instanceID, For: f.For, Key: m.NewKey(f.For, key.Secret, f.Label)}
	if f.RetireSeconds > 0 {
		op.Retire = c.cfg.Clock().UnixMilli() + f.RetireSeconds*1000
	}
	key.ID, key.Retired = op.Key.ID, op.Retire
	key.Changed, err = c.Change(ctx, caller, from, wait, op)
	return key, err
}

func (c *Console) postKey(r *request) (any, error) {
	var f KeyForm
	if err := r.decode(&f); err != nil {
		return nil, err
	}
	wait, err := r.flag("wait", true)
	if err != nil {
		return nil, err
	}
	key, err := c.MakeKey(r.Context(), r.caller, source(r.Request), r.PathValue("instanceId"), wait, f)
	if err != nil {
		return nil, err
	}
	status := http.StatusCreated
	if !key.Published {
		status = http.StatusAccepted
	}
	return &answer{status: status, body: key}, nil
}

func (c *Console) deleteKey(r *request) (any, error) {
	return c.change(r, http.StatusOK, registry.DeleteKey{
		InstanceID: r.PathValue("instanceId"), For: registry.KeyKind(r.PathValue("kind")), ID: r.PathValue("keyId"),
	})
}
