package console

import (
	"cmp"
	"errors"

	"github.com/tidemarkio/tidemark/schemas"
)

type queryData struct {
	Instances []string
	I, D, Q   string
	Target    *Target
	Missing   bool // no part of this node answers
}

func (c *Console) queryPage(v *view) error {
	d := &queryData{Instances: v.instanceIDs(), I: v.query("i"), D: cmp.Or(v.query("d"), schemas.TargetUser), Q: v.query("q"), Missing: c.cfg.Stats == nil}
	if d.I == "" && len(d.Instances) > 0 {
		d.I = d.Instances[0]
	}
	if d.Q == "" || d.Missing {
		return v.show("query", "query", d)
	}
	var err error
	if d.Target, err = c.Target(v.r.Context(), d.I, d.D, d.Q, 0); err != nil {
		return v.again(err, "query", "query", d)
	}
	return v.show("query", "query", d)
}

func (c *Console) servicePage(v *view) error {
	m, err := c.newest(v.r.Context())
	if err != nil {
		return err
	}
	return v.show("service", "service", m.Signature())
}

// overviewData is the node at the moment of the page; the script goes on.
type overviewData struct {
	Live    *Snapshot
	Rates   []string // in the order of the page
	Latency []string
}

func (c *Console) overviewPage(v *view) error {
	d := overviewData{Rates: []string{"calls", "decided", "delivered", "acknowledged"}, Latency: []string{"call", "delivery", "ack"}}
	if c.cfg.Live == nil {
		return v.show("overview", "overview", d)
	}
	var err error
	if d.Live, err = c.cfg.Live.Live(v.r.Context()); err != nil && !errors.Is(err, errPart) {
		return err
	}
	return v.show("overview", "overview", d)
}
