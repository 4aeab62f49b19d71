package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/cmd/node/flights"
	"github.com/tidemarkio/tidemark/schemas"
)

// httpDoor posts to /webapi/sync.
type httpDoor struct {
	url    string
	client *http.Client
}

func newHTTPDoor(cfg Config) *httpDoor {
	return &httpDoor{cfg.URL, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: senders}}}
}

func (*httpDoor) name() string { return "HTTP" }

func (d *httpDoor) send(ctx context.Context, e *flights.Event) (string, error) {
	r := &e.Request
	path, fields := "/webapi/sync/single", map[string]string{"bizType": r.BizType, "thirdMsgId": r.ThirdMsgID, "payload": r.Payload}
	if r.Global() {
		path = "/webapi/sync/global"
	} else {
		fields["linkToken"] = r.LinkToken
	}
	body, err := json.Marshal(fields)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url+path+"?instanceId="+url.QueryEscape(r.InstanceID), bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := d.client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var answer struct {
		Msg string `json:"msg"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 4096)).Decode(&answer); err != nil {
		return "", fmt.Errorf("read answer of status %s: %w", res.Status, err)
	}
	return answer.Msg, nil
}

// kafkaDoor writes to the requests topic, as a backend that speaks Kafka.
type kafkaDoor struct {
	cfg    Config
	client *kgo.Client
}

func newKafkaDoor(cfg Config) (*kafkaDoor, error) {
	// The client's own partitioner is Kafka's: records land where they belong.
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.ClientID("flights"), kgo.ProducerLinger(0)}, cfg.Client...)...)
	if err != nil {
		return nil, fmt.Errorf("open producer: %w", err)
	}
	return &kafkaDoor{cfg, cl}, nil
}

func (*kafkaDoor) name() string { return "Kafka" }

func (d *kafkaDoor) send(ctx context.Context, e *flights.Event) (string, error) {
	r := &kgo.Record{
		Topic: d.cfg.Topology.Requests.Name, Key: []byte(e.Request.Key()), Value: e.Request.AppendProto(nil),
		Headers: []kgo.RecordHeader{{Key: schemas.HeaderContentType, Value: []byte(schemas.ContentProtobuf)}},
	}
	return "", d.client.ProduceSync(ctx, r).FirstErr()
}

func (d *kafkaDoor) close() { d.client.Close() }
