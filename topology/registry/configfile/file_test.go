package configfile

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/tidemarkio/tidemark/topology/registry"
)

var update = flag.Bool("update", false, "write the transcripts anew")

const example = `
instances:
  - id: demo_APP1            # workspaceId_appId
    clientKey: ck-demo       # what clients show; several allowed as a list
    apiKeys: []              # empty in dev: the API is open on loopback
    sync:
      - bizType: UCHAT
        scope: specified     # specified | global
        target: user         # user | device
        multiDevice: true
        persistent: true
        repush: {mode: threshold, threshold: 100}   # or {mode: queue}
        consistency: false
        online: true
        description: chat messages
`

func created(t testing.TB) *registry.Model {
	t.Helper()
	m, r := (&registry.Model{}).Apply(registry.Command{ID: "create", Ops: []registry.Op{registry.Create{
		ID: "cluster", ClusterKey: registry.Hash{1}, Pepper: registry.Hash{2}, Topology: []byte(`{}`),
	}}})
	if r.Refused != nil {
		t.Fatal(r.Refused)
	}
	return m
}

func apply(t testing.TB, m *registry.Model, p *Plan) *registry.Model {
	t.Helper()
	for _, c := range p.Commands(registry.Command{ID: fmt.Sprint("apply", m.Applied()), Actor: "test", Time: 1}) {
		if _, err := c.Append(nil); err != nil {
			t.Fatal(err)
		}
		next, r := m.Apply(c)
		if r.Refused != nil {
			t.Fatal(r.Refused)
		}
		m = next
	}
	return m
}

func parse(t testing.TB, text string) *File {
	t.Helper()
	f, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestExample is the file of the documentation, applied twice.
func TestExample(t *testing.T) {
	m, f := created(t), parse(t, example)
	p, err := f.Plan(m, false)
	if err != nil {
		t.Fatal(err)
	}
	m = apply(t, m, p)
	s := m.Sync("demo_APP1", "UCHAT")
	if s == nil || s.Repush == nil || s.Repush.Threshold != 100 || !s.Online || !s.MultiDevice || s.Description != "chat messages" {
		t.Fatalf("the config is %+v", s)
	}
	if m.CheckKey("demo_APP1", registry.ClientKey, "ck-demo", 0) == nil || len(m.Instance("demo_APP1").APIKeys) != 0 {
		t.Error("keys are not as the file says")
	}
	for _, prune := range []bool{false, true} {
		if p, err := f.Plan(m, prune); err != nil || len(p.Ops) > 0 || len(p.Diff) > 0 {
			t.Errorf("a second time (prune %t) changes %v, %v", prune, p.Diff, err)
		}
	}
}

// TestPlans plays testdata/*.txt: files between lines of dashes, each applied
// to what the ones before it left; what is planned stands below it.
func TestPlans(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(b))
			if *update {
				if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(b) {
				t.Errorf("it goes otherwise (rewrite with -update, then read it):\n%s", got)
			}
		})
	}
}

func play(t *testing.T, text string) string {
	var out strings.Builder
	m := created(t)
	for part := range strings.SplitSeq(text, "=== ") {
		if part == "" {
			continue
		}
		head, body, _ := strings.Cut(part, "\n")
		body, _, _ = strings.Cut(body, "\n---\n")
		body = strings.TrimSuffix(body, "\n---\n")
		fmt.Fprintf(&out, "=== %s\n%s\n---\n", head, body)
		f, err := Parse([]byte(body))
		var p *Plan
		if err == nil {
			p, err = f.Plan(m, strings.Contains(head, "prune"))
		}
		if err != nil {
			fmt.Fprintf(&out, "refused:\n%v\n", err)
			continue
		}
		if len(p.Ops) == 0 {
			fmt.Fprintln(&out, "no changes")
		}
		for _, d := range p.Diff {
			fmt.Fprintln(&out, d)
		}
		m = apply(t, m, p)
		if again, err := f.Plan(m, strings.Contains(head, "prune")); err != nil || len(again.Ops) > 0 {
			t.Errorf("%s: a second time changes %v, %v", head, again.Diff, err)
		}
	}
	return out.String()
}

func TestRefusedFiles(t *testing.T) {
	deep := "a: " + strings.Repeat("[", 100_000)
	for name, tt := range map[string]struct{ text, want string }{
		"empty":             {"", "the file is empty"},
		"unknown field":     {"instances:\n  - id: a\n    clientkey: x\n", `line 3: unknown field "clientkey"`},
		"unknown in config": {"instances:\n- id: a\n  sync:\n  - bizType: B\n    scope: global\n    target: user\n    online: true\n    colour: red\n", `line 8: unknown field "colour"`},
		"wrong type":        {"instances:\n- id: a\n  sync:\n  - {bizType: B, scope: global, target: user, online: maybe}\n", "line 4: "},
		"not yaml":          {"instances: [\n", "line "},
		"two documents":     {"instances: []\n---\ninstances: []\n", "several documents"},
		"alias":             {"a: &x [1]\nb: *x\n", "line 1: anchors"},
		"merge":             {"instances:\n- <<: {id: a}\n", "line 2: "},
		"deep flow":         {deep, "nested deeper"},
		"deep sequence":     {strings.Repeat("- ", 100_000) + "a", "nested deeper"},
		"deep map":          {strings.Repeat("? ", 100_000) + "a", "nested deeper"},
		"fooled by literal": {"a: |\n  \"\nb: " + strings.Repeat("[", 100_000), "nested deeper"},
		"huge":              {strings.Repeat("#", MaxBytes+1), "over the limit"},
		"binary":            {"instances: \x00", "NUL"},
		"number for a key":  {"instances:\n- id: a\n  clientKey: 007\n", "line 3: a key must be a string"},
		"key with a space":  {"instances:\n- id: a\n  clientKey: [ok, \"a b\"]\n", "line 3: instances[0].clientKey[1]"},
		"key twice":         {"instances:\n- id: a\n  clientKey: [k, k]\n", "line 3: instances[0].clientKey[1]: this key is listed twice"},
		"id twice":          {"instances:\n- id: a\n- id: a\n", `line 3: instances[1].id: instance "a" is listed twice`},
		"config twice":      {"instances:\n- id: a\n  sync:\n  - {bizType: B, scope: global, target: user}\n  - {bizType: B, scope: global, target: user}\n", `line 5: instances[0].sync[1].bizType: "B" is listed twice`},
		"what must be said": {"instances:\n- id: a\n  sync:\n  - bizType: B\n", "line 4: instances[0].sync[0].scope: it is missing"},
		"no id":             {"instances:\n- description: x\n", "line 2: instances[0].id: it is missing"},
	} {
		_, err := Parse([]byte(tt.text))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want %q in it", name, err, tt.want)
		}
	}
}

func TestGuardLetsPass(t *testing.T) {
	for name, text := range map[string]string{
		"brackets in text": "instances:\n" + strings.Repeat("- id: \"[[[\"\n  description: a [ b { c\n", 1) + "# " + strings.Repeat("[", 1000),
		"quotes":           `instances: [{id: 'it''s', description: "say \"[[[[\" to me"}]`,
		"flow over lines":  "instances: [\n {id: a},\n {id: b}\n]\n",
	} {
		if _, err := Parse([]byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestJSONIsTheSame(t *testing.T) {
	f := parse(t, example)
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	j, err := ParseJSON(b)
	if err != nil {
		t.Fatal(err)
	}
	m := created(t)
	a, errA := f.Plan(m, false)
	c, errC := j.Plan(m, false)
	if errA != nil || errC != nil || !slices.Equal(a.Diff, c.Diff) || len(a.Ops) == 0 {
		t.Errorf("YAML plans %v (%v), JSON %v (%v)", a.Diff, errA, c.Diff, errC)
	}
	for name, text := range map[string]string{
		"unknown field": `{"instances":[{"id":"a","colour":1}]}`,
		"twice":         `{"instances":[{"id":"a"},{"id":"a"}]}`,
		"not JSON":      `instances: []`,
		"deep":          strings.Repeat("[", 1000),
	} {
		if _, err := ParseJSON([]byte(text)); err == nil {
			t.Errorf("%s: is read", name)
		}
	}
}

func TestExportAppliesWithoutChange(t *testing.T) {
	f := parse(t, example)
	m := created(t)
	p, err := f.Plan(m, false)
	if err != nil {
		t.Fatal(err)
	}
	m = apply(t, m, p)
	b, err := yaml.Marshal(Export(m))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "ck-demo") {
		t.Error("an export shows a key")
	}
	again, err := parse(t, string(b)).Plan(m, true)
	if err != nil || len(again.Ops) > 0 {
		t.Errorf("the export changes %v, %v:\n%s", again.Diff, err, b)
	}
}

func many(n int) string {
	var b strings.Builder
	b.WriteString("instances:\n- id: demo_APP1\n  sync:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - bizType: BIZ-%05d\n    scope: specified\n    target: user\n    multiDevice: true\n    repush: {mode: threshold, threshold: 100}\n    description: one of many\n", i)
	}
	return b.String()
}

func TestLargePlanIsCut(t *testing.T) {
	m := created(t)
	p, err := parse(t, many(2500)).Plan(m, false)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(p.Commands(registry.Command{ID: "x"})); n != 3 {
		t.Errorf("%d commands for %d operations", n, len(p.Ops))
	}
	if m = apply(t, m, p); m.SyncCount() != 2500 {
		t.Errorf("%d configs", m.SyncCount())
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte("instances: [{id: a, clientKey: [x], sync: [{bizType: B, scope: global, target: user}]}]"))
	f.Add([]byte("a: |\n  x\nb: >-\n  y\n? c\n: d\n"))
	f.Add([]byte("- &a [*a, !!str x, {<<: *a}]"))
	m := created(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Parse(b)
		if err != nil {
			return
		}
		p, err := file.Plan(m, true)
		if err != nil {
			return
		}
		next := apply(t, m, p)
		if again, err := file.Plan(next, true); err != nil || len(again.Ops) > 0 {
			t.Errorf("a second time changes %v, %v", again.Diff, err)
		}
	})
}

// BenchmarkManyConfigs reads and plans a file of 10,000 configs.
func BenchmarkManyConfigs(b *testing.B) {
	text := []byte(many(10_000))
	m := created(b)
	b.Run("parse", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if _, err := Parse(text); err != nil {
				b.Fatal(err)
			}
		}
	})
	f, err := Parse(text)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("plan", func(b *testing.B) {
		for b.Loop() {
			if p, err := f.Plan(m, false); err != nil || len(p.Ops) != 10_001 {
				b.Fatal(err)
			}
		}
	})
}
