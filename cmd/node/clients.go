package node

import (
	"context"
	"errors"

	"github.com/tidemarkio/tidemark/connectors/edge"
	"github.com/tidemarkio/tidemark/connectors/tenant"
	"github.com/tidemarkio/tidemark/state"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// deviceMemTable is for the store of devices that were seen: little is written.
const deviceMemTable = 256 << 10

// clients tells who a client is, by the registry's settings of its instance.
type clients struct {
	model     func() *registry.Model
	caller    *tenant.Caller
	validator *tenant.Validator
	users     *tenant.Users
	devices   *tenant.Devices
}

func (n *Node) openClients() (*clients, error) {
	db, err := n.shared.OpenDB(state.DBConfig{
		Dir: n.cfg.dir("state", "devices"), Identity: state.Identity{Kind: "devices", Topology: n.topo}, MemTableBytes: deviceMemTable, Log: n.cfg.Log,
	})
	if err != nil {
		return nil, err
	}
	caller := tenant.NewCaller(nil)
	return &clients{
		model: n.registry.Model, caller: caller, validator: tenant.NewValidator(caller, nil), users: tenant.NewUsers(caller, nil),
		devices: tenant.NewDevices(n.cfg.DeviceCredentials, n.registry.Model().Cluster().Key, db),
	}, nil
}

func (c *clients) close() error {
	c.caller.Close()
	return c.devices.Close()
}

// errNoInstance says that an instance was removed meanwhile.
var errNoInstance = errors.New("there is no such instance")

// validateSession asks the tenant. An instance that has no endpoint for it but
// verifies tokens says by them whose a session is.
func (c *clients) validateSession(ctx context.Context, l edge.Login) (bool, error) {
	i := c.model().Instance(l.InstanceID)
	switch {
	case i == nil:
		return false, errNoInstance
	case i.SessionValidation != nil:
		return c.validator.Validate(ctx, i.SessionValidation, l.InstanceID, l.UserID, l.SessionID)
	case i.JWT != nil:
		_, err := c.users.Check(ctx, i.JWT, l.UserID, l.SessionID)
		return err == nil, err
	}
	return false, nil
}

// admitUser wants a user proven where the instance verifies tokens.
func (c *clients) admitUser(ctx context.Context, l edge.Login) error {
	i := c.model().Instance(l.InstanceID)
	switch {
	case i == nil:
		return errNoInstance
	case i.JWT == nil:
		return nil
	}
	_, err := c.users.Check(ctx, i.JWT, l.UserID, l.SessionID)
	return err
}
