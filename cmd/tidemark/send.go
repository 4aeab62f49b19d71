package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology"
)

// sendFlags are a request, and the door it goes through.
type sendFlags struct {
	url, kafka, apiKey         string
	instance, biz, to          string
	id, payload, binary        string
	os, minVersion, maxVersion string
	valid                      time.Duration
	global                     bool
	topology                   topologyFlags
}

func sendCommand() *cobra.Command {
	var f sendFlags
	cmd := &cobra.Command{
		Use: "send", Short: "Push one payload to a user, a device or everybody", Args: cobra.NoArgs,
		Example: `  tidemark send --instance demo_APP1 --biz UCHAT --to user42 --payload 'hello'
  tidemark send --instance demo_APP1 --biz NOTICE --global --payload 'maintenance at noon'
  tidemark send --instance demo_APP1 --biz UCHAT --to user42 --payload hello --kafka 127.0.0.1:9092`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.id == "" {
				f.id = fmt.Sprintf("send-%d", time.Now().UnixNano())
			}
			if f.kafka != "" {
				return f.overKafka(cmd.Context(), cmd.OutOrStdout())
			}
			return f.overHTTP(cmd.Context(), cmd.OutOrStdout())
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.url, "url", "http://127.0.0.1:8080", "the public HTTP door")
	fl.StringVar(&f.kafka, "kafka", "", "write to the requests topic of this broker instead of calling HTTP")
	fl.StringVar(&f.apiKey, "api-key", "", "API key of the instance, where one is required")
	fl.StringVar(&f.instance, "instance", "", "instance id (required)")
	fl.StringVar(&f.biz, "biz", "", "business, bizType (required)")
	fl.StringVar(&f.to, "to", "", "link token: user id or device id")
	fl.BoolVar(&f.global, "global", false, "push to everybody; the business must be global")
	fl.StringVar(&f.id, "id", "", "thirdMsgId; default: a new one")
	fl.StringVar(&f.payload, "payload", "", "text payload")
	fl.StringVar(&f.binary, "binary", "", "binary payload, base64")
	fl.StringVar(&f.os, "os", "", "only for iOS or Android")
	fl.StringVar(&f.minVersion, "min-version", "", "lowest app version, inclusive")
	fl.StringVar(&f.maxVersion, "max-version", "", "highest app version, inclusive")
	fl.DurationVar(&f.valid, "valid", 0, "how long it may be delivered; 0: for the retention")
	f.topology.add(cmd)
	for _, name := range []string{"instance", "biz"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err)
		}
	}
	return cmd
}

// body is the request in its JSON form, which both doors take.
func (f *sendFlags) body() ([]byte, error) {
	m := map[string]any{"instanceId": f.instance, "bizType": f.biz, "thirdMsgId": f.id}
	for name, v := range map[string]string{"linkToken": f.to, "payload": f.payload, "binaryPayload": f.binary, "osType": f.os, "appMinVersion": f.minVersion, "appMaxVersion": f.maxVersion} {
		if v != "" {
			m[name] = v
		}
	}
	if f.global {
		m["scope"] = schemas.ScopeGlobal
	}
	if f.valid > 0 {
		m["validTimeEnd"] = time.Now().Add(f.valid).UnixMilli()
	}
	return json.Marshal(m)
}

func (f *sendFlags) overHTTP(ctx context.Context, w io.Writer) error {
	body, err := f.body()
	if err != nil {
		return err
	}
	path := "/webapi/sync/single"
	if f.global {
		path = "/webapi/sync/global"
	}
	target := strings.TrimRight(f.url, "/") + path + "?instanceId=" + url.QueryEscape(f.instance)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if f.apiKey != "" {
		req.Header.Set("Authorization", "Bearer "+f.apiKey)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("call %s: %w (is tidemark running there?)", f.url, err)
	}
	defer res.Body.Close()
	var answer struct {
		Msg     string `json:"msg"`
		Success bool   `json:"success"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 4096)).Decode(&answer); err != nil {
		return fmt.Errorf("read the answer (status %s): %w", res.Status, err)
	}
	if !answer.Success {
		return fmt.Errorf("refused: %s: %s", answer.Msg, res.Header.Get("Tidemark-Reason"))
	}
	fmt.Fprintf(w, "%s  id %s  (thirdMsgId %s)\n", answer.Msg, res.Header.Get("Tidemark-Oplog-Id"), f.id)
	return nil
}

func (f *sendFlags) overKafka(ctx context.Context, w io.Writer) error {
	t, err := f.topology.topology()
	if err != nil {
		return err
	}
	body, err := f.body()
	if err != nil {
		return err
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(f.kafka, ",")...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer cl.Close()
	key := f.to
	if f.global {
		key = f.instance + "/" + f.biz
	}
	r := &kgo.Record{Topic: t.Requests.Name, Partition: topology.Partition(key, t.Partitions), Key: []byte(key), Value: body,
		Headers: []kgo.RecordHeader{{Key: schemas.HeaderContentType, Value: []byte(schemas.ContentJSON)}}}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := cl.ProduceSync(ctx, r).FirstErr(); err != nil {
		return fmt.Errorf("write to %s: %w", t.Requests.Name, err)
	}
	fmt.Fprintf(w, "written to %s partition %d offset %d  (thirdMsgId %s)\n", t.Requests.Name, r.Partition, r.Offset, f.id)
	return nil
}
