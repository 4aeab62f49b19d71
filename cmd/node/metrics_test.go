package node

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// scrape reads /metrics: every series as it stands there, and its value.
func scrape(t *testing.T, n *Node) map[string]float64 {
	t.Helper()
	status, body := probe(n, "/metrics")
	if status != http.StatusOK {
		t.Fatalf("/metrics: %d %s", status, body)
	}
	all := make(map[string]float64)
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if i := strings.LastIndexByte(line, '}'); i >= 0 {
			series, value = line[:i+1], strings.TrimSpace(line[i+1:])
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("series %q: %v", line, err)
		}
		all[series] = v
	}
	return all
}

// apply brings the settings to what a file says.
func apply(t *testing.T, n *Node, config string) {
	t.Helper()
	if err := n.Apply(t.Context(), []byte(config), nil); err != nil {
		t.Fatal(err)
	}
}

// pushHTTP pushes and gives the answer, which has to be a success.
func pushHTTP(t *testing.T, n *Node, instance, biz, user, id string) string {
	t.Helper()
	body := fmt.Sprintf(`{"bizType":%q,"linkToken":%q,"thirdMsgId":%q,"payload":"x"}`, biz, user, id)
	res, err := http.Post(n.URL()+"/webapi/sync/single?instanceId="+instance, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || !bytes.Contains(answer, []byte(`"success":true`)) {
		t.Fatalf("push %s: %s, %v", body, answer, err)
	}
	return string(answer)
}

// connect opens a stream and reads its first event or comment.
func connect(t *testing.T, n *Node, instance, biz, user, device string) io.Closer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
		fmt.Sprintf("%s/sync/stream?instanceId=%s&deviceId=%s&userId=%s&biz=%s", n.URL(), instance, device, user, biz), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer ck")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		t.Fatalf("connect: status %d", res.StatusCode)
	}
	if _, err := io.ReadFull(res.Body, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return res.Body
}

// TestMetricsHaveFixedCardinality: whoever pushes what to whom, the series are
// those that were there before.
func TestMetricsHaveFixedCardinality(t *testing.T) {
	n, _ := readyNode(t)
	config := func(instances, businesses int) string {
		var b strings.Builder
		b.WriteString("instances:\n")
		for i := range instances {
			fmt.Fprintf(&b, "  - id: app%d\n    clientKey: ck\n    sync:\n", i)
			for j := range businesses {
				fmt.Fprintf(&b, "      - {bizType: B%d, scope: specified, target: user, multiDevice: true}\n", j)
			}
		}
		return b.String()
	}
	names := func() []string { return slices.Sorted(maps.Keys(scrape(t, n))) }
	use := func(instances, businesses, users int) {
		apply(t, n, config(instances, businesses))
		for i := range instances {
			for u := range users {
				instance, biz, user := fmt.Sprint("app", i), fmt.Sprint("B", u%businesses), fmt.Sprint("user", u)
				connect(t, n, instance, biz, user, "phone").Close()
				pushHTTP(t, n, instance, biz, user, fmt.Sprint("m", u))
				pushHTTP(t, n, instance, biz, user, fmt.Sprint("m", u))
			}
		}
	}
	use(1, 1, 1)
	eventually(t, "checkpoints of both partitions", func() (string, bool) {
		all := scrape(t, n)
		_, zero := all[`tidemark_processor_checkpoint_timestamp_seconds{partition="0"}`]
		_, one := all[`tidemark_processor_checkpoint_timestamp_seconds{partition="1"}`]
		return fmt.Sprint(zero, one), zero && one
	})
	before := names()
	use(8, 5, 10)
	after := names()
	for _, name := range after {
		if !slices.Contains(before, name) {
			t.Errorf("%s came with the load: labels must be fixed", name)
		}
	}
	if len(after) != len(before) {
		t.Errorf("%d series before the load, %d after", len(before), len(after))
	}
}

var metricName = regexp.MustCompile(`^tidemark_[a-z0-9]+(_[a-z0-9]+)+$`)

// TestMetricsFollowConventions: names, units and help as Prometheus has them.
func TestMetricsFollowConventions(t *testing.T) {
	n, _ := readyNode(t)
	families, err := n.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	ours := 0
	for _, f := range families {
		name, help := f.GetName(), f.GetHelp()
		if !strings.HasPrefix(name, "tidemark_") {
			continue
		}
		ours++
		counter := f.GetType() == dto.MetricType_COUNTER
		switch {
		case !metricName.MatchString(name):
			t.Errorf("%s: want lower case words under tidemark_<part>_", name)
		case counter != strings.HasSuffix(name, "_total"):
			t.Errorf("%s: counters, and only they, end in _total", name)
		case f.GetType() == dto.MetricType_HISTOGRAM && !strings.HasSuffix(name, "_seconds") && !strings.HasSuffix(name, "_bytes"):
			t.Errorf("%s: a histogram's name ends in its unit", name)
		case regexp.MustCompile(`_(ms|millis|minutes|kb|mb|kib|mib|percent)(_|$)`).MatchString(name):
			t.Errorf("%s: base units only: seconds, bytes, ratios", name)
		case len(help) < 10 || !strings.HasSuffix(help, "."):
			t.Errorf("%s: help %q: want a sentence", name, help)
		case strings.HasSuffix(name, "_seconds") && !regexp.MustCompile(`(?i)second|time |from `).MatchString(help):
			t.Errorf("%s: help %q does not say what is measured in seconds", name, help)
		}
	}
	if ours < 40 {
		t.Errorf("only %d metrics of ours are there", ours)
	}
}

func TestRegistryAndControlAndStateAreMeasured(t *testing.T) {
	n, _ := readyNode(t, func(c *Config) { c.Version = "v1.2.3" })
	apply(t, n, "instances:\n  - {id: app0, clientKey: ck, sync: []}\n")
	for series, ok := range map[string]func(float64) bool{
		"tidemark_node_ready":                         func(v float64) bool { return v == 1 },
		"tidemark_registry_leader":                    func(v float64) bool { return v == 1 },
		"tidemark_registry_ready":                     func(v float64) bool { return v == 1 },
		"tidemark_registry_members":                   func(v float64) bool { return v == 1 },
		"tidemark_registry_applied_index":             func(v float64) bool { return v > 1 },
		"tidemark_control_pending_records":            func(v float64) bool { return v == 0 },
		"tidemark_control_publication_lag_seconds":    func(v float64) bool { return v == 0 },
		"tidemark_control_records_total":              func(v float64) bool { return v >= 2 }, // one for each partition
		`tidemark_state_disk_bytes{store="task"}`:     func(v float64) bool { return v > 0 },
		`tidemark_state_disk_bytes{store="view"}`:     func(v float64) bool { return v > 0 },
		`tidemark_state_disk_bytes{store="kafka"}`:    func(v float64) bool { return v > 0 },
		`tidemark_state_disk_bytes{store="registry"}`: func(v float64) bool { return v > 0 },
		"tidemark_state_cache_max_bytes":              func(v float64) bool { return v == 64<<20 },
	} {
		eventually(t, series, func() (string, bool) {
			v, there := scrape(t, n)[series]
			return fmt.Sprint(v, there), there && ok(v)
		})
	}
	found := false
	for series := range scrape(t, n) {
		found = found || strings.HasPrefix(series, "tidemark_build_info{") && strings.Contains(series, `version="v1.2.3"`)
	}
	if !found {
		t.Error("no tidemark_build_info with the version")
	}
}

func TestDiskUseKnowsWhatIsWhose(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string]string{
		"state/task-3/000001.log": "task", "task-3/000001.log": "task", "state/view-0/x": "view", "state/global/x": "global",
		"state/task-3.aside-1/x": "aside", "registry/raft/x": "registry", "kafka/x": "kafka", "cluster.key": "other",
	} {
		if got := storeOf(dir, filepath.Join(dir, filepath.FromSlash(name))); got != want {
			t.Errorf("%s counts as %s, want %s", name, got, want)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "cluster.key"), make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	d := diskUse{dir: dir}
	if got := d.bytes(now)["other"]; got != 100 {
		t.Errorf("%d bytes, want 100", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "more.key"), make([]byte, 50), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := d.bytes(now.Add(diskFresh / 2))["other"]; got != 100 {
		t.Errorf("%d bytes at once, want the sum of before: scrapes must not walk the disk each time", got)
	}
	if got := d.bytes(now.Add(diskFresh))["other"]; got != 150 {
		t.Errorf("%d bytes later, want 150", got)
	}
}
