package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/tidemarkio/tidemark/connectors/console"
	"github.com/tidemarkio/tidemark/topology/registry"
	"github.com/tidemarkio/tidemark/topology/registry/configfile"
)

// actor is who changes settings on behalf of the config file.
const actor = "config file"

func (n *Node) settings() *registry.Settings { return n.registry.Model().Settings() }

// authenticate checks an instance's client key.
func (n *Node) authenticate(instanceID, clientKey string) bool {
	now := time.Now()
	k := n.registry.Model().CheckKey(instanceID, registry.ClientKey, clientKey, now.UnixMilli())
	if k == nil {
		return false
	}
	n.uses.note(instanceID, registry.ClientKey, k.ID, now)
	return true
}

// watchSettings tells the edge when settings change.
func (n *Node) watchSettings(ctx context.Context, tell chan<- struct{}) error {
	var last *registry.Settings
	for {
		m, changed := n.registry.Now()
		if s := m.Settings(); s != last {
			last = s
			select {
			case tell <- struct{}{}:
			default:
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// applyFile applies the config file and waits until it is in force.
func (n *Node) applyFile(ctx context.Context, p *parts) error {
	text, err := os.ReadFile(n.cfg.ConfigFile)
	if err != nil {
		return fmt.Errorf("read config file: %w", err)
	}
	return n.Apply(ctx, text, p.failed)
}

// Apply brings the registry to what a config file says, without pruning, and
// waits until every partition has it.
func (n *Node) Apply(ctx context.Context, text []byte, failed <-chan error) error {
	file, err := configfile.Parse(text)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("the settings did not get into every partition's log in time"))
	defer cancel()
	done := make(chan error, 1)
	go func() {
		applied, err := n.console.ApplyConfig(ctx, console.Apply{File: file, Actor: actor})
		if applied != nil {
			for _, line := range applied.Changes {
				n.cfg.Log.Info("settings", "change", line)
			}
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case err := <-failed:
		return err
	}
}
