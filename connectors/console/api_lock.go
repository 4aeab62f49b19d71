package console

import (
	"net/http"

	"github.com/tidemarkio/tidemark/topology/registry"
)

func (c *Console) lockRoutes() []route {
	return []route{
		get(v1+"/locks", "users and addresses that are locked after failed logins", registry.Admin, Locks{}, c.listLocks, readParam),
		change("DELETE", v1+"/locks/{kind}/{name}", "unlock a user (kind user) or an address (kind address), at every node", registry.Admin, nil, c.unlock),
	}
}

// Locks is a list of those who are locked out.
type Locks struct {
	Revision int64            `json:"revision"`
	Locks    []*registry.Lock `json:"locks"`
}

func (c *Console) listLocks(r *request) (any, error) {
	m, err := c.model(r)
	if err != nil {
		return nil, err
	}
	return Locks{m.Revision(), c.locksOf(m)}, nil
}

// locksOf are the model's locks that hold.
func (c *Console) locksOf(m *registry.Model) []*registry.Lock {
	now, all := c.cfg.Clock().UnixMilli(), []*registry.Lock{}
	for l := range m.Locks() {
		if l.Until > now {
			all = append(all, l)
		}
	}
	return all
}

func (c *Console) unlock(r *request) (any, error) {
	return c.change(r, http.StatusOK, registry.UnlockLogin{For: r.PathValue("kind"), Name: r.PathValue("name")})
}
