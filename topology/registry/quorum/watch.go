package quorum

import (
	"context"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// Update is what a watcher is told.
type Update struct {
	// Revision is where the watcher stands after the update; to go on after a
	// disconnect, watch from it.
	Revision int64
	// Model is the registry at that revision, or later.
	Model *registry.Model
	// Touched names what has changed, each object once, oldest change first.
	Touched []registry.Object
	// Reset says that it is not known what has changed since: take everything.
	Reset bool
}

// Watcher follows the registry's changes. It is used by one goroutine, and
// costs nothing but that: changes that come while it is busy are told together.
type Watcher struct {
	n  *Node
	at int64
}

// Watch follows the changes after a revision; 0: from everything.
func (n *Node) Watch(from int64) *Watcher { return &Watcher{n, from} }

// Next waits for something that the watcher has not seen.
func (w *Watcher) Next(ctx context.Context) (Update, error) {
	m, err := w.n.until(ctx, func(m *registry.Model) bool { return m.Created() && m.Revision() != w.at })
	if err != nil {
		return Update{}, err
	}
	u := Update{Revision: m.Revision(), Model: m}
	u.Touched, u.Reset = m.Since(w.at)
	w.at = u.Revision
	return u, nil
}

// Now is the model as this node has it, and a channel that is closed when it
// gets a newer one.
func (n *Node) Now() (*registry.Model, <-chan struct{}) {
	v := n.machine.now.Load()
	return v.model, v.next
}

// WaitPublished waits until the settings of a revision are in the log of every
// partition, as far as this node knows.
func (n *Node) WaitPublished(ctx context.Context, revision int64) error {
	_, err := n.until(ctx, func(m *registry.Model) bool { return m.Revision() >= revision && !m.Waiting(revision) })
	return err
}
