package client

import (
	"bufio"
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
		return refusal(res)
	}
	return c.read(ctx, res.Body, h)
}

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
			points = append(points, biz+":"+strconv.FormatInt(id, 10))
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

// read parses the event stream (the WHATWG form, as far as the server uses it).
func (c *Client) read(ctx context.Context, body io.Reader, h Handler) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(make([]byte, 64<<10), EventBytesMax)
	var id, event string
	var data bytes.Buffer
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			if err := c.dispatch(ctx, event, id, data.Bytes(), h); err != nil {
				return err
			}
			id, event = "", ""
			data.Reset()
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "id":
			id = value
		case "event":
			event = value
		case "data":
			data.WriteString(value)
		}
	}
	return errors.Join(lines.Err(), io.ErrUnexpectedEOF)
}

// wireEvent is the data of a sync event.
type wireEvent struct {
	BizType string `json:"bizType"`
	From    int64  `json:"from"`
	To      int64  `json:"to"`
	Op      []struct {
		ID         int64  `json:"id"`
		ThirdMsgID string `json:"thirdMsgId"`
		Payload    string `json:"pl"`
		Binary     bool   `json:"isB"`
	} `json:"op"`
}

func (c *Client) dispatch(ctx context.Context, event, id string, data []byte, h Handler) error {
	switch event {
	case "sync":
		var w wireEvent
		if err := json.Unmarshal(data, &w); err != nil {
			return fmt.Errorf("read event: %w", err)
		}
		e, err := w.event()
		if err != nil {
			return err
		}
		if err := c.take(ctx, e, h); err != nil {
			return err
		}
	case "close":
		return closed(data)
	}
	if id != "" {
		c.cursor = id
	}
	return nil
}

func (w *wireEvent) event() (Event, error) {
	e := Event{BizType: w.BizType, From: w.From, To: w.To}
	for _, op := range w.Op {
		o := Op{ID: op.ID, ThirdMsgID: op.ThirdMsgID, Payload: []byte(op.Payload), Binary: op.Binary}
		if op.Binary {
			raw, err := base64.StdEncoding.DecodeString(op.Payload)
			if err != nil {
				return e, fmt.Errorf("read binary payload of %s id %d: %w", w.BizType, op.ID, err)
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
