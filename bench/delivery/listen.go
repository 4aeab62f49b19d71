package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// eventBytesMax bounds a line of a stream.
const eventBytesMax = 16 << 20

// audience are the clients that get the load.
type audience struct {
	phases []*phase
	client *http.Client
	cancel context.CancelFunc
	wg     sync.WaitGroup
	failed chan error // the first failure
}

func streamQuery(user string) string {
	return url.Values{"instanceId": {instanceID}, "deviceId": {"device-" + user}, "userId": {user}, "biz": {allBusinesses()}}.Encode()
}

// listen opens all streams and returns when each was answered.
func listen(ctx context.Context, base string, clients int, phases []*phase) (*audience, error) {
	ctx, cancel := context.WithCancel(ctx)
	a := &audience{phases: phases, client: &http.Client{Transport: &http.Transport{}}, cancel: cancel, failed: make(chan error, 1)}
	for n := range clients {
		body, err := a.open(ctx, base, userName(n))
		if err != nil {
			a.stop()
			return nil, err
		}
		a.wg.Go(func() {
			defer body.Close()
			s := stream{user: userName(n), phases: phases}
			if err := s.read(body); ctx.Err() == nil {
				a.fail(fmt.Errorf("client %s: %w", s.user, err))
			}
		})
	}
	return a, nil
}

func (a *audience) open(ctx context.Context, base, user string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/sync/stream?"+streamQuery(user), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+clientKey)
	res, err := a.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("open stream of %s: %w", user, err)
	}
	if res.StatusCode != http.StatusOK {
		res.Body.Close()
		return nil, fmt.Errorf("open stream of %s: status %s", user, res.Status)
	}
	return res.Body, nil
}

func (a *audience) fail(err error) {
	select {
	case a.failed <- err:
	default: // there is one already
	}
}

// stop ends the streams and their goroutines.
func (a *audience) stop() {
	a.cancel()
	a.wg.Wait()
	a.client.CloseIdleConnections()
}

func userName(n int) string { return fmt.Sprintf("user-%05d", n) }

// stream is one client's, with what it has got of each business.
type stream struct {
	user   string
	phases []*phase
	held   [businesses]int64
}

// read works through a stream until it ends; it never ends without an error.
func (s *stream) read(body io.Reader) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(make([]byte, 16<<10), eventBytesMax)
	var event string
	var data []byte
	for lines.Scan() {
		line := lines.Bytes()
		switch {
		case bytes.HasPrefix(line, []byte("event: ")):
			event = string(line[7:])
		case bytes.HasPrefix(line, []byte("data: ")):
			data = append(data[:0], line[6:]...)
		case len(line) == 0:
			if event == "close" {
				return fmt.Errorf("the server closed the stream: %s", data)
			}
			if event == "sync" {
				if err := s.take(data, time.Now()); err != nil {
					return err
				}
			}
			event = ""
		}
	}
	return errors.Join(errors.New("the stream ended"), lines.Err())
}

// take checks an event and times its pushes.
func (s *stream) take(data []byte, at time.Time) error {
	var e struct {
		BizType  string
		From, To int64
		Op       []struct {
			ID         int64
			ThirdMsgID string
		}
	}
	if err := json.Unmarshal(data, &e); err != nil {
		return fmt.Errorf("read event: %w", err)
	}
	biz := strings.TrimPrefix(e.BizType, "BIZ_")
	if len(biz) != 1 || biz[0] < 'A' || biz[0] >= 'A'+businesses {
		return fmt.Errorf("an event of business %q", e.BizType)
	}
	held := &s.held[biz[0]-'A']
	if e.From != *held || e.To != *held+int64(len(e.Op)) {
		return fmt.Errorf("%s: (%d, %d] with %d entries after %d", e.BizType, e.From, e.To, len(e.Op), *held)
	}
	for _, op := range e.Op {
		if *held++; op.ID != *held {
			return fmt.Errorf("%s: id %d where %d is due", e.BizType, op.ID, *held)
		}
		index, i, ok := parseMessageID(op.ThirdMsgID)
		if !ok || index >= len(s.phases) {
			return fmt.Errorf("a push that nobody sent: %q", op.ThirdMsgID)
		}
		if err := s.phases[index].arrive(i, at); err != nil {
			return err
		}
	}
	return nil
}
