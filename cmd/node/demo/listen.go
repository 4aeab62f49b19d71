package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/cmd/node/flights"
	"github.com/tidemarkio/tidemark/connectors/client"
)

// listen starts a client for each of the busiest aircraft. Global notices wait
// for the next connect, so clients do not count them.
func (p *play) listen(ctx context.Context) error {
	tokens := flights.Tokens(p.events)
	tokens = tokens[:min(len(tokens), p.cfg.Clients)]
	listening := make(map[string]bool, len(tokens))
	for _, token := range tokens {
		listening[token] = true
		c, err := client.New(client.Config{
			URL: p.cfg.URL, InstanceID: flights.Instance, ClientKey: flights.ClientKey, DeviceID: token, UserID: token,
			Biz: []string{flights.Schedule, flights.Departure, flights.Arrival, flights.Delay}, Ack: true, Log: p.cfg.Log,
		})
		if err != nil {
			return err
		}
		p.clients.Go(func() {
			if err := c.Run(ctx, p.receive); err != nil && !errors.Is(err, context.Canceled) {
				p.cfg.Log.Warn("client ended", "aircraft", token, "err", err)
			}
		})
	}
	seen := make(map[string]bool)
	for i := range p.events {
		r := &p.events[i].Request
		if listening[r.LinkToken] && !seen[r.ThirdMsgID] {
			seen[r.ThirdMsgID] = true
			p.expected++
		}
	}
	p.report.Clients = len(tokens)
	return nil
}

// receive times what arrives.
func (p *play) receive(_ context.Context, e client.Event) error {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, op := range e.Ops {
		at, ok := p.due[op.ThirdMsgID]
		switch {
		case !ok: // an earlier play's
		case p.arrived[op.ThirdMsgID]:
			p.report.Repeated++
		default:
			p.arrived[op.ThirdMsgID] = true
			p.report.received(now.Sub(at))
		}
	}
	return nil
}

// settle waits until every listener has what it should get. What is missing
// after a while shows in the table.
func (p *play) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		p.mu.Lock()
		p.report.Missing = p.expected - p.report.Received
		done := p.report.Missing <= 0
		p.mu.Unlock()
		if done {
			return
		}
		select {
		case <-ctx.Done():
			p.cfg.Log.Warn(fmt.Sprintf("%d pushes have not arrived", p.report.Missing))
			return
		case <-tick.C:
		}
	}
}
