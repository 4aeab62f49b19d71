package view

import (
	"encoding/binary"
	"fmt"
)

// Device is a device that a user was online with.
type Device struct {
	InstanceID string
	UserID     string
	DeviceID   string
	OS         string
	AppVersion string
	Online     int64 // when it last connected, epoch ms
}

// Touch notes that a device came online as a user. It is kept here only, in no
// topic: a view that is rebuilt learns it again as devices connect.
func (v *View) Touch(d *Device) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	value := binary.AppendVarint(nil, d.Online)
	value = part(part(value, d.OS), d.AppVersion)
	b := v.db.Pebble().NewBatch()
	_ = b.Set(deviceKey(d.InstanceID, d.UserID, d.DeviceID), value, nil)
	return v.db.Commit(b, false)
}

func deviceKey(instanceID, userID, deviceID string) []byte {
	return part(targetKey(nil, kindDevice, instanceID, userID), deviceID)
}

func (d *Device) decode(value []byte) (err error) {
	online, n := binary.Varint(value)
	if n <= 0 {
		return fmt.Errorf("value %x is no device", value)
	}
	d.Online = online
	if d.OS, value, err = cut(value[n:]); err != nil {
		return err
	}
	d.AppVersion, _, err = cut(value)
	return err
}

// Device finds a device that a user was online with; nil if it never was.
func (v *View) Device(instanceID, userID, deviceID string) (*Device, error) {
	value, err := v.get(deviceKey(instanceID, userID, deviceID))
	if err != nil || value == nil {
		return nil, err
	}
	d := &Device{InstanceID: instanceID, UserID: userID, DeviceID: deviceID}
	return d, d.decode(value)
}

// Devices lists the devices that a user was online with.
func (v *View) Devices(instanceID, userID string) ([]Device, error) {
	prefix := targetKey(nil, kindDevice, instanceID, userID)
	it, err := v.over(prefix)
	if err != nil {
		return nil, err
	}
	var all []Device
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		d := Device{InstanceID: instanceID, UserID: userID}
		if d.DeviceID, _, err = cut(it.Key()[len(prefix):]); err == nil {
			err = d.decode(it.Value())
		}
		all = append(all, d)
	}
	return all, v.done(it, err)
}

// LastOnline is the device that a user was last online with; nil if none.
func (v *View) LastOnline(instanceID, userID string) (*Device, error) {
	all, err := v.Devices(instanceID, userID)
	var last *Device
	for i := range all {
		if last == nil || all[i].Online > last.Online {
			last = &all[i]
		}
	}
	return last, err
}

// Businesses lists the businesses that have entries, points or heads for a
// target, in no useful order and once each.
func (v *View) Businesses(instanceID, target string) ([]string, error) {
	seen := make(map[string]bool)
	var all []string
	for _, kind := range []byte{kindEntry, kindHead, kindAcked, kindPoint, kindStats} {
		prefix := targetKey(nil, kind, instanceID, target)
		it, err := v.over(prefix)
		if err != nil {
			return nil, err
		}
		for ok := it.First(); ok && err == nil; {
			var biz string
			if biz, _, err = cut(it.Key()[len(prefix):]); err != nil {
				break
			}
			if !seen[biz] {
				seen[biz] = true
				all = append(all, biz)
			}
			ok = it.SeekGE(after(part(append([]byte(nil), prefix...), biz)))
		}
		if err := v.done(it, err); err != nil {
			return nil, err
		}
	}
	return all, nil
}
