package state

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tidemarkio/tidemark/schemas"
)

// readSettings reads the settings whole: each instance, and then its
// businesses, by name.
func readSettings(db *DB) (all []schemas.Change, err error) {
	err = db.scan([]byte{kindSetting}, []byte{kindSetting + 1}, func(it *pebble.Iterator) error {
		instanceID, bizType, _, err := parseSetting(it.Key())
		if err != nil {
			return err
		}
		var c schemas.Change
		if err := c.Decode(bytes.Clone(it.Value())); err != nil {
			return fmt.Errorf("settings of instance %q, business %q: %w", instanceID, bizType, err)
		}
		all = append(all, c)
		return nil
	})
	return all, err
}

// stageSettings adds changes to a batch. A business of an instance that does
// not exist is passed over, as registry.Settings.With does.
func stageSettings(b *pebble.Batch, exists func(instanceID string) (bool, error), changes []schemas.Change) error {
	made := make(map[string]bool) // instances that this batch makes or deletes
	for i := range changes {
		c := &changes[i]
		switch c.Kind {
		case schemas.PutInstance:
			made[c.InstanceID] = true
			put := schemas.Change{Kind: c.Kind, InstanceID: c.InstanceID}
			_ = b.Set(instanceKey(nil, c.InstanceID), put.Append(nil), nil)
		case schemas.DeleteInstance:
			made[c.InstanceID] = false
			_ = b.DeleteRange(instanceKey(nil, c.InstanceID), settingsEnd(c.InstanceID), nil)
		case schemas.PutSync:
			has, known := made[c.InstanceID]
			if !known {
				var err error
				if has, err = exists(c.InstanceID); err != nil {
					return err
				}
			}
			if has {
				_ = b.Set(syncKey(nil, c.InstanceID, c.Sync.BizType), c.Append(nil), nil)
			}
		case schemas.DeleteSync:
			_ = b.Delete(syncKey(nil, c.InstanceID, c.Sync.BizType), nil)
		default:
			return fmt.Errorf("state: change of kind %d of instance %q: %w", c.Kind, c.InstanceID, errKind)
		}
	}
	return nil
}

var errKind = errors.New("not a kind of change that this release knows")

func (t *Task) hasInstance(id string) (bool, error) {
	v, err := t.db.getCopy(instanceKey(nil, id))
	return v != nil, err
}
