package demo

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/cmd/node/flights"
	"github.com/tidemarkio/tidemark/topology"
)

// Limits of a play.
const (
	DefaultClients   = 40
	DefaultPerSecond = 500
	senders          = 16
	settleTimeout    = 30 * time.Second
)

// Config of a play.
type Config struct {
	// URL is the public HTTP door. Required.
	URL string
	// Client reaches the brokers. Required.
	Client []kgo.Opt
	// Topology is the map. Required.
	Topology *topology.Topology
	// Clients is how many aircraft have somebody listening; default 40.
	Clients int
	// PerSecond is the pace; default 500 requests a second.
	PerSecond int
	// Events ends the day after so many; default: the whole day.
	Events int
	// Run is appended to every thirdMsgId, so that a second play is not all
	// duplicates; empty: the day as it is.
	Run string
	// Out gets the progress bar and the table.
	Out io.Writer
	// Log is where clients report.
	Log *slog.Logger
}

// Play plays the day.
func Play(ctx context.Context, cfg Config) (*Report, error) {
	if cfg.Clients == 0 {
		cfg.Clients = DefaultClients
	}
	if cfg.PerSecond == 0 {
		cfg.PerSecond = DefaultPerSecond
	}
	events, err := flights.Day()
	if err != nil {
		return nil, err
	}
	if cfg.Events > 0 {
		events = events[:min(cfg.Events, len(events))]
	}
	for i := range events {
		events[i].Request.ThirdMsgID += cfg.Run
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := &play{cfg: cfg, events: events, report: newReport(), due: make(map[string]time.Time), arrived: make(map[string]bool)}
	count, err := startCount(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := p.listen(ctx); err != nil {
		return nil, err
	}
	began := time.Now()
	if err := p.send(ctx); err != nil {
		return nil, err
	}
	p.report.Took = time.Since(began)
	if p.report.Entries, err = count.finish(ctx); err != nil {
		return nil, err
	}
	p.settle(ctx)
	cancel()
	p.clients.Wait()
	return p.report, nil
}

type play struct {
	cfg     Config
	events  []flights.Event
	clients sync.WaitGroup

	mu       sync.Mutex
	report   *Report
	due      map[string]time.Time // thirdMsgId → when it was first due
	arrived  map[string]bool      // thirdMsgIds that a listener has
	expected int                  // pushes that listeners should have had
}

// dueEvent is an event and when it is to be sent.
type dueEvent struct {
	*flights.Event
	at time.Time
}

// send writes all events, each target's in order: a target has one sender and
// one door.
func (p *play) send(ctx context.Context) error {
	bar := newProgress(p.cfg.Out, len(p.events))
	kafka, err := newKafkaDoor(p.cfg)
	if err != nil {
		return err
	}
	defer kafka.close()
	doors := []door{newHTTPDoor(p.cfg), kafka}
	lanes := make([]chan dueEvent, senders)
	errs := make(chan error, senders)
	var wg sync.WaitGroup
	for i := range lanes {
		lanes[i] = make(chan dueEvent, 64)
		wg.Go(func() { errs <- p.lane(ctx, doors[i%2], lanes[i], bar) })
	}
	err = p.pace(ctx, lanes)
	for _, l := range lanes {
		close(l)
	}
	wg.Wait()
	close(errs)
	for e := range errs {
		err = errors.Join(err, e)
	}
	bar.end()
	return err
}

// pace hands the events to their lanes at the configured rate.
func (p *play) pace(ctx context.Context, lanes []chan dueEvent) error {
	began := time.Now()
	for i := range p.events {
		due := began.Add(time.Duration(i) * time.Second / time.Duration(p.cfg.PerSecond))
		if wait := time.Until(due); wait > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(wait):
			}
		}
		e := dueEvent{&p.events[i], due}
		h := fnv.New32a()
		h.Write([]byte(e.Request.Key())) //nolint:errcheck // never fails
		select {
		case lanes[h.Sum32()%uint32(len(lanes))] <- e:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// door takes a request and says what became of it; a door without answers
// says "".
type door interface {
	name() string
	send(ctx context.Context, e *flights.Event) (code string, err error)
}

func (p *play) lane(ctx context.Context, d door, events <-chan dueEvent, bar progress) error {
	var failed error
	for e := range events {
		if failed != nil {
			continue // let the pacer finish
		}
		p.note(e)
		code, err := d.send(ctx, e.Event)
		if err != nil {
			failed = fmt.Errorf("%s door: %w", d.name(), err)
			continue
		}
		p.mu.Lock()
		p.report.answered(d.name(), code, time.Since(e.at))
		p.mu.Unlock()
		bar.add()
	}
	return failed
}

// note remembers when a request was first due: a wait in its lane is part of
// how long it took.
func (p *play) note(e dueEvent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.due[e.Request.ThirdMsgID]; !ok {
		p.due[e.Request.ThirdMsgID] = e.at
	}
}
