package node

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	sasl "github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/tidemarkio/tidemark/processor/runtime"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology"
)

// deployDir holds what operators are given.
const deployDir = "../../topology/deploy"

// undrawn are metrics that no panel shows, each with the reason.
var undrawn = map[string]string{}

// expression is a query of the dashboard or the rules.
type expression struct{ where, text string }

// dashboard reads the queries of the panels.
func dashboard(t *testing.T) (all []expression) {
	t.Helper()
	var d struct {
		UID    string
		Panels []struct {
			Type, Title, Description string
			Targets                  []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(read(t, "grafana/tidemark.json"), &d); err != nil {
		t.Fatal(err)
	}
	for _, p := range d.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q has no query", p.Title)
		}
		for _, q := range p.Targets {
			all = append(all, expression{"panel " + p.Title, q.Expr})
		}
	}
	return all
}

type alertRule struct {
	Alert, Expr, For string
	Labels           map[string]string
	Annotations      map[string]string
}

func alertRules(t *testing.T) (all []alertRule) {
	t.Helper()
	var f struct {
		Groups []struct {
			Name  string
			Rules []alertRule
		}
	}
	if err := yaml.UnmarshalWithOptions(read(t, "prometheus/alerts.yaml"), &f, yaml.DisallowUnknownField()); err != nil {
		t.Fatal(err)
	}
	for _, g := range f.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(deployDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// catalogue is what a running node exposes: metrics, and the values of their
// labels.
type catalogue map[string]map[string][]string

// catalogueOf reads it once everything is there that a busy node has.
func catalogueOf(t *testing.T, n *Node) catalogue {
	t.Helper()
	apply(t, n, "instances:\n  - {id: app0, clientKey: ck, sync: [{bizType: B0, scope: specified, target: user}]}\n")
	pushHTTP(t, n, "app0", "B0", "user1", "m1")
	var c catalogue
	eventually(t, "checkpoints and ticks", func() (string, bool) {
		c = catalogue{}
		families, err := n.metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			labels := make(map[string][]string)
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					labels[l.GetName()] = append(labels[l.GetName()], l.GetValue())
				}
			}
			c[f.GetName()] = labels
			if f.GetType().String() == "HISTOGRAM" {
				c[f.GetName()+"_bucket"] = map[string][]string{"le": nil}
			}
		}
		return fmt.Sprint(len(c), " metrics"), c["tidemark_control_tick_timestamp_seconds"] != nil && c["tidemark_processor_checkpoint_timestamp_seconds"] != nil
	})
	c["up"] = nil // Prometheus' own
	return c
}

var (
	// metricUse is a metric in an expression, with its matchers if it has any.
	metricUse = regexp.MustCompile(`\b(tidemark_\w+|process_\w+|go_\w+|up)\b(?:\{([^}]*)\})?`)
	// matcher is one of them.
	matcher = regexp.MustCompile(`(\w+)(=~|!~|!=|=)"([^"]*)"`)
	// grouping names labels to keep.
	grouping = regexp.MustCompile(`\bby \(([^)]*)\)`)
)

// target are the labels that Prometheus adds itself.
var target = []string{"job", "instance", "le"}

// check finds what an expression names and a node does not have.
func (c catalogue) check(e expression) (wrong []string) {
	if strings.Count(e.text, "(") != strings.Count(e.text, ")") || strings.Count(e.text, "{") != strings.Count(e.text, "}") {
		wrong = append(wrong, e.where+": brackets do not match: "+e.text)
	}
	known := slices.Clone(target)
	uses := metricUse.FindAllStringSubmatch(e.text, -1)
	if len(uses) == 0 {
		wrong = append(wrong, e.where+": no metric in "+e.text)
	}
	for _, use := range uses {
		name, matchers := use[1], use[2]
		labels, ok := c[name]
		if !ok {
			wrong = append(wrong, fmt.Sprintf("%s: no running node has %s", e.where, name))
			continue
		}
		known = slices.AppendSeq(known, maps.Keys(labels))
		for _, m := range matcher.FindAllStringSubmatch(matchers, -1) {
			label, op, want := m[1], m[2], m[3]
			if slices.Contains(target, label) {
				continue
			}
			if _, ok := labels[label]; !ok {
				wrong = append(wrong, fmt.Sprintf("%s: %s has no label %s", e.where, name, label))
				continue
			}
			for _, value := range strings.Split(want, "|") {
				if (op == "=" || op == "=~") && !slices.Contains(labels[label], value) {
					wrong = append(wrong, fmt.Sprintf("%s: %s never has %s=%q", e.where, name, label, value))
				}
			}
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(e.text, -1) {
		for label := range strings.SplitSeq(g[1], ",") {
			if label = strings.TrimSpace(label); !slices.Contains(known, label) {
				wrong = append(wrong, fmt.Sprintf("%s: nothing there has the label %s to group by", e.where, label))
			}
		}
	}
	return wrong
}

// TestDashboardAndAlertsNameWhatANodeHas, and the dashboard all of it.
func TestDashboardAndAlertsNameWhatANodeHas(t *testing.T) {
	n, _ := readyNode(t, func(c *Config) { c.TickEvery = 20 * time.Millisecond; c.CheckpointEvery = 20 * time.Millisecond })
	c := catalogueOf(t, n)
	panels, rules := dashboard(t), alertRules(t)
	if len(panels) < 40 || len(rules) < 20 {
		t.Fatalf("%d queries and %d rules: were they read?", len(panels), len(rules))
	}
	drawn := make(map[string]bool)
	for _, e := range panels {
		for _, wrong := range c.check(e) {
			t.Error(wrong)
		}
		for _, use := range metricUse.FindAllStringSubmatch(e.text, -1) {
			drawn[use[1]], drawn[strings.TrimSuffix(use[1], "_bucket")] = true, true
		}
	}
	for _, r := range rules {
		for _, wrong := range c.check(expression{"alert " + r.Alert, r.Expr}) {
			t.Error(wrong)
		}
		if s := r.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("alert %s: severity %q: critical (wake someone) or warning (today)", r.Alert, s)
		}
		for _, a := range []string{"summary", "description", "action"} {
			if r.Annotations[a] == "" {
				t.Errorf("alert %s has no %s", r.Alert, a)
			}
		}
		if _, err := time.ParseDuration(r.For); r.For != "" && err != nil {
			t.Errorf("alert %s: for: %v", r.Alert, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c)) {
		_, excused := undrawn[name]
		switch ours := strings.HasPrefix(name, "tidemark_") && !strings.HasSuffix(name, "_bucket"); {
		case ours && !drawn[name] && !excused:
			t.Errorf("%s is in no panel: draw it, or list it in undrawn with the reason", name)
		case excused && drawn[name]:
			t.Errorf("%s is drawn: take it off the list", name)
		}
	}
	for name := range undrawn {
		if c[name] == nil {
			t.Errorf("undrawn lists %s, which no node has", name)
		}
	}

	// The check itself can fail.
	for text, want := range map[string]string{
		`sum(tidemark_processor_lost_total)`:                               "no running node has",
		`tidemark_processor_partitions{state="asleep"}`:                    "never has state",
		`tidemark_processor_partitions{mood="good"}`:                       "no label mood",
		`sum by (colour) (tidemark_processor_in_flight)`:                   "label colour",
		`sum(tidemark_processor_in_flight`:                                 "brackets",
		`rate(tidemark_edge_closed_total{code=~"4103|4999"}[5m])`:          "4999",
		`histogram_quantile(0.5, tidemark_processor_decided_total_bucket)`: "no running node has",
	} {
		if wrong := strings.Join(c.check(expression{"x", text}), "\n"); !strings.Contains(wrong, want) {
			t.Errorf("%s: got %q, want a complaint with %q", text, wrong, want)
		}
	}
}

// right is one line of the ACL list.
type right struct {
	role, name string
	resource   kmsg.ACLResourceType
	operation  kmsg.ACLOperation
}

func rights(t *testing.T) (all []right) {
	t.Helper()
	for line := range strings.Lines(string(read(t, "kafka/acls.txt"))) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Fields(line)
		if len(f) < 5 {
			t.Fatalf("%q: want role, resource, name, operation and why", line)
		}
		resource, err := kmsg.ParseACLResourceType(f[1])
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		operation, err := kmsg.ParseACLOperation(f[3])
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, right{f[0], f[2], resource, operation})
	}
	return all
}

// guarded is a broker that lets each role do what the list says, and nothing
// else.
func guarded(t *testing.T, all []right) (as func(role string) []kgo.Opt, address string) {
	t.Helper()
	const prefix = "tidemark."
	users := make(map[string][]kfake.ACL)
	for _, r := range all {
		users[r.role] = append(users[r.role], kfake.ACL{
			Resource: r.resource, Name: prefix + r.name, Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: r.operation, Allow: true,
		})
	}
	opts := []kfake.Opt{kfake.NumBrokers(1), kfake.EnableSASL(), kfake.EnableACLs()}
	for role, acls := range users {
		opts = append(opts, kfake.User("PLAIN", role, "secret of "+role, acls...))
	}
	cluster, err := kfake.NewCluster(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	address = cluster.ListenAddrs()[0]
	return func(role string) []kgo.Opt {
		return []kgo.Opt{kgo.SeedBrokers(address), kgo.SASL(sasl.Plain(func(context.Context) (sasl.Auth, error) {
			return sasl.Auth{User: role, Pass: "secret of " + role}, nil
		}))}
	}, address
}

// member is a client of the broker that puts records where they say.
func member(t *testing.T, opts []kgo.Opt, more ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(slices.Concat(opts, more, []kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner())})...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// wantRecord reads a topic until a record with the text in its value comes.
func wantRecord(t *testing.T, opts []kgo.Opt, topic topology.Topic, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client := member(t, opts, kgo.ConsumeTopics(topic.Name), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()))
	for {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("no record with %s on %s: %v", text, topic.Name, err)
		}
		for _, r := range fetches.Records() {
			if bytes.Contains(r.Value, []byte(text)) {
				return
			}
		}
	}
}

func wantSeries(t *testing.T, n *Node, series string, least float64) {
	t.Helper()
	eventually(t, fmt.Sprint(series, " is at least ", least), func() (string, bool) {
		v := scrape(t, n)[series]
		return fmt.Sprint(v), v >= least
	})
}

func post(t *testing.T, url, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer ck")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if answer, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
		t.Fatalf("POST %s: %s %s", url, res.Status, answer)
	}
}

func get(t *testing.T, url string) io.ReadCloser {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer ck")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s", url, res.Status)
	}
	return res.Body
}

// readUntil reads lines until one has the text.
func readUntil(r io.ReadCloser, text string) error {
	late := time.AfterFunc(time.Minute, func() { r.Close() })
	defer late.Stop()
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if strings.Contains(lines.Text(), text) {
			return nil
		}
	}
	return fmt.Errorf("no line with %s came: %w", text, lines.Err())
}

// TestTheACLListIsEnough: a whole node works when each of its roles may do
// what the list says and nothing else.
func TestTheACLListIsEnough(t *testing.T) {
	all := rights(t)
	as, address := guarded(t, all)
	with := func(c *Config) {
		c.Brokers, c.as = []string{address}, as
		c.CheckpointEvery = 20 * time.Millisecond
	}
	n, stop := readyNode(t, with)
	apply(t, n, `instances:
  - id: app0
    clientKey: ck
    sync:
      - {bizType: B0, scope: specified, target: user, multiDevice: true}
      - {bizType: G0, scope: global, target: user, multiDevice: true}
`)
	client := connect(t, n, "app0", "B0", "user1", "phone")
	defer client.Close()
	eventually(t, "tasks read presence", func() (string, bool) {
		answer := pushHTTP(t, n, "app0", "B0", "user1", fmt.Sprint("online", time.Now().UnixNano()))
		return answer, strings.Contains(answer, string(schemas.Success))
	})

	// A backend pushes through Kafka: a good request, a bad one, one on the
	// wrong partition, and a global one.
	producer := member(t, as("producer"))
	topic := n.Topology().Requests.Name
	right := n.Topology().Of("user1")
	for _, r := range []*kgo.Record{
		{Topic: topic, Partition: right, Value: []byte(`{"instanceId":"app0","bizType":"B0","linkToken":"user1","thirdMsgId":"m2","payload":"x"}`)},
		{Topic: topic, Partition: right, Value: []byte(`{"instanceId":"app0","bizType":"none","linkToken":"user1","thirdMsgId":"m3","payload":"x"}`)},
		{Topic: topic, Partition: 1 - right, Value: []byte(`{"instanceId":"app0","bizType":"B0","linkToken":"user1","thirdMsgId":"m4","payload":"x"}`)},
		{Topic: topic, Partition: n.Topology().Of("app0/G0"), Value: []byte(`{"instanceId":"app0","bizType":"G0","scope":"global","thirdMsgId":"g1","payload":"x"}`)},
	} {
		if err := producer.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	wantRecord(t, as("producer"), n.Topology().Rejects, "m3")
	wantRecord(t, as("reader"), n.Topology().Oplog, "m4")
	wantRecord(t, as("reader"), n.Topology().Broadcast, "g1")
	wantSeries(t, n, "tidemark_edge_entries_delivered_total", 3)

	// A client acknowledges; the view reads it back. An operator watches.
	post(t, n.URL()+"/sync/ack", `{"instanceId":"app0","deviceId":"phone","userId":"user1","bizType":"B0","to":1}`)
	eventually(t, "the sync point is read back", func() (string, bool) {
		at := n.edge.Partitions()[right].Acks
		return fmt.Sprint("at ", at), at > 0
	})
	tail := get(t, n.AdminURL()+"/api/v1/oplog/tail?last=0")
	defer tail.Close()
	pushHTTP(t, n, "app0", "B0", "user1", "m5")
	if err := readUntil(tail, "m5"); err != nil {
		t.Errorf("the oplog's tail: %v", err)
	}
	for partition := range n.Topology().Partitions {
		wantSeries(t, n, fmt.Sprintf("tidemark_processor_checkpoint_timestamp_seconds{partition=%q}", fmt.Sprint(partition)), 1)
	}
	for _, series := range []string{"tidemark_edge_ack_errors_total", "tidemark_edge_presence_errors_total", "tidemark_control_failures_total"} {
		if v := scrape(t, n)[series]; v != 0 {
			t.Errorf("%s is %v", series, v)
		}
	}

	// Its disk is lost: it is restored from the topics.
	tail.Close()
	client.Close()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(n.cfg.dir("state")); err != nil {
		t.Fatal(err)
	}
	restored, _ := readyNode(t, with, func(c *Config) { c.DataDir = n.cfg.DataDir })
	eventually(t, "both partitions are far on", func() (string, bool) {
		all := restored.tasks.Status()
		return fmt.Sprint(all), !slices.ContainsFunc(all, func(s runtime.Status) bool { return s.Decided < 1 })
	})
	if got := scrape(t, restored)[fmt.Sprintf("tidemark_processor_requests_total{code=%q}", schemas.Success)]; got != 0 {
		t.Errorf("%v requests were decided anew: the restore has not read the log", got)
	}

	// What nobody is given stays closed: a reader cannot write the oplog.
	if err := member(t, as("reader")).ProduceSync(t.Context(), &kgo.Record{Topic: n.Topology().Oplog.Name, Value: []byte("x")}).FirstErr(); err == nil || !strings.Contains(err.Error(), "AUTHORIZATION") {
		t.Errorf("a reader wrote to the oplog: %v", err)
	}
}

// TestTheACLListNamesEveryTopic, and none that is not there.
func TestTheACLListNamesEveryTopic(t *testing.T) {
	n := bare(t)
	var topics []string
	for _, topic := range n.Topology().Topics() {
		topics = append(topics, strings.TrimPrefix(topic.Name, n.Topology().Prefix))
	}
	writers := make(map[string][]string)
	for _, r := range rights(t) {
		if r.resource != kmsg.ACLResourceTypeTopic {
			continue
		}
		if !slices.Contains(topics, r.name) {
			t.Errorf("the list has the topic %s, which is not in the topology", r.name)
		}
		if r.operation == kmsg.ACLOperationWrite {
			writers[r.name] = append(writers[r.name], r.role)
		}
	}
	for _, topic := range topics {
		if len(writers[topic]) == 0 {
			t.Errorf("nobody may write %s", topic)
		}
	}
	for _, truth := range []string{"oplog", "broadcast", "changelog.counters"} { // what only tasks may write
		if !slices.Equal(writers[truth], []string{"processor"}) {
			t.Errorf("%s is written by %v: only tasks may", truth, writers[truth])
		}
	}
}
