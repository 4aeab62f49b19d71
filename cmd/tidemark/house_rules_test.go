package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// arrows says which packages of ours a package imports: a line each, in the
// order of exemplars (a room uses only rooms above it; processor and connectors
// never meet). Tests are free, but for rooms that must not know each other.
const arrows = `
schemas:
schemas/chain:                schemas
schemas/roster:               schemas
topology:
topology/registry:            schemas
topology/registry/configfile: schemas topology/registry
topology/registry/quorum:     topology/registry
state:                        schemas topology
state/view:                   schemas schemas/chain state topology
processor/oplog:              schemas schemas/chain
processor:                    processor/oplog schemas schemas/chain state topology topology/registry
processor/runtime:            processor processor/oplog schemas schemas/chain schemas/roster state topology
connectors/client:
connectors/console:           schemas topology/registry topology/registry/configfile
connectors/control:           schemas topology topology/registry
connectors/edge/session:      schemas
connectors/edge:              connectors/edge/session schemas schemas/roster state state/view topology topology/registry
connectors/ingress:           schemas topology topology/registry
connectors/tenant:            schemas topology/registry
connectors/tenant/mock:
bench/child:
bench/report:
bench/openloop:
bench/progress:
bench/broker:                 bench/child
bench/dedupe:                 bench/report state topology
bench/delivery:               bench/broker bench/child bench/openloop bench/report schemas topology
bench/processor:              bench/broker bench/child bench/openloop bench/progress bench/report schemas topology
bench/registry:               bench/broker bench/child bench/progress bench/report schemas topology topology/registry topology/registry/quorum
cmd/internal/e2e:             bench/child
cmd/sim:                      processor schemas topology
cmd/node/embedded/guard:
cmd/node/embedded/internal/anyreq:
cmd/node/embedded:            cmd/node/embedded/guard topology
cmd/node/flights:             schemas
cmd/node/demo:                cmd/node/flights connectors/client schemas schemas/chain topology
cmd/node:                     cmd/node/embedded connectors/console connectors/control connectors/edge connectors/ingress connectors/tenant processor/runtime schemas schemas/chain state state/view topology topology/registry topology/registry/configfile topology/registry/quorum
cmd/tidemark:                 cmd/node cmd/node/demo cmd/node/flights cmd/sim connectors/client connectors/console connectors/tenant connectors/tenant/mock processor/runtime schemas state topology topology/registry topology/registry/configfile
`

// spawners are the packages marked ● in exemplars: they start goroutines, and
// this is who ends them.
var spawners = map[string]string{
	"bench/child":              "one reads a child's output until the child has ended",
	"bench/delivery":           "a listener and a caller each, joined at the end of a round",
	"bench/processor":          "a reader of the output topic, ended with its run",
	"bench/registry":           "a reader of results, watchers and callers, joined at the end of their part",
	"cmd/node":                 "one for each part; Run returns when all have ended",
	"cmd/node/demo":            "clients and lanes; Play returns when all have ended",
	"cmd/node/embedded":        "the broker's upkeep; Close waits for it",
	"cmd/tidemark":             "the node beside the demo; the command waits for it",
	"connectors/console":       "a stream is ended when the console closes",
	"connectors/control":       "Run owns them all",
	"connectors/edge":          "Run owns them all: feed, wheel, flushers, sessions",
	"processor/runtime":        "Run owns them all: input, commits, one for each partition",
	"topology/registry/quorum": "Run owns them all: raft's neighbours and its wire",
}

// pure packages get time, chance and the world as arguments.
var pure = []string{"schemas", "schemas/chain", "schemas/roster", "topology", "topology/registry", "topology/registry/configfile", "processor", "processor/oplog", "connectors/edge/session"}

// impure are the imports that a pure package does without, and timeFuncs what
// it does not call.
var (
	impure    = []string{"os", "os/exec", "net", "net/http", "math/rand", "math/rand/v2", "crypto/rand", "log", "log/slog", "syscall"}
	timeFuncs = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}
)

// libraries are known to few: who may import them, by the beginning of their
// path, and what the others do.
var libraries = []struct{ prefix, rooms, instead string }{
	{"github.com/twmb/franz-go", "processor/runtime connectors/control connectors/edge connectors/ingress bench/broker bench/delivery bench/processor bench/registry cmd/node cmd/node/demo cmd/node/embedded cmd/node/embedded/guard cmd/node/embedded/internal/anyreq cmd/internal/e2e cmd/tidemark",
		"take records as values, and let a runtime or connector speak Kafka"},
	{"github.com/cockroachdb/pebble", "state state/view bench/dedupe", "use package state: its README draws every key"},
	{"github.com/hashicorp/raft", "topology/registry/quorum bench/registry", "propose commands to quorum, and read registry.Model"},
	{"github.com/prometheus/", "processor/runtime connectors/edge connectors/ingress cmd/node", "return figures, and let the shell around you register them"},
	{"go.opentelemetry.io/", "cmd/node", "take a function that begins a span, and let cmd/node fill it in"},
	{"github.com/spf13/", "cmd/tidemark bench/delivery bench/processor bench/registry", "take a Config, and leave flags to the command"},
}

// unshown are packages that a user can import and that have no Example of
// their own, each with where to look instead.
var unshown = map[string]string{
	"processor/runtime":       "needs a broker: cmd/node wires it",
	"connectors/control":      "needs a broker and a registry: cmd/node wires it",
	"connectors/edge":         "needs a broker: cmd/node wires it, connectors/client speaks to it",
	"connectors/tenant":       "needs a tenant's server: tidemark mock-tenant is one",
	"connectors/tenant/mock":  "is a server: tidemark mock-tenant runs it",
	"connectors/edge/session": "is shown by its transcripts, testdata/*.txt",
}

// top is what stands at the top of the tree.
var top = strings.Fields(`processor topology state connectors bench cmd schemas go.mod go.sum Makefile
	README.md LICENSE ARCHITECTURE.md CHANGELOG.md .golangci.yml .gitignore .ci`)

const fileBytesMax = 5 << 20

func houseRules() []rule {
	return []rule{
		{"packages import only what their room may use", checkArrows, []badTree{
			{map[string]string{"schemas/x.go": "package schemas\nimport _ \"" + modulePath + "state\"\n"}, "may not import state"},
			{map[string]string{"attic/x.go": "package attic\n"}, "not in the table"},
			{map[string]string{"schemas/chain/x.go": "package chain\n"}, "no longer imports schemas"},
		}},
		{"the table names only packages that there are", checkTable, []badTree{{map[string]string{"schemas/x.go": "package schemas\n"}, "topology/registry is not in the tree"}}},
		{"processor and connectors never meet, in tests either", checkStrangers, []badTree{
			{map[string]string{"processor/x_test.go": "package processor\nimport _ \"" + modulePath + "connectors/edge\"\n"}, "Kafka is between them"},
			{map[string]string{"connectors/edge/x_test.go": "package edge\nimport _ \"" + modulePath + "processor/oplog\"\n"}, "Kafka is between them"},
			{map[string]string{"connectors/edge/x.go": "package edge\nimport _ \"" + modulePath + "connectors/client\"\n"}, "talk through topics"},
		}},
		{"goroutines start only where someone ends them", checkGoroutines, []badTree{
			{map[string]string{"schemas/x.go": "package schemas\nfunc f() { go f() }\n"}, "starts a goroutine"},
			{map[string]string{"state/x.go": "package state\nimport \"sync\"\nfunc f() { var wg sync.WaitGroup; wg.Go(f) }\n"}, "starts a goroutine"},
			{map[string]string{"state/x.go": "package state\nimport \"time\"\nfunc f() { time.AfterFunc(1, f) }\n"}, "starts a goroutine"},
			{map[string]string{"connectors/edge/x.go": "package edge\n"}, "no longer starts"},
		}},
		{"pure packages know no clock, chance, disk or network", checkPure, []badTree{
			{map[string]string{"schemas/x.go": "package schemas\nimport \"time\"\nvar _ = time.Now()\n"}, "time.Now"},
			{map[string]string{"topology/x.go": "package topology\nimport clock \"time\"\nvar _ = clock.Now()\n"}, "time.Now"},
			{map[string]string{"processor/x.go": "package processor\nimport _ \"math/rand/v2\"\n"}, "math/rand/v2"},
			{map[string]string{"topology/registry/x.go": "package registry\nimport _ \"os\"\n"}, "imports os"},
		}},
		{"Kafka, Pebble and their like are known to few", checkLibraries, []badTree{
			{map[string]string{"state/x.go": "package state\nimport _ \"github.com/twmb/franz-go/pkg/kgo\"\n"}, "let a runtime or connector speak Kafka"},
			{map[string]string{"processor/x.go": "package processor\nimport _ \"github.com/cockroachdb/pebble/v2\"\n"}, "use package state"},
		}},
		{"every package says what it is", checkPackageComments, []badTree{{map[string]string{"state/x.go": "package state\n"}, "no package comment"}}},
		{"every exported name says what it is", checkDocs, []badTree{
			{map[string]string{"state/x.go": "package state\nfunc Open() {}\n"}, "Open"},
			{map[string]string{"state/x.go": "package state\n// DB is one.\ntype DB struct{}\nfunc (*DB) Close() {}\n"}, "Close"},
			{map[string]string{"state/x.go": "package state\ntype DB[T any] struct{}\n"}, "DB"},
			{map[string]string{"state/x.go": "package state\nconst Max = 1\n"}, "Max"},
			{map[string]string{"state/x.go": "package state\nvar (\n\tA = 1 // A is one.\n\tB = 2\n)\n"}, "B"},
		}},
		{"packages to import have an Example with output", checkExamples, []badTree{
			{map[string]string{"schemas/x.go": "package schemas\n"}, "no Example"},
			{map[string]string{"schemas/x_test.go": "package schemas\nfunc Example() {}\n"}, "no Example"},
			{map[string]string{"connectors/edge/x_test.go": "package edge\nfunc Example() {\n\t// Output:\n}\n"}, "take it off the list"},
		}},
		{"the top of the tree stays as it is", checkTop, []badTree{{map[string]string{"deploy/x.yaml": ""}, "deploy"}, {map[string]string{"NOTES.md": ""}, "NOTES.md"}}},
		{"no file is over 5 MB", checkSizes, []badTree{{map[string]string{"bench/x.json": strings.Repeat("x", fileBytesMax+1)}, "bench/x.json"}}},
		{"no path of somebody's machine", checkPaths, []badTree{
			{map[string]string{"README.md": "see /ro" + "ot/notes\n"}, "README.md:1"},
			{map[string]string{"Makefile": "a:\n\tcd \"/wo" + "rk/main\"\n"}, "Makefile:2"},
			{map[string]string{"x.go": "package x // /ho" + "me/me/x\n"}, "x.go:1"},
		}},
		{"nothing is left for later", checkMarks, []badTree{
			{map[string]string{"state/x.go": "package state // TO" + "DO: all of it\n"}, "state/x.go:1"},
			{map[string]string{"Makefile": "# FIX" + "ME\n"}, "Makefile:1"},
		}},
	}
}

// allowed reads the table.
func allowed() map[string][]string {
	table := make(map[string][]string)
	for line := range strings.Lines(strings.TrimSpace(arrows)) {
		name, list, _ := strings.Cut(line, ":")
		table[name] = strings.Fields(list)
	}
	return table
}

func checkArrows(h *house) []string {
	table := allowed()
	return h.each(func(r *room) (wrong []string) {
		may, known := table[r.path]
		if !known {
			return []string{r.path + " is not in the table: give it a line in arrows, and take care that it points only to the left (exemplars, part 2)"}
		}
		does := r.own()
		for _, to := range does {
			if !slices.Contains(may, to) {
				wrong = append(wrong, fmt.Sprintf("%s may not import %s: take what it needs as a value or through an interface of its own, or make the case for a new arrow in the table", r.path, to))
			}
		}
		for _, to := range may {
			if !slices.Contains(does, to) {
				wrong = append(wrong, fmt.Sprintf("%s no longer imports %s: take the arrow out of the table", r.path, to))
			}
		}
		return wrong
	})
}

// own gives the packages of ours that the package imports.
func (r *room) own() (own []string) {
	for _, i := range r.imports() {
		if to, ok := strings.CutPrefix(i, modulePath); ok {
			own = append(own, to)
		}
	}
	return own
}

func checkTable(h *house) (wrong []string) {
	for name := range allowed() {
		if h.rooms[name] == nil {
			wrong = append(wrong, name+" is not in the tree: take its line out of the table")
		}
	}
	return wrong
}

func checkStrangers(h *house) []string {
	return h.each(func(r *room) (wrong []string) {
		ours, _, _ := strings.Cut(r.path, "/")
		for _, f := range slices.Concat(r.sources, r.tests) {
			for _, i := range f.Imports {
				to := strings.TrimPrefix(strings.Trim(i.Path.Value, `"`), modulePath)
				theirs, _, _ := strings.Cut(to, "/")
				switch {
				case ours == "processor" && theirs == "connectors" || ours == "connectors" && theirs == "processor":
					wrong = append(wrong, fmt.Sprintf("%s imports %s: Kafka is between them; meet in cmd/node", h.at(i), to))
				case ours == "connectors" && theirs == "connectors" && party(r.path) != party(to):
					wrong = append(wrong, fmt.Sprintf("%s imports %s: connectors talk through topics; share by schemas or through a function that cmd/node fills in", h.at(i), to))
				}
			}
		}
		return wrong
	})
}

// party is the outside party that a connector is for.
func party(path string) string {
	parts := strings.SplitN(path, "/", 3)
	return parts[min(1, len(parts)-1)]
}

func checkGoroutines(h *house) []string {
	return h.each(func(r *room) (wrong []string) {
		_, may := spawners[r.path]
		starts := 0
		for _, f := range r.sources {
			ast.Inspect(f, func(n ast.Node) bool {
				if startsGoroutine(n) {
					starts++
					if !may {
						wrong = append(wrong, h.at(n)+" starts a goroutine: let the caller run it, or list the package in spawners and say who waits for its end")
					}
				}
				return true
			})
		}
		if may && starts == 0 {
			wrong = append(wrong, r.path+" no longer starts goroutines: take it out of spawners")
		}
		return wrong
	})
}

// startsGoroutine: the statement, a group's Go, and timers that call back.
func startsGoroutine(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.GoStmt:
		return true
	case *ast.CallExpr:
		s, ok := n.Fun.(*ast.SelectorExpr)
		return ok && (s.Sel.Name == "Go" || s.Sel.Name == "AfterFunc")
	}
	return false
}

func checkPure(h *house) []string {
	return h.each(func(r *room) (wrong []string) {
		if !slices.Contains(pure, r.path) {
			return nil
		}
		for _, f := range r.sources {
			clock := ""
			for _, i := range f.Imports {
				name := strings.Trim(i.Path.Value, `"`)
				if slices.Contains(impure, name) {
					wrong = append(wrong, fmt.Sprintf("%s imports %s: the package is pure; take what it gives as an argument", h.at(i), name))
				}
				if name == "time" {
					clock = "time"
					if i.Name != nil {
						clock = i.Name.Name
					}
				}
			}
			ast.Inspect(f, func(n ast.Node) bool {
				s, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if x, ok := s.X.(*ast.Ident); ok && clock != "" && x.Name == clock && slices.Contains(timeFuncs, s.Sel.Name) {
					wrong = append(wrong, fmt.Sprintf("%s uses time.%s: the package is pure; time is an argument (design I4)", h.at(s), s.Sel.Name))
				}
				return true
			})
		}
		return wrong
	})
}

func checkLibraries(h *house) []string {
	return h.each(func(r *room) (wrong []string) {
		for _, i := range r.imports() {
			for _, l := range libraries {
				if strings.HasSuffix(i, "/vfs") {
					continue // a file system as a value is what pure things take
				}
				if strings.HasPrefix(i, l.prefix) && !slices.Contains(strings.Fields(l.rooms), r.path) {
					wrong = append(wrong, fmt.Sprintf("%s imports %s: %s", r.path, i, l.instead))
				}
			}
		}
		return wrong
	})
}

func checkPackageComments(h *house) []string {
	return h.each(func(r *room) []string {
		if len(r.sources) == 0 || slices.ContainsFunc(r.sources, func(f *ast.File) bool { return f.Doc != nil }) {
			return nil
		}
		return []string{r.path + " has no package comment: say in doc.go what it promises, who owns its goroutines, and what is not obvious"}
	})
}

func checkDocs(h *house) []string {
	return h.each(func(r *room) (wrong []string) {
		for _, f := range r.sources {
			said := ""
			for _, d := range f.Decls {
				if doc := docOf(d); doc != "" {
					said = doc
				}
				for _, name := range undocumented(d) {
					if slices.Contains(words.FindAllString(said, -1), name) {
						continue // the comment above speaks for its neighbours, by name
					}
					wrong = append(wrong, fmt.Sprintf("%s: %s has no doc comment: say what it gives or does, in which unit, and with which errors", h.at(d), name))
				}
			}
		}
		return wrong
	})
}

// undocumented gives the exported names of a declaration that nothing is said
// about. A comment over a group speaks for all of it.
func undocumented(d ast.Decl) (names []string) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		method := d.Recv != nil
		switch {
		case !d.Name.IsExported() || d.Doc != nil:
		case method && (!ast.IsExported(receiver(d)) || slices.Contains(selfEvident, d.Name.Name)):
		default:
			names = append(names, d.Name.Name)
		}
	case *ast.GenDecl:
		if d.Doc != nil || d.Tok == token.IMPORT {
			return nil
		}
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() && s.Doc == nil && s.Comment == nil {
					names = append(names, s.Name.Name)
				}
			case *ast.ValueSpec:
				for _, n := range s.Names {
					if n.IsExported() && s.Doc == nil && s.Comment == nil {
						names = append(names, n.Name)
					}
				}
			}
		}
	}
	return names
}

// words are what comments are searched for.
var words = regexp.MustCompile(`\w+`)

// selfEvident are methods whose name says all, wherever they stand.
var selfEvident = []string{"Error", "Unwrap", "String"}

func docOf(d ast.Decl) string {
	switch d := d.(type) {
	case *ast.FuncDecl:
		return d.Doc.Text()
	case *ast.GenDecl:
		return d.Doc.Text()
	}
	return ""
}

// receiver is the name of a method's type.
func receiver(d *ast.FuncDecl) string {
	x := d.Recv.List[0].Type
	for {
		switch t := x.(type) {
		case *ast.StarExpr:
			x = t.X
		case *ast.IndexExpr:
			x = t.X
		case *ast.IndexListExpr:
			x = t.X
		case *ast.Ident:
			return t.Name
		default:
			return ""
		}
	}
}

func checkExamples(h *house) []string {
	return h.each(func(r *room) []string {
		_, excused := unshown[r.path]
		switch shown := r.hasExample(); {
		case strings.HasPrefix(r.path, "cmd/") || strings.HasPrefix(r.path, "bench/") || strings.Contains(r.path, "internal/"):
			return nil // nobody imports them
		case shown && excused:
			return []string{r.path + " has an Example now: take it off the list unshown"}
		case !shown && !excused:
			return []string{r.path + " has no Example with output: show its first use in example_test.go"}
		}
		return nil
	})
}

var outputComment = regexp.MustCompile(`(?i)^//\s*(unordered )?output:`)

// hasExample: a function Example… with an output to compare with, or go test
// would not run it.
func (r *room) hasExample() bool {
	for _, f := range r.tests {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Example") {
				continue
			}
			for _, c := range f.Comments {
				if c.Pos() > fn.Pos() && c.End() < fn.End() && outputComment.MatchString(c.List[0].Text) {
					return true
				}
			}
		}
	}
	return false
}

func checkTop(h *house) (wrong []string) {
	seen := make(map[string]bool)
	for name := range h.files {
		first, _, _ := strings.Cut(name, "/")
		seen[first] = true
	}
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		if !slices.Contains(top, name) {
			wrong = append(wrong, name+" stands at the top of the tree, which is fixed (design): put it into the room that it belongs to; deployment goes to topology/deploy")
		}
	}
	return wrong
}

func checkSizes(h *house) (wrong []string) {
	for name, text := range h.files {
		if len(text) > fileBytesMax {
			wrong = append(wrong, fmt.Sprintf("%s has %d bytes, over %d: keep an excerpt, and say where the rest is", name, len(text), fileBytesMax))
		}
	}
	return wrong
}

// What lines must not hold. The patterns are put together so that they do not
// match themselves.
var (
	machinePath = regexp.MustCompile(`(^|[^a-zA-Z0-9._})%-])/(?:wo` + `rk|fa` + `rm|ro` + `ot|ho` + `me|Us` + `ers)/`)
	leftForNow  = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)
)

func checkPaths(h *house) []string {
	return h.grep(machinePath, "a path of somebody's machine: name what it is relative to, or take it from a flag")
}

func checkMarks(h *house) []string {
	return h.grep(leftForNow, "left for later: finish it, or file an issue and say what is missing in words")
}

// grep complains of every line of text that matches.
func (h *house) grep(re *regexp.Regexp, complaint string) (wrong []string) {
	for _, name := range slices.Sorted(maps.Keys(h.files)) {
		if !isText(h.files[name]) || !re.Match(h.files[name]) {
			continue
		}
		number := 0
		for line := range strings.Lines(string(h.files[name])) {
			number++
			if re.MatchString(line) {
				wrong = append(wrong, fmt.Sprintf("%s:%d: %s", name, number, complaint))
			}
		}
	}
	return wrong
}
