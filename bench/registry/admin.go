package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/tidemarkio/tidemark/bench/child"
)

// Time limits around a node.
const (
	readyLimit = time.Minute
	readyPoll  = 2 * time.Millisecond
	stopGrace  = 30 * time.Second
)

// admin speaks to a node's admin door.
type admin struct {
	url    string
	token  string // empty: the door is open
	client *http.Client
}

func newAdmin(url, token string) *admin {
	return &admin{url, token, &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 16}}}
}

// call makes a call of the API; out, if not nil, is filled from the answer.
func (a *admin) call(ctx context.Context, method, path, contentType string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, a.url+"/api/v1"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	res, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %.300s", method, path, res.Status, text)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

func (a *admin) post(ctx context.Context, path string, in any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return a.call(ctx, http.MethodPost, path, "application/json", body, nil)
}

// waitReady returns when /readyz says so, or the process has ended.
func (a *admin) waitReady(ctx context.Context, c *child.Child) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	last := errors.New("nothing answered")
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+"/readyz", nil)
		if err != nil {
			return err
		}
		if res, err := a.client.Do(req); err == nil {
			text, _ := io.ReadAll(io.LimitReader(res.Body, 500)) // what came is told if it is never ready
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
			last = fmt.Errorf("%s", text)
		}
		select {
		case <-c.Done():
			return c.Explain(errors.New("the program ended while starting"))
		case <-ctx.Done():
			return c.Explain(fmt.Errorf("not ready: %w; it said: %w", ctx.Err(), last))
		case <-time.After(readyPoll):
		}
	}
}
