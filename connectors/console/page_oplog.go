package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"time"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// A tail that is shown once, for browsers without the script, waits this long
// for entries.
const tailOnce = 400 * time.Millisecond

type oplogData struct {
	Instances []string
	I, B, T   string
	Last      int
	Once      bool
	Entries   []*TailEntry
	Missing   bool
}

func (c *Console) oplogPage(v *view) error {
	d := &oplogData{Instances: v.instanceIDs(), I: v.query("i"), B: v.query("b"), T: v.query("t"), Last: 50, Once: v.query("once") != "", Missing: c.cfg.Tail == nil}
	if s := v.query("last"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 || n > MaxTailLast {
			return v.again(&Error{http.StatusBadRequest, registry.Invalid, "last", fmt.Sprintf("0 to %d", MaxTailLast)}, "oplog", "oplog", d)
		}
		d.Last = n
	}
	if !d.Once || d.Missing {
		return v.show("oplog", "oplog", d)
	}
	ctx, cancel := context.WithTimeout(v.r.Context(), tailOnce)
	defer cancel()
	enough := errors.New("that is enough")
	err := c.cfg.Tail.Follow(ctx, TailQuery{Partition: -1, InstanceID: d.I, BizType: d.B, LinkToken: d.T, Last: d.Last}, func(e *TailEntry) error {
		if e == nil || len(d.Entries) >= MaxTailLast {
			return enough
		}
		d.Entries = append(d.Entries, e)
		return nil
	})
	if err != nil && !errors.Is(err, enough) && ctx.Err() == nil {
		return v.again(err, "oplog", "oplog", d)
	}
	return v.show("oplog", "oplog", d)
}
