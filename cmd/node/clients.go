package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/connectors/edge"
	"github.com/tidemarkio/tidemark/connectors/tenant"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// clients tells who a client is, by the registry's settings of its instance.
type clients struct {
	model     func() *registry.Model
	caller    *tenant.Caller
	validator *tenant.Validator
	users     *tenant.Users
	devices   *tenant.Devices
}

func (n *Node) openClients() *clients {
	caller := tenant.NewCaller(nil)
	return &clients{
		model: n.registry.Model, caller: caller, validator: tenant.NewValidator(caller, nil), users: tenant.NewUsers(caller, nil),
		devices: tenant.NewDevices(n.cfg.DeviceCredentials, n.registry.Model().Cluster().Key, n.firstConnect),
	}
}

// firstConnect asks the edge, which asks the clients: it is there by then.
func (n *Node) firstConnect(ctx context.Context, instanceID, deviceID string) (bool, error) {
	return n.edge.FirstConnect(ctx, instanceID, deviceID)
}

func (c *clients) close() { c.caller.Close() }

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
		valid, err := c.validator.Validate(ctx, i.SessionValidation, l.InstanceID, l.UserID, l.SessionID)
		return valid, later(err)
	case i.JWT != nil:
		_, err := c.users.Check(ctx, i.JWT, l.UserID, l.SessionID)
		return err == nil, later(err)
	}
	return false, nil
}

// usesTokens reports that an instance verifies tokens.
func (c *clients) usesTokens(instanceID string) bool {
	i := c.model().Instance(instanceID)
	return i != nil && i.JWT != nil
}

// admitUser wants a user proven where the instance verifies tokens, and says
// until when the proof holds.
func (c *clients) admitUser(ctx context.Context, l edge.Login) (until time.Time, err error) {
	i := c.model().Instance(l.InstanceID)
	switch {
	case i == nil:
		return time.Time{}, errNoInstance
	case i.JWT == nil:
		return time.Time{}, nil
	}
	until, err = c.users.Check(ctx, i.JWT, l.UserID, l.SessionID)
	return until, later(err)
}

// later tells the edge which errors pass.
func later(err error) error {
	if errors.Is(err, tenant.ErrUnanswered) {
		return fmt.Errorf("%w: %w", edge.ErrLater, err)
	}
	return err
}
