package client

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// stream opens the SSE stream and works through it until it ends.
func (c *Client) stream(ctx context.Context, h Handler) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.cfg.URL+"/sync/stream?"+c.query().Encode(), nil)
	if err != nil {
		return &CloseError{Reason: err.Error()}
	}
	c.authorize(req)
	if c.cursor != "" {
		req.Header.Set("Last-Event-ID", c.cursor)
	}
	res, err := c.cfg.HTTP.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s > 0 {
			c.hint = min(time.Duration(min(s, int(HintMax/time.Second)))*time.Second, HintMax)
		}
		return refusal(res)
	}
	if err := c.keep(res); err != nil {
		return err
	}
	if err := c.settle(ctx); err != nil {
		return err
	}
	return c.read(ctx, res.Body, h)
}

// Headers of who the client is; the credential goes both ways.
const (
	userTokenHeader        = "Tidemark-User-Token"
	deviceCredentialHeader = "Tidemark-Device-Credential"
)

func (c *Client) query() url.Values {
	q := url.Values{"instanceId": {c.cfg.InstanceID}, "deviceId": {c.cfg.DeviceID}, "biz": {strings.Join(c.cfg.Biz, ",")}}
	for name, v := range map[string]string{"userId": c.cfg.UserID, "sessionId": c.cfg.SessionID, "os": c.cfg.OS, "appVersion": c.cfg.AppVersion} {
		if v != "" {
			q.Set(name, v)
		}
	}
	if len(c.points) > 0 {
		var points []string
		for biz, id := range c.points {
			point := biz + ":" + strconv.FormatInt(id, 10)
			if n := c.rewinds[biz]; n > 0 {
				point += "@" + strconv.FormatInt(n, 10)
			}
			points = append(points, point)
		}
		slices.Sort(points)
		q.Set("syncPoints", strings.Join(points, ","))
	}
	return q
}

func (c *Client) authorize(req *http.Request) {
	if c.cfg.ClientKey != "" {
		req.Header.Set("Authorization", "Bearer "+c.cfg.ClientKey)
	}
	if c.cfg.UserToken != "" {
		req.Header.Set(userTokenHeader, c.cfg.UserToken)
	}
	if c.cfg.DeviceCredential != "" {
		req.Header.Set(deviceCredentialHeader, c.cfg.DeviceCredential)
	}
}

// keep takes the credential that a server gives a new device.
func (c *Client) keep(res *http.Response) error {
	given := res.Header.Get(deviceCredentialHeader)
	if given == "" || given == c.cfg.DeviceCredential {
		return nil
	}
	if c.cfg.KeepCredential != nil {
		if err := c.cfg.KeepCredential(given); err != nil {
			return &handlerError{fmt.Errorf("keep the device's credential: %w", err)}
		}
	}
	c.cfg.DeviceCredential = given
	return nil
}

// refusal is final for what the client did wrong, and worth another try for
// everything else.
func refusal(res *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(res.Body, 1024)) //nolint:errcheck // for people only
	reason := strings.TrimSpace(string(body))
	if res.StatusCode >= 400 && res.StatusCode < 500 && res.StatusCode != http.StatusTooManyRequests && res.StatusCode != http.StatusRequestTimeout {
		return &CloseError{Status: res.StatusCode, Reason: reason}
	}
	return fmt.Errorf("server answered %d: %s", res.StatusCode, reason)
}

// read works through an event stream until it ends; it never ends without an
// error.
func (c *Client) read(ctx context.Context, body io.Reader, h Handler) error {
	r := newReader(body)
	for {
		e, err := r.next()
		if err != nil {
			return err
		}
		if e.retry > 0 {
			c.hint = min(e.retry, HintMax)
		}
		if err := c.dispatch(ctx, e, h); err != nil {
			return err
		}
	}
}

// wireEvent is the data of a sync event.
type wireEvent struct {
	BizType string `json:"bizType"`
	From    int64  `json:"from"`
	To      int64  `json:"to"`
	Rewind  int64  `json:"rewind"`
	Op      []struct {
		ID         int64  `json:"id"`
		ThirdMsgID string `json:"thirdMsgId"`
		Payload    string `json:"pl"`
		Binary     bool   `json:"isB"`
	} `json:"op"`
}

func (c *Client) dispatch(ctx context.Context, m message, h Handler) error {
	switch m.event {
	case "sync":
		var w wireEvent
		if err := json.Unmarshal(m.data, &w); err != nil {
			return fmt.Errorf("%w: read event: %w", ErrData, err)
		}
		e, err := w.event()
		if err != nil {
			return err
		}
		if err := c.take(ctx, e, h); err != nil {
			return err
		}
	case "unbound":
		c.cfg.Log.Warn("the user is bound no more: run again with a new UserToken", "cause", string(m.data))
	case "close":
		return closed(m.data)
	}
	if m.id != "" {
		c.cursor = m.id
	}
	return nil
}

// event checks what the server says against what it promises.
func (w *wireEvent) event() (Event, error) {
	e := Event{BizType: w.BizType, From: w.From, To: w.To, Rewind: w.Rewind}
	if w.BizType == "" || w.From < 0 || w.To < w.From || w.Rewind < 0 {
		return e, fmt.Errorf("%w: an event of business %q that covers (%d, %d]", ErrData, w.BizType, w.From, w.To)
	}
	last := w.From
	for _, op := range w.Op {
		if op.ID <= last || op.ID > w.To {
			return e, fmt.Errorf("%w: %s has id %d after %d in an event that covers (%d, %d]", ErrData, w.BizType, op.ID, last, w.From, w.To)
		}
		last = op.ID
		o := Op{ID: op.ID, ThirdMsgID: op.ThirdMsgID, Payload: []byte(op.Payload), Binary: op.Binary}
		if op.Binary {
			raw, err := base64.StdEncoding.DecodeString(op.Payload)
			if err != nil {
				return e, fmt.Errorf("%w: read binary payload of %s id %d: %w", ErrData, w.BizType, op.ID, err)
			}
			o.Payload = raw
		}
		e.Ops = append(e.Ops, o)
	}
	return e, nil
}

// closed reads a close event. One that carries retry asks us to come back.
func closed(data []byte) error {
	var w struct {
		Reason string `json:"reason"`
		Retry  bool   `json:"retry"`
	}
	if json.Unmarshal(data, &w) != nil {
		w.Reason = string(data)
	}
	if w.Retry {
		return errors.New("server asks to connect again: " + w.Reason)
	}
	return &CloseError{Reason: w.Reason}
}

// Ack moves the server's record of what this device holds of a business. The
// target is the device's, or for a user business the bound user's.
func (c *Client) Ack(ctx context.Context, biz string, to int64) error {
	body, err := json.Marshal(map[string]any{
		"instanceId": c.cfg.InstanceID, "deviceId": c.cfg.DeviceID, "userId": c.cfg.UserID, "bizType": biz, "to": to,
		"rewind": max(1, c.rewinds[biz]), // 1: we know of rewinds, and have seen none
	})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.cfg.URL+"/sync/ack", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	c.authorize(req)
	res, err := c.cfg.HTTP.Do(req)
	if err != nil {
		return fmt.Errorf("acknowledge %s %d: %w", biz, to, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("acknowledge %s %d: %w", biz, to, refusal(res))
	}
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, 1024))
	return err
}
