package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	pathpkg "path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// modulePath begins the import path of every package of ours.
const modulePath = "github.com/tidemarkio/tidemark/"

// A rule of the house: what it says, how it is checked, and small trees that
// break it. A rule that cannot fail protects nothing.
type rule struct {
	name  string
	check func(*house) []string // what is wrong, and what to do instead
	bad   []badTree
}

// badTree breaks a rule; the complaint has to hold the text.
type badTree struct {
	files map[string]string
	want  string
}

func TestHouse(t *testing.T) {
	real := enter(t, os.DirFS("../.."))
	for _, r := range houseRules() {
		t.Run(r.name, func(t *testing.T) {
			for _, wrong := range r.check(real) {
				t.Error(wrong)
			}
			if len(r.bad) == 0 {
				t.Error("no tree shows that this rule can fail: give it one")
			}
			for _, b := range r.bad {
				fsys := fstest.MapFS{}
				for name, text := range b.files {
					fsys[name] = &fstest.MapFile{Data: []byte(text)}
				}
				if wrong := r.check(enter(t, fsys)); !strings.Contains(strings.Join(wrong, "\n"), b.want) {
					t.Errorf("a tree that breaks the rule got %q, want a complaint with %q", wrong, b.want)
				}
			}
		})
	}
}

// house is the tree as the rules see it.
type house struct {
	files map[string][]byte // by path from the top
	rooms map[string]*room  // packages, by path from the top
	fset  *token.FileSet
}

// room is one package.
type room struct {
	path    string
	sources []*ast.File // without tests
	tests   []*ast.File
}

// enter reads a tree, without what git ignores.
func enter(t *testing.T, fsys fs.FS) *house {
	t.Helper()
	h := &house{files: map[string][]byte{}, rooms: map[string]*room{}, fset: token.NewFileSet()}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && ignored(name):
			return fs.SkipDir
		case d.IsDir() || !d.Type().IsRegular():
			return nil
		}
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		h.files[name] = text
		if pathpkg.Ext(name) == ".go" && !strings.Contains(name, "testdata/") {
			return h.add(name, text)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("read the tree: %v", err)
	}
	return h
}

// ignored are the directories that .gitignore names, and git's own.
func ignored(dir string) bool {
	return slices.Contains([]string{".git", ".cache", "bin", "data"}, dir) ||
		strings.HasPrefix(dir, "bench/peers/") && pathpkg.Base(dir) == "target" ||
		strings.HasSuffix(dir, "testdata/rapid")
}

func (h *house) add(name string, text []byte) error {
	f, err := parser.ParseFile(h.fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	dir := pathpkg.Dir(name)
	r := h.rooms[dir]
	if r == nil {
		r = &room{path: dir}
		h.rooms[dir] = r
	}
	if strings.HasSuffix(name, "_test.go") {
		r.tests = append(r.tests, f)
	} else {
		r.sources = append(r.sources, f)
	}
	return nil
}

// each visits the packages in order.
func (h *house) each(visit func(*room) []string) (wrong []string) {
	names := make([]string, 0, len(h.rooms))
	for name := range h.rooms {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		wrong = append(wrong, visit(h.rooms[name])...)
	}
	return wrong
}

// at is where a node stands, as an editor takes it.
func (h *house) at(n ast.Node) string {
	p := h.fset.Position(n.Pos())
	p.Column = 0
	return p.String()
}

// imports gives what the package imports, without its tests.
func (r *room) imports() []string {
	var all []string
	for _, f := range r.sources {
		for _, i := range f.Imports {
			all = append(all, strings.Trim(i.Path.Value, `"`))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// isText tells texts from pictures and archives, as git does.
func isText(b []byte) bool { return !bytes.Contains(b[:min(len(b), 8000)], []byte{0}) }
