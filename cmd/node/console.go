package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/tidemarkio/tidemark/connectors/console"
	"github.com/tidemarkio/tidemark/connectors/edge"
	"github.com/tidemarkio/tidemark/schemas"
)

// errStarting answers the console while the doors are not there yet.
var errStarting = errors.New("the node is starting")

// openConsole makes the operators' side. What it asks of the rest of the node
// is answered once that runs.
func (n *Node) openConsole() (err error) {
	cfg := console.Config{
		Registry: n.registry, Members: members{n.registry}, WaitPublished: n.publisher.WaitPublished, Log: n.cfg.Log,
		Live:        &live{node: n},
		WatchersMax: n.cfg.WatchersMax, RestoreMax: n.cfg.RestoreMax,
		OIDC: n.cfg.OIDC, SecureCookies: n.cfg.SecureCookies, Zone: n.cfg.Zone,
	}
	if !n.cfg.RegistryOnly {
		cfg.Stats, cfg.Sender, cfg.Redeliverer, cfg.Tail = stats{n}, sender{n}, redeliverer{n}, tail{n}
	}
	if n.cfg.AdminToken != "" {
		cfg.Authorize = console.WithToken(n.cfg.AdminToken)
	}
	if n.console, err = console.New(cfg); err != nil {
		return err
	}
	n.operators.Store(n.console)
	return nil
}

// firstAdmin makes the first user where the admin door is not open, and shows
// a password that was thought of for it: once, and not in the log.
func (n *Node) firstAdmin(ctx context.Context) error {
	if n.cfg.AdminToken == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	made, err := n.console.EnsureAdmin(ctx, n.cfg.AdminPassword)
	if err != nil {
		return err
	}
	if made != "" {
		fmt.Fprintf(os.Stderr, "\nThe console's first user is %q with the password %s\nIt is not shown again: log in at %s and change it.\n\n", console.FirstAdmin, made, n.AdminURL())
	}
	return nil
}

// stats answers the data query from the edge's views.
type stats struct{ n *Node }

func (s stats) Target(_ context.Context, instanceID, dimension, name string, limit int) (*console.Target, error) {
	if !s.n.running.Load() {
		return nil, errStarting
	}
	is, err := s.n.edge.Target(instanceID, dimension, name)
	if err != nil {
		return nil, fmt.Errorf("read target: %w", err)
	}
	pushes, err := s.n.edge.Pushes(instanceID, name, limit)
	if err != nil {
		return nil, fmt.Errorf("read push list: %w", err)
	}
	t := &console.Target{
		InstanceID: instanceID, Dimension: dimension, Name: name, Connected: is.Connected, Pushes: is.Pushes, Arrivals: is.Arrivals,
		Known:   is.Connected || len(is.Businesses) > 0 || len(is.Devices) > 0,
		Configs: []console.TargetConfig{}, Sessions: []console.TargetSession{}, Devices: []console.TargetDevice{}, PushList: []console.TargetPush{},
	}
	ours := make(map[string]bool)
	for i := range is.Businesses {
		b := &is.Businesses[i]
		ours[b.BizType] = true
		t.Configs = append(t.Configs, console.TargetConfig{BizType: b.BizType, Head: b.Head, First: b.First, Acked: b.Acked, Pushes: b.Pushes, Arrivals: b.Arrivals})
	}
	for i := range is.Sessions {
		t.Sessions = append(t.Sessions, sessionOf(&is.Sessions[i]))
	}
	for _, d := range is.Devices {
		t.Devices = append(t.Devices, console.TargetDevice{DeviceID: d.DeviceID, Online: d.Online})
	}
	for _, p := range pushes {
		if ours[p.BizType] { // another dimension may have a target of the same name
			t.PushList = append(t.PushList, console.TargetPush{BizType: p.BizType, OplogID: p.ID, ThirdMsgID: p.ThirdMsgID, Bytes: p.Bytes, Time: p.Time, ValidTimeEnd: p.ValidTimeEnd, Arrived: p.Arrived})
		}
	}
	slices.SortStableFunc(t.PushList, func(a, b console.TargetPush) int { return cmp.Compare(b.Time, a.Time) })
	t.PushList = t.PushList[:min(limit, len(t.PushList))]
	return t, nil
}

func sessionOf(s *edge.SessionStatus) console.TargetSession {
	return console.TargetSession{
		Edge:    s.EdgeID,
		Session: s.Session, Transport: s.Transport, DeviceID: s.DeviceID, UserID: s.UserID, OS: s.OS, AppVersion: s.AppVersion,
		Foreground: s.Foreground, Verified: s.Verified, Blocked: s.Blocked,
	}
}

// redeliverer moves sync points by way of the edge: any edge can, as all of them
// read the acks topic.
type redeliverer struct{ n *Node }

func (r redeliverer) PlanRewinds(_ context.Context, instanceID, target string, f *console.RedeliverForm) ([]console.RewoundPoint, error) {
	if !r.n.running.Load() {
		return nil, errStarting
	}
	ask := edge.Redelivery{InstanceID: instanceID, BizType: f.BizType, Target: target, DeviceID: f.DeviceID, Since: f.Since}
	if f.After != nil {
		ask.After = *f.After
	}
	plan, err := r.n.edge.PlanRewinds(&ask)
	if err != nil {
		return nil, err
	}
	points := make([]console.RewoundPoint, len(plan))
	for i := range plan {
		points[i] = console.RewoundPoint{Target: plan[i].Target, DeviceID: plan[i].DeviceID, From: plan[i].From, To: plan[i].To}
	}
	return points, nil
}

func (r redeliverer) Rewind(ctx context.Context, instanceID, bizType string, points []console.RewoundPoint) error {
	plan := make([]edge.Rewind, len(points))
	for i := range points {
		p := &points[i]
		plan[i] = edge.Rewind{InstanceID: instanceID, BizType: bizType, Target: p.Target, DeviceID: p.DeviceID, From: p.From, To: p.To}
	}
	return r.n.edge.Rewind(ctx, plan)
}

// sender puts data that operators send through the ingress.
type sender struct{ n *Node }

func (s sender) Send(ctx context.Context, r *schemas.Request) (schemas.Result, error) {
	if !s.n.running.Load() {
		return schemas.Result{}, errStarting
	}
	return s.n.ingress.Push(ctx, r)
}
