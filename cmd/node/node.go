package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/cmd/node/embedded"
	"github.com/tidemarkio/tidemark/connectors/console"
	"github.com/tidemarkio/tidemark/connectors/control"
	"github.com/tidemarkio/tidemark/connectors/edge"
	"github.com/tidemarkio/tidemark/connectors/ingress"
	"github.com/tidemarkio/tidemark/processor/runtime"
	"github.com/tidemarkio/tidemark/state"
	"github.com/tidemarkio/tidemark/topology"
	"github.com/tidemarkio/tidemark/topology/registry/quorum"
)

// startTimeout bounds each wait of the start for something outside of us.
const startTimeout = time.Minute

// Node is everything in one process. Make it with [New], start it with
// [Node.Run].
type Node struct {
	cfg     Config
	topo    *topology.Topology
	metrics *prometheus.Registry
	tracing *tracing // nil: nothing is traced
	wait    readiness
	life    lifeline
	public  net.Listener
	admin   net.Listener
	native  net.Listener

	// Set in this order by Run, and read by handlers only behind ready.
	broker    *embedded.Broker
	client    []kgo.Opt
	shared    *state.Shared
	registry  *quorum.Node
	publisher *control.Publisher
	uses      *keyUses
	console   *console.Console
	operators atomic.Pointer[console.Console] // the same, once the registry is there
	tasks     *runtime.Runtime
	ingress   *ingress.Server
	edge      *edge.Server
	clients   *clients    // who they are
	running   atomic.Bool // all of these are set
	stopping  atomic.Bool
}

// New checks the configuration and opens the listeners.
func New(cfg Config) (*Node, error) {
	cfg.setDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	topo, err := topology.New(cfg.Topology)
	if err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, topo: topo, metrics: prometheus.NewRegistry(), uses: newKeyUses()}
	n.life.now = cfg.Now
	n.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&nodeCollector{node: n, disk: diskUse{dir: cfg.DataDir}})
	if err := registerBuild(n.metrics, cfg.Version); err != nil {
		return nil, err
	}
	n.wait.waitFor("the start")
	if n.tracing, err = openTracing(context.Background(), cfg.Trace, "node", cfg.Version); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	for _, l := range []struct {
		to            *net.Listener
		address, flag string
		door          bool // for producers and clients
	}{{&n.public, cfg.HTTP, "--http", true}, {&n.admin, cfg.Admin, "--admin", false}, {&n.native, cfg.Native, "--native", true}} {
		if l.door && cfg.RegistryOnly {
			continue
		}
		if *l.to, err = net.Listen("tcp", l.address); err != nil {
			n.closeListeners()
			return nil, fmt.Errorf("listen on %s: %w (choose another address with %s)", l.address, err, l.flag)
		}
	}
	return n, nil
}

func (n *Node) closeListeners() {
	for _, l := range []net.Listener{n.public, n.admin, n.native} {
		if l != nil {
			l.Close() //nolint:errcheck // nothing was accepted
		}
	}
}

// Run starts the parts, serves until the context ends or a part fails, and
// stops them in reverse.
func (n *Node) Run(ctx context.Context) error {
	defer n.closeListeners()
	p := newParts(n.cfg.Log)
	err := n.start(ctx, p)
	if err == nil {
		n.wait.waitFor("")
		n.running.Store(true)
		n.cfg.Log.Info("ready", n.addresses()...)
		select {
		case <-ctx.Done():
			n.cfg.Log.Info("stopping")
		case err = <-p.failed:
		}
	}
	if err != nil && ctx.Err() == nil {
		n.life.fail(err)
	}
	n.life.stop()
	n.stopping.Store(true)
	if n.console != nil {
		n.console.Close() // or its open streams would hold up the listener
	}
	return errors.Join(err, p.stop(err), n.close())
}

// addresses are where the node is reached, for the log.
func (n *Node) addresses() []any {
	all := []any{"admin", n.AdminURL(), "kafka", n.Kafka()}
	if n.cfg.RegistryOnly {
		return append(all, "registry", n.registry.Address())
	}
	return append(all, "http", n.URL(), "native", n.native.Addr().String())
}

// step is a part of the start, by what the node waits for meanwhile.
type step struct {
	what string
	do   func(context.Context, *parts) error
}

// steps of the start, in order.
func (n *Node) steps() []step {
	steps := []step{{"the broker", n.startBroker}, {"the registry", n.startRegistry}, {"the settings", n.startSettings}}
	if !n.cfg.RegistryOnly {
		steps = append(steps, step{"the stores", n.startStores}, step{"the sync tasks", n.startTasks}, step{"the doors", n.startDoors},
			step{"partitions to be run and views to catch up", n.waitServing})
	}
	return steps
}

// start brings the parts up, each once what it needs is there.
func (n *Node) start(ctx context.Context, p *parts) error {
	p.start("admin HTTP", serve(n.admin, timely(n.cfg.bodyTimeout, n.adminHandler())))
	if n.tracing != nil {
		p.start("traces", n.tracing.run)
	}
	for _, step := range n.steps() {
		n.wait.waitFor(step.what)
		if err := step.do(ctx, p); err != nil {
			return fmt.Errorf("start %s: %w", step.what, err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		select {
		case err := <-p.failed:
			return err
		default:
		}
	}
	return nil
}

func (n *Node) startBroker(ctx context.Context, _ *parts) (err error) {
	if len(n.cfg.Brokers) > 0 {
		n.client = n.cfg.brokerOpts()
		return ensureTopics(ctx, n.as("setup"), n.topo)
	}
	n.broker, err = embedded.Start(embedded.Config{
		Dir: n.cfg.dir("kafka"), Addr: n.cfg.Kafka, SyncWrites: n.cfg.Fsync, Logger: n.cfg.Log, Topics: n.topo.Topics(),
	})
	if err == nil {
		n.client = n.broker.ClientOpts()
	}
	return err
}

func (n *Node) startRegistry(ctx context.Context, p *parts) (err error) {
	cfg, err := n.quorumConfig()
	if err != nil {
		return err
	}
	if n.registry, err = quorum.Open(cfg); err != nil {
		return err
	}
	p.start("registry", n.registry.Run)
	if !n.cfg.Registry.shared() { // else others may come whenever they like
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, startTimeout)
		defer cancel()
	}
	if err := n.registry.Ready(ctx); err != nil {
		return err
	}
	return writeClusterKey(n.cfg.dir(clusterKeyFile), n.registry.Model().Cluster().Key)
}

// startSettings publishes what waits, applies the config file, and waits until
// every partition has it.
func (n *Node) startSettings(ctx context.Context, p *parts) (err error) {
	n.publisher, err = control.New(control.Config{Registry: n.registry, Topology: n.topo, Kafka: n.as("registry"), Tick: n.cfg.TickEvery, Log: n.cfg.Log})
	if err != nil {
		return err
	}
	p.start("control records", n.publisher.Run)
	if err := n.openConsole(); err != nil {
		return err
	}
	if err := n.firstAdmin(ctx); err != nil {
		return err
	}
	if n.cfg.ConfigFile == "" {
		return nil
	}
	return n.applyFile(ctx, p)
}

func (n *Node) startStores(context.Context, *parts) (err error) {
	n.shared, err = state.NewShared(state.SharedConfig{CacheBytes: n.cfg.CacheBytes})
	return err
}

func (n *Node) startTasks(_ context.Context, p *parts) (err error) {
	s := &stores{dir: n.cfg.dir("state"), shared: n.shared, topo: n.topo, log: n.cfg.Log}
	n.tasks, err = runtime.New(runtime.Config{
		Client: n.as("processor"), Topology: n.topo, ClusterKey: n.registry.Model().Cluster().Key,
		Open: s.open, SetAside: s.setAside,
		CheckpointEvery: n.cfg.CheckpointEvery, SweepEvery: n.cfg.SweepEvery, SessionTimeout: n.cfg.SessionTimeout,
		Log: n.cfg.Log, Metrics: n.metrics,
	})
	if err == nil {
		if n.tracing != nil {
			n.tasks.Trace(n.tracing.append)
		}
		p.start("sync tasks", n.tasks.Run)
	}
	return err
}

func (n *Node) startDoors(_ context.Context, p *parts) (err error) {
	doorman := ingress.NewDoorman(ingress.DoormanConfig{Model: n.registry.Model, Used: n.uses.note, ReplaysMax: n.cfg.SignaturesMax, Open: n.cfg.Push.Open})
	if err := n.metrics.Register(doorman); err != nil {
		return fmt.Errorf("register metrics of the doorman: %w", err)
	}
	p.start("key uses", n.tellKeyUses)
	push := &n.cfg.Push
	n.ingress, err = ingress.New(ingress.Config{
		Client: n.as("ingress"), Topology: n.topo, Settings: n.settings, Authorize: doorman.Authorize,
		InFlightMax: push.InFlightMax, BodyBytesMax: push.BodyBytesMax, BodyTimeout: push.BodyTimeout,
		Trace: n.tracing.traceCalls(), Log: n.cfg.Log, Metrics: n.metrics,
	})
	if err != nil {
		return err
	}
	p.start("ingress", n.ingress.Run)
	native, err := n.nativeTLS()
	if err != nil {
		return err
	}
	n.clients = n.openClients()
	changed := make(chan struct{}, 1)
	n.edge, err = edge.New(edge.Config{
		Client: n.as("edge"), EdgeID: n.cfg.Registry.ID, Topology: n.topo, Shared: n.shared, Dir: n.cfg.dir("state"),
		Settings: n.settings, SettingsChanged: changed, Authenticate: n.authenticate,
		ValidateSession: n.clients.validateSession, AdmitUser: n.clients.admitUser, UsesTokens: n.clients.usesTokens, AdmitDevice: n.clients.devices.Admit,
		Trace: n.tracing.traceDelivery(), Native: native, PublicAddress: n.public.Addr().String(), NativeAddress: n.native.Addr().String(),
		Now: n.cfg.Now, Log: n.cfg.Log, Metrics: n.metrics,
	})
	if err != nil {
		return err
	}
	p.start("settings watch", func(ctx context.Context) error { return n.watchSettings(ctx, changed) })
	p.start("edge", n.edge.Run)
	p.start("public HTTP", serve(n.public, timely(n.cfg.bodyTimeout, n.publicHandler())))
	return nil
}

// waitServing waits until requests are processed and clients served.
func (n *Node) waitServing(ctx context.Context, p *parts) error {
	t := time.NewTicker(10 * time.Millisecond)
	defer t.Stop()
	for {
		why := n.serving()
		if why == nil {
			return nil
		}
		n.wait.waitFor(why.Error())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-p.failed:
			return err
		case <-t.C:
		}
	}
}

// serving is nil when requests are processed and clients served.
func (n *Node) serving() error {
	if n.cfg.RegistryOnly {
		if !n.registry.Status().Ready {
			return errors.New("no leader of the registry is known: is a majority of its nodes up?")
		}
		return nil
	}
	if !n.ingress.Ready() {
		return errors.New("ingress does not know its results partition yet")
	}
	if err := n.edge.Ready(); err != nil {
		return fmt.Errorf("edge: %w", err)
	}
	have, shared := n.tasks.Status(), n.cfg.Registry.shared()
	if !shared && len(have) < int(n.topo.Partitions) {
		return fmt.Errorf("%d of %d partitions are run here", len(have), n.topo.Partitions)
	}
	for _, s := range have {
		if s.State != runtime.StateRunning && !(shared && s.State == runtime.StateStandby) {
			return fmt.Errorf("partition %d is %s %s", s.Partition, s.State, s.Reason)
		}
	}
	return nil
}

// Ready is nil when requests will be processed and clients served.
func (n *Node) Ready() error {
	switch {
	case n.stopping.Load():
		return errors.New("stopping")
	case !n.running.Load():
		return errors.New("waiting for " + n.wait.get())
	}
	return n.serving()
}

func (n *Node) close() error {
	var errs []error
	if n.clients != nil {
		n.clients.close()
	}
	if n.shared != nil {
		errs = append(errs, n.shared.Close())
	}
	if n.broker != nil {
		errs = append(errs, n.broker.Close())
	}
	return errors.Join(errs...)
}

// serve gives a part that serves HTTP until its context ends. Streams are the
// edge's to end.
func serve(l net.Listener, h http.Handler) func(context.Context) error {
	return func(ctx context.Context) error {
		s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
		ended := make(chan error, 1)
		go func() { ended <- s.Serve(l) }()
		select {
		case err := <-ended:
			return err
		case <-ctx.Done():
		}
		grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(grace); err != nil {
			s.Close() //nolint:errcheck // what is left are callers that do not read
		}
		<-ended //nolint:errcheck // the listener was closed
		return nil
	}
}

// URL is the public HTTP door's, AdminURL the operators'.
func (n *Node) URL() string      { return "http://" + n.public.Addr().String() }
func (n *Node) AdminURL() string { return "http://" + n.admin.Addr().String() }

// Kafka is where Kafka clients connect.
func (n *Node) Kafka() string {
	if n.broker != nil {
		return n.broker.Addr()
	}
	return fmt.Sprint(n.cfg.Brokers)
}

// as is how a role reaches the brokers. Roles are named as in
// topology/deploy/kafka/acls.txt.
func (n *Node) as(role string) []kgo.Opt {
	if n.cfg.as != nil {
		return n.cfg.as(role)
	}
	return n.client
}

// Client reaches the brokers; Topology is the map.
func (n *Node) Client() []kgo.Opt            { return n.client }
func (n *Node) Topology() *topology.Topology { return n.topo }
