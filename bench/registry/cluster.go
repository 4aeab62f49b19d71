package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidemarkio/tidemark/bench/broker"
	"github.com/tidemarkio/tidemark/bench/child"
	"github.com/tidemarkio/tidemark/topology"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// The config that changes, and its instance.
const (
	probeInstance = "bench_APP1"
	probeBusiness = "PROBE"
)

// cluster is a quorum of three `tidemark registry run` and a `tidemark
// processor`, each a process.
type cluster struct {
	program   string
	kafka     *broker.Broker
	topo      *topology.Topology
	members   []*member
	processor *child.Child
	prober    *prober
	ever      []*child.Child // all that were started, for what they used
	stopped   bool
}

// member is a node of the quorum.
type member struct {
	*admin
	id, log string
	args    []string
	child   *child.Child
}

func localAddresses(n int) ([]string, error) {
	ports, err := broker.FreePorts(n)
	if err != nil {
		return nil, err
	}
	all := make([]string, n)
	for i, p := range ports {
		all[i] = fmt.Sprintf("127.0.0.1:%d", p)
	}
	return all, nil
}

func startCluster(ctx context.Context, program, dir string, kafka *broker.Broker) (c *cluster, err error) {
	c = &cluster{program: program, kafka: kafka}
	if c.topo, err = topology.New(topology.Config{}); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.kill())
		}
	}()
	at, err := localAddresses(2*3 + 1)
	if err != nil {
		return c, err
	}
	var peers []string
	for i := range 3 {
		peers = append(peers, fmt.Sprintf("r%d=%s", i+1, at[i]))
	}
	for i := range 3 {
		id := fmt.Sprint("r", i+1)
		m := &member{admin: newAdmin("http://"+at[3+i], ""), id: id, log: filepath.Join(dir, id+".log"), args: []string{
			"registry", "run", "--brokers", strings.Join(kafka.Addrs(), ","), "--data-dir", filepath.Join(dir, id), "--admin", at[3+i],
			"--registry-id", id, "--registry-listen", at[i], "--registry-peers", strings.Join(peers, ","),
		}}
		if err := os.MkdirAll(filepath.Join(dir, id), 0o750); err != nil {
			return c, err
		}
		c.members = append(c.members, m)
		if err := c.launch(m); err != nil {
			return c, err
		}
	}
	for _, m := range c.members {
		if err := m.waitReady(ctx, m.child); err != nil {
			return c, err
		}
	}
	return c, c.startProcessor(ctx, dir, at[6])
}

// startProcessor runs the tasks, makes the config, and waits until every
// partition answers requests by it.
func (c *cluster) startProcessor(ctx context.Context, dir, address string) (err error) {
	c.processor, err = child.Start(child.Config{Name: "tidemark processor", Path: c.program, LogFile: filepath.Join(dir, "processor.log"), Args: []string{
		"processor", "--brokers", strings.Join(c.kafka.Addrs(), ","), "--data-dir", filepath.Join(dir, "processor"),
		"--cluster-key-file", filepath.Join(dir, "r1", "cluster.key"), "--admin", address,
	}})
	if err != nil {
		return err
	}
	c.ever = append(c.ever, c.processor)
	if err := newAdmin("http://"+address, "").waitReady(ctx, c.processor); err != nil {
		return err
	}
	if err := c.members[0].post(ctx, "/instances", map[string]string{"id": probeInstance}); err != nil {
		return err
	}
	err = c.members[0].post(ctx, "/instances/"+probeInstance+"/sync", map[string]any{"bizType": probeBusiness, "scope": "specified", "target": "user", "online": true})
	if err != nil {
		return err
	}
	if c.prober, err = newProber(c.kafka.Addrs(), c.topo); err != nil {
		return err
	}
	_, _, err = c.prober.settled(ctx, true)
	return err
}

// launch starts a member's process.
func (c *cluster) launch(m *member) (err error) {
	m.child, err = child.Start(child.Config{Name: "tidemark registry run " + m.id, Path: c.program, Args: m.args, LogFile: m.log})
	if err == nil {
		c.ever = append(c.ever, m.child)
	}
	return err
}

// setOnline changes the config through a member.
func (m *member) setOnline(ctx context.Context, online, wait bool) error {
	_, err := m.turn(ctx, online, wait)
	return err
}

// turn is setOnline, and gives the revision of the registry after it.
func (m *member) turn(ctx context.Context, online, wait bool) (revision int64, err error) {
	word := "offline"
	if online {
		word = "online"
	}
	var changed struct {
		Revision int64 `json:"revision"`
	}
	err = m.call(ctx, http.MethodPost, fmt.Sprintf("/instances/%s/sync/%s/%s?wait=%t", probeInstance, probeBusiness, word, wait), "", nil, &changed)
	return changed.Revision, err
}

// roles asks until somebody says who leads, and splits the members by it.
func (c *cluster) roles(ctx context.Context) (leader *member, followers []*member, err error) {
	for {
		leader, followers = nil, nil
		var s registry.Status
		err = c.members[0].call(ctx, http.MethodGet, "/registry/status", "", nil, &s)
		for _, m := range c.members {
			if err == nil && m.id == s.Leader {
				leader = m
			} else {
				followers = append(followers, m)
			}
		}
		if leader != nil {
			return leader, followers, nil
		}
		select {
		case <-ctx.Done():
			return nil, nil, errors.Join(fmt.Errorf("nobody leads: %w", ctx.Err()), err)
		case <-time.After(readyPoll):
		}
	}
}

// used is the CPU time of Kafka and of all processes of ours, ended ones too.
func (c *cluster) used() (kafka, tidemark time.Duration, err error) {
	u, err := c.kafka.Usage()
	for _, p := range c.ever {
		of, err2 := p.Usage()
		tidemark, err = tidemark+of.CPU, errors.Join(err, err2)
	}
	return u.CPU, tidemark, err
}

// stop ends all in order.
func (c *cluster) stop() error {
	if c.stopped {
		return nil
	}
	c.stopped = true
	c.prober.close()
	err := errors.Join(c.processor.Stop(stopGrace), c.processor.Err())
	for _, m := range c.members {
		err = errors.Join(err, m.child.Stop(stopGrace), m.child.Err())
	}
	return err
}

// kill ends all that was started.
func (c *cluster) kill() (err error) {
	if c.prober != nil {
		c.prober.close()
	}
	for _, p := range c.ever {
		err = errors.Join(err, p.Kill())
	}
	return err
}
