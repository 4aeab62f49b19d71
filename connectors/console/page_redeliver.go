package console

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// redeliverData is the form for a redelivery to one target: what is asked for,
// then what would move, and at last what did.
type redeliverData struct {
	Sync    *registry.Sync
	D, Q    string // the data query that one came from
	Devices bool   // devices have sync points of their own
	After   string
	Device  string
	Plan    *Redelivered
	Done    *Redelivered
}

// Points are the sync points to show.
func (d *redeliverData) Points() []RewoundPoint {
	switch {
	case d.Done != nil:
		return d.Done.Moved
	case d.Plan != nil:
		return d.Plan.Moved
	}
	return nil
}

func (v *view) redelivery() (*redeliverData, error) {
	s, err := v.config()
	if err != nil {
		return nil, err
	}
	return &redeliverData{
		Sync: s, D: s.Target, Q: v.query("q"), Devices: s.Target == schemas.TargetUser && (s.MultiDevice || s.Scope == schemas.ScopeGlobal), After: "0",
	}, nil
}

func (c *Console) redeliverPage(v *view) error {
	d, err := v.redelivery()
	if err != nil {
		return err
	}
	v.Title = v.T("redeliver")
	return v.show("redeliver", "query", d)
}

func (c *Console) redeliverPost(v *view) error {
	d, err := v.redelivery()
	if err != nil {
		return err
	}
	v.Title = v.T("redeliver")
	d.After, d.Device = v.form("after"), v.form("device")
	after, err := strconv.ParseInt(d.After, 10, 64)
	if err != nil || after < 0 {
		err = &Error{http.StatusBadRequest, registry.Invalid, "after", fmt.Sprintf("%.20q: an oplog id, or 0 for all", d.After)}
		return v.again(err, "redeliver", "query", d)
	}
	really := v.form("really") == "true"
	done, err := c.Redeliver(v.r.Context(), v.caller, source(v.r), d.Sync.InstanceID, RedeliverForm{
		BizType: d.Sync.BizType, Targets: []string{d.Q}, DeviceID: d.Device, After: &after, DryRun: !really,
	})
	switch {
	case err != nil:
		return v.again(err, "redeliver", "query", d)
	case really:
		d.Done = done
	default:
		d.Plan = done
	}
	return v.show("redeliver", "query", d)
}
