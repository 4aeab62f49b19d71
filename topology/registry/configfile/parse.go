package configfile

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// Limits of a file. The YAML library recurses without one of its own.
const (
	MaxBytes = 16 << 20
	maxDepth = 32
	// maxRawDepth is of brackets wherever they stand, should the guard be
	// fooled about quotes: what the parser's stack can bear.
	maxRawDepth = 5000
)

// Parse reads a config file in YAML. Its errors name lines.
func Parse(b []byte) (*File, error) {
	if err := guard(b); err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	tree, err := parser.ParseBytes(b, 0)
	if err != nil {
		return nil, fmt.Errorf("read config: %w", explain(err))
	}
	if len(tree.Docs) > 1 {
		return nil, errors.New("read config: several documents in one file: use one")
	}
	f := File{lines: lines{tree}}
	if len(tree.Docs) == 0 || tree.Docs[0].Body == nil {
		return nil, errors.New("read config: the file is empty: it needs at least instances: []")
	}
	if err := plain(tree.Docs[0].Body); err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	if err := yaml.NodeToValue(tree.Docs[0].Body, &f, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("read config: %w", explain(err))
	}
	return &f, f.check()
}

// guard refuses what the parser would recurse into without end.
func guard(b []byte) error {
	if len(b) > MaxBytes {
		return fmt.Errorf("%d bytes: over the limit of %d", len(b), MaxBytes)
	}
	if bytes.IndexByte(b, 0) >= 0 {
		return errors.New("it holds a NUL byte: is it a text file?")
	}
	var flow flowDepth
	number, raw := 0, 0
	for line := range bytes.Lines(b) {
		number++
		indent := len(line) - len(bytes.TrimLeft(line, " \t"))
		for _, c := range line {
			switch c {
			case '[', '{':
				raw++
			case ']', '}':
				raw = max(0, raw-1)
			}
		}
		if flow.take(line) > maxDepth || markers(line) > maxDepth || indent > 16*maxDepth || raw > maxRawDepth {
			return fmt.Errorf("line %d: nested deeper than %d", number, maxDepth)
		}
	}
	return nil
}

// markers counts what opens nested things at the front of a line, as in "- - a".
func markers(line []byte) int {
	n := 0
	for word := range bytes.FieldsSeq(line) {
		if len(word) > 1 && bytes.IndexByte([]byte("&!?-:"), word[0]) < 0 {
			break
		}
		n++
	}
	return n
}

// flowDepth follows how deep in brackets a text is, quotes and comments apart.
type flowDepth struct {
	depth int
	quote byte // that we are inside of, or 0
}

// take reads a line and gives the greatest depth on it.
func (f *flowDepth) take(line []byte) (deepest int) {
	last := byte(0) // what stands before, spaces apart; 0: nothing on this line
	deepest = f.depth
	for i := 0; i < len(line); i++ {
		c := line[i]
		// A bracket or quote inside a word opens nothing.
		opens := last == 0 || bytes.IndexByte([]byte(":[{,-?"), last) >= 0
		switch {
		case f.quote == '"' && c == '\\':
			i++
		case f.quote != 0:
			if c == f.quote {
				f.quote, last = 0, 'x'
			}
			continue
		case c == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t'):
			return deepest
		case (c == '"' || c == '\'') && opens:
			f.quote = c
			continue
		case (c == '[' || c == '{') && (opens || f.depth > 0):
			f.depth++
			deepest = max(deepest, f.depth)
		case (c == ']' || c == '}') && f.depth > 0:
			f.depth--
		}
		if c > ' ' {
			last = c
		}
	}
	return deepest
}

// plain refuses anchors, aliases and tags: a file of a few lines could stand
// for gigabytes with them.
func plain(n ast.Node) error {
	var v noReferences
	ast.Walk(&v, n)
	return v.err
}

type noReferences struct{ err error }

// Visit is called for every node.
func (v *noReferences) Visit(n ast.Node) ast.Visitor {
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode, *ast.TagNode:
		if v.err == nil {
			v.err = fmt.Errorf("line %d: anchors, aliases and tags are not used here: write the value out", n.GetToken().Position.Line)
		}
		return nil
	}
	return v
}

// explain shortens the library's error to its line and what is wrong there.
func explain(err error) error {
	var e yaml.Error
	if !errors.As(err, &e) {
		return err
	}
	return fmt.Errorf("line %d: %s", lineOf(e.GetToken()), e.GetMessage())
}

func lineOf(t *token.Token) int {
	if t == nil || t.Position == nil {
		return 0
	}
	return t.Position.Line
}

// lines finds the line that a path stands on.
type lines struct{ tree *ast.File }

// of gives the line of a path such as instances[0].sync[2].scope, or of the
// nearest thing around it that is there; 0 if there is none.
func (l lines) of(path string) int {
	for path != "" && l.tree != nil {
		if p, err := yaml.PathString("$." + path); err == nil {
			if n, err := p.FilterFile(l.tree); err == nil && n != nil {
				return lineOf(start(n))
			}
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return 0
}

// start is the first token of a node; a mapping's own token is its first colon.
func start(n ast.Node) *token.Token {
	switch n := n.(type) {
	case *ast.MappingNode:
		if len(n.Values) > 0 {
			return start(n.Values[0])
		}
	case *ast.MappingValueNode:
		return n.Key.GetToken()
	}
	return n.GetToken()
}

// fault says where in the file an error is; nil stays nil.
func (l lines) fault(path string, err error) error {
	if err == nil {
		return nil
	}
	var e *registry.Error
	if errors.As(err, &e) && e.Path != "" {
		path, err = path+"."+e.Path, errors.New(e.Reason)
	}
	if n := l.of(path); n > 0 {
		return fmt.Errorf("line %d: %s: %w", n, path, err)
	}
	return fmt.Errorf("%s: %w", path, err)
}
