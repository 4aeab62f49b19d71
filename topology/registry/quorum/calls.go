package quorum

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// Members call each other over HTTP, beside Raft's own traffic. A call is a
// POST of its name; the body and the answer are the call's own.

const (
	maxCallBytes = registry.MaxCommandBytes + 4096
	callIdle     = 2 * time.Minute
)

// calls are what a member answers.
func (n *Node) calls() map[string]func(context.Context, []byte) (any, error) {
	return map[string]func(context.Context, []byte) (any, error){
		"propose": n.servePropose,
		"read":    n.serveRead,
		"vouch":   n.serveVouch,
		"status":  n.serveStatus,
		"member":  n.serveMember,
	}
}

func (n *Node) startCalls() {
	mux := http.NewServeMux()
	for name, serve := range n.calls() {
		mux.HandleFunc("POST /"+name, func(w http.ResponseWriter, r *http.Request) {
			if !n.enter() {
				http.Error(w, ErrClosed.Error(), http.StatusServiceUnavailable)
				return
			}
			defer n.wg.Done()
			body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCallBytes))
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			reply, err := serve(r.Context(), body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(reply) // the caller has gone if it fails, and asks again
		})
	}
	n.server = &http.Server{
		Handler: mux, ReadHeaderTimeout: greetTimeout, IdleTimeout: callIdle,
		BaseContext: func(net.Listener) context.Context { return n.ctx },
	}
	n.client = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			conn, err := n.wire.dial(ctx, address, wireCalls)
			if err != nil {
				return nil, &dialError{err}
			}
			return conn, nil
		},
		MaxIdleConnsPerHost: 16, IdleConnTimeout: callIdle / 2, DisableCompression: true,
	}}
	n.wg.Go(func() { _ = n.server.Serve(n.wire.side(n.wire.calls)) }) // ends when the node closes it
}

// enter counts the caller's goroutine as the node's, unless it closes.
func (n *Node) enter() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.closing {
		n.wg.Add(1)
	}
	return !n.closing
}

// dialError says that a member was not reached, so that it has got nothing.
type dialError struct{ error }

func (e *dialError) Unwrap() error { return e.error }

// unsent reports whether a failed call is certain not to have gone out.
func unsent(err error) bool {
	var dial *dialError
	return errors.As(err, &dial)
}

// call asks another member, which should know at once.
func (n *Node) call(ctx context.Context, address, name string, body []byte, reply any) error {
	ctx, cancel := context.WithTimeout(ctx, raftTimeout)
	defer cancel()
	return n.callLong(ctx, address, name, body, reply)
}

// callLong asks another member for what may take as long as ctx lasts.
func (n *Node) callLong(ctx context.Context, address, name string, body []byte, reply any) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(n.ctx, cancel)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/"+name, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("call %s of registry member %s: %w", name, address, err)
	}
	resp, err := n.client.Do(req)
	if err != nil {
		return fmt.Errorf("call %s of registry member %s: %w", name, address, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxCallBytes))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(b))
	}
	if err == nil {
		err = json.Unmarshal(b, reply)
	}
	if err != nil {
		return fmt.Errorf("call %s of registry member %s: %w", name, address, err)
	}
	return nil
}
