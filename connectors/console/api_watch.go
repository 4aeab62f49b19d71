package console

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// DefaultWatchersMax bounds the watchers that are open at the same time at one
// node, if nothing is said.
const DefaultWatchersMax = 1000

const (
	// watchHeartbeat is how often a watcher hears where it stands when nothing
	// changes.
	watchHeartbeat = 5 * time.Second
	// watchChanges bounds the objects in one event.
	watchChanges = 256
)

func (c *Console) watchRoutes() []route {
	watch := get(v1+"/watch", "changes of the registry as they are made, as Server-Sent Events: change, reset, revision, end", registry.Viewer, nil, c.watch,
		param{"since", "a revision: begin with what changed after it; 0: with a reset; default: begin now. A header Last-Event-ID says the same"})
	watch.Media = "text/event-stream"
	return []route{watch}
}

// WatchEvent is what each event of a watch carries. As an event's id its
// revision is what a watcher that lost its connection goes on from.
//
//   - revision: nothing has changed up to Revision; the first event, and a sign
//     of life every few seconds.
//   - change: Changes is some of what changed. More events of the same revision
//     follow until Revision rises.
//   - reset: what changed since is no longer known (too long ago, or a backup was
//     restored). Start over: read everything, and take Revision for the revision
//     that it was read at.
type WatchEvent struct {
	Revision int64    `json:"revision"`
	Changes  []Change `json:"changes,omitempty"`
	Reason   string   `json:"reason,omitempty"` // of a reset
}

// Change is an object that was made, changed or removed, as it is now: an
// object that changed several times comes once.
type Change struct {
	Object registry.Object `json:"object"`
	Gone   bool            `json:"gone,omitempty"`
	// Value is an instance without secrets, a config, a user without password,
	// a member of the quorum, or the signature switch; other kinds have none.
	Value any `json:"value,omitempty"`
}

// EventID lets a watcher go on from the event.
func (e *WatchEvent) EventID() string { return strconv.FormatInt(e.Revision, 10) }

func (c *Console) watch(r *request) (any, error) {
	text := r.URL.Query().Get("since")
	if text == "" {
		text = r.Header.Get("Last-Event-ID")
	}
	since, err := number(text, -1)
	if err != nil || text != "" && since < 0 {
		return nil, &Error{http.StatusBadRequest, registry.Invalid, "since", "a revision, as an event or an answer had it"}
	}
	m, _ := c.cfg.Registry.Now()
	if since > m.Revision() {
		// This node may be behind the one that gave the revision.
		if m, err = c.newest(r.Context()); err != nil {
			return nil, err
		}
	}
	if text == "" {
		since = m.Revision()
	}
	users := r.caller.Role.May(registry.Admin)
	return &stream{slots: c.watchers, run: func(r *http.Request, send sender) error {
		return c.followRegistry(r.Context(), &watcher{at: since, users: users, send: send})
	}}, nil
}

// watcher is who follows the registry's changes. It keeps no queue: changes
// that come while it takes its time are told together.
type watcher struct {
	at    int64 // revision up to which all is told
	users bool  // it may see users
	send  sender
}

// followRegistry tells a watcher of every change until its context ends.
func (c *Console) followRegistry(ctx context.Context, w *watcher) error {
	t := time.NewTicker(c.heartbeat)
	defer t.Stop()
	for first := true; ; first = false {
		m, changed := c.cfg.Registry.Now()
		err := w.tell(m)
		if err == nil && first {
			err = w.send("revision", &WatchEvent{Revision: w.at})
		}
		if err != nil {
			return err
		}
		select {
		case <-changed:
		case <-t.C:
			if err := w.send("revision", &WatchEvent{Revision: w.at}); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// tell sends what the watcher has not been told of a model.
func (w *watcher) tell(m *registry.Model) error {
	if m.Revision() == w.at {
		return nil
	}
	touched, reset := m.Since(w.at)
	if reset {
		reason := fmt.Sprintf("what changed since revision %d is no longer known: read everything, and go on from revision %d", w.at, m.Revision())
		w.at = m.Revision()
		return w.send("reset", &WatchEvent{Revision: w.at, Reason: reason})
	}
	e := &WatchEvent{Revision: w.at}
	for i, o := range touched {
		if o.Kind != registry.KindUser || w.users {
			e.Changes = append(e.Changes, changeOf(m, o))
		}
		if len(e.Changes) == watchChanges && i < len(touched)-1 {
			if err := w.send("change", e); err != nil {
				return err
			}
			e.Changes = nil
		}
	}
	w.at, e.Revision = m.Revision(), m.Revision()
	if len(e.Changes) == 0 {
		return w.send("revision", e)
	}
	return w.send("change", e)
}

// changeOf is an object as a model has it.
func changeOf(m *registry.Model, o registry.Object) Change {
	c := Change{Object: o}
	switch o.Kind {
	case registry.KindInstance:
		if i := m.Instance(o.InstanceID); i != nil {
			c.Value = i.View()
		}
	case registry.KindConfig:
		if s := m.Sync(o.InstanceID, o.Name); s != nil {
			c.Value = s
		}
	case registry.KindUser:
		if u := m.User(o.Name); u != nil {
			c.Value = u.View()
		}
	case registry.KindMember:
		if n := m.Member(o.Name); n != nil {
			c.Value = n
		}
	case registry.KindService:
		if o.Name == "signature" {
			c.Value = Signature{m.Signature()}
		}
		return c
	default:
		return c
	}
	c.Gone = c.Value == nil
	return c
}
