package edge

import (
	"slices"
	"sync"

	"github.com/tidemarkio/tidemark/connectors/edge/session"
)

// deviceKey names a device of an instance.
type deviceKey struct{ instanceID, deviceID string }

// hub knows the one live session of every device.
type hub struct {
	mu      sync.Mutex
	devices map[deviceKey]*client
}

// find gives a device's session, or nil.
func (h *hub) find(k deviceKey) *client {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.devices[k]
}

// put makes a session the device's, and gives the one that it replaces.
func (h *hub) put(k deviceKey, c *client) (former *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	former = h.devices[k]
	h.devices[k] = c
	return former
}

// remove forgets a session, unless it was replaced already.
func (h *hub) remove(k deviceKey, c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.devices[k] == c {
		delete(h.devices, k)
	}
}

// all lists the sessions.
func (h *hub) all() []*client {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]*client, 0, len(h.devices))
	for _, c := range h.devices {
		all = append(all, c)
	}
	return all
}

func (h *hub) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.devices)
}

// userKey names a user of an instance.
type userKey struct{ instanceID, userID string }

// users knows the sessions of every user, in the order in which they came
// online: single-device businesses push to the last one that is eligible.
type users struct {
	mu     sync.Mutex
	online map[userKey][]*client
	at     map[*client]userKey
}

// update takes over what a session's peer pointer and identity say now, and
// tells the user's other sessions. With the client's lock.
func (u *users) update(c *client) {
	id := c.session.Identity()
	k := userKey{id.InstanceID, id.UserID}
	u.mu.Lock()
	defer u.mu.Unlock()
	online := c.peer.Load() != nil && k.userID != ""
	if was, listed := u.at[c]; listed && (!online || was != k) {
		u.drop(c, was)
	}
	if !online {
		return
	}
	if _, listed := u.at[c]; !listed {
		u.at[c] = k
		u.online[k] = append(u.online[k], c)
	}
	u.tell(k, c)
}

// remove forgets a session.
func (u *users) remove(c *client) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if k, listed := u.at[c]; listed {
		u.drop(c, k)
	}
}

// drop takes a session off a user's list. With u.mu.
func (u *users) drop(c *client, k userKey) {
	delete(u.at, c)
	left := slices.DeleteFunc(u.online[k], func(d *client) bool { return d == c })
	if len(left) == 0 {
		delete(u.online, k)
		return
	}
	u.online[k] = left
	u.tell(k, c)
}

// tell has a user's other sessions look at their peers again. With u.mu.
func (u *users) tell(k userKey, but *client) {
	for _, d := range u.online[k] {
		if d != but {
			d.ask(todoPeers)
		}
	}
	if but != nil && len(u.online[k]) > 1 {
		but.ask(todoPeers)
	}
}

// newer lists the sessions of c's user that came online after it.
func (u *users) newer(c *client) []*session.Peer {
	u.mu.Lock()
	defer u.mu.Unlock()
	list := u.online[u.at[c]]
	var peers []*session.Peer
	for i := slices.Index(list, c) + 1; i < len(list) && i > 0; i++ {
		if p := list[i].peer.Load(); p != nil {
			peers = append(peers, p)
		}
	}
	return peers
}

// sessions lists a user's sessions, in the order in which they came online.
func (u *users) sessions(k userKey) []*client {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.online[k])
}
