package console

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// passedOn are reasons that are made elsewhere: by a format that is found there,
// or by a library.
var passedOn = []string{
	"theirs.Reason", "reason", "format", "err.Error()", `"%v"`, "e.Reason",
	`strings.TrimPrefix(err.Error(), "json: ")`,
	"op.check()",
}

// madeReasons finds the formats of all refusals in a file's source, and what it
// cannot read.
func madeReasons(t *testing.T, name string) (formats, odd []string) {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	take := func(e ast.Expr) {
		if call, ok := e.(*ast.CallExpr); ok && written(call.Fun) == "fmt.Sprintf" {
			e = call.Args[0]
		}
		if b, ok := e.(*ast.BinaryExpr); ok && b.Op == token.ADD { // a text and what it is about
			if l, ok := b.X.(*ast.BasicLit); ok {
				s, _ := strconv.Unquote(l.Value)
				formats = append(formats, s+"%s")
				return
			}
		}
		if l, ok := e.(*ast.BasicLit); ok && l.Value != `"%v"` {
			s, _ := strconv.Unquote(l.Value)
			formats = append(formats, s)
			return
		}
		if s := written(e); !slices.Contains(passedOn, s) {
			odd = append(odd, files.Position(e.Pos()).String()+" "+s)
		}
	}
	// reasonAt is which argument of a call is the reason; -1: the last one.
	reasonAt := map[string]int{"invalid": 1, "refuse": 2, "bad": -1, "refused": -1}
	ast.Inspect(file, func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.CallExpr:
			i, ok := reasonAt[written(x.Fun)]
			if !ok {
				return true
			}
			if i == -1 {
				i = len(x.Args) - 1
			}
			if i < len(x.Args) {
				take(x.Args[i])
			}
		case *ast.CompositeLit:
			kind := written(x.Type)
			if kind != "Error" && kind != "Fault" || len(x.Elts) == 0 {
				return true
			}
			if _, keyed := x.Elts[0].(*ast.KeyValueExpr); !keyed {
				take(x.Elts[len(x.Elts)-1])
			}
			for _, e := range x.Elts {
				if kv, ok := e.(*ast.KeyValueExpr); ok && written(kv.Key) == "Reason" {
					take(kv.Value)
				}
			}
		}
		return true
	})
	return formats, odd
}

// written is an expression as it is written.
func written(e ast.Expr) string {
	var b bytes.Buffer
	if e != nil {
		_ = printer.Fprint(&b, token.NewFileSet(), e)
	}
	return b.String()
}

// TestReasonsAreTranslated walks every refusal of the registry, the console and
// the sync API's validation: each has its Chinese, and no other one's.
func TestReasonsAreTranslated(t *testing.T) {
	made := make(map[string]bool)
	var sources []string
	for _, pattern := range []string{"*.go", "../../topology/registry/*.go", "../../schemas/validate.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("no files %s: %v", pattern, err)
		}
		sources = append(sources, files...)
	}
	for _, name := range sources {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		formats, odd := madeReasons(t, name)
		for _, o := range odd {
			t.Errorf("%s: a refusal whose text is no literal: pages cannot know its Chinese", o)
		}
		for _, f := range formats {
			made[f] = true
			if reasons[f] == "" {
				t.Errorf("%s refuses with %q, which has no Chinese: add it to page_reason_zh.go", name, f)
			}
		}
	}
	if len(made) < 140 {
		t.Fatalf("only %d refusals were found: the walk is blind", len(made))
	}
	for format, zh := range reasons {
		verbs := reasonVerb.FindAllString(format, -1)
		args, shown := make([]any, len(verbs)), make([]any, len(verbs))
		for i, v := range verbs {
			switch v[len(v)-1] {
			case 'd':
				args[i] = 1000 + i
			case 'q':
				args[i] = "v" + strconv.Itoa(i)
			default:
				args[i] = "x" + strconv.Itoa(i)
			}
			shown[i] = fmt.Sprintf(strings.Replace(v, "w", "v", 1), args[i])
		}
		english := fmt.Sprintf(strings.ReplaceAll(format, "%w", "%v"), args...)
		want := zh
		if len(shown) > 0 {
			want = fmt.Sprintf(zh, shown...)
		}
		if strings.Contains(want, "%!") {
			t.Errorf("%q and %q do not hold the same values", format, zh)
		}
		if got, ok := chinese(english); !ok || got != want {
			t.Errorf("%q is said as %q, want %q", english, got, want)
		}
	}
}

// TestReasonsAreNotStale: each format with Chinese is still somewhere, those of
// the quorum and of helpers, which the walk does not read, included.
func TestReasonsAreNotStale(t *testing.T) {
	literals := make(map[string]bool)
	for _, pattern := range []string{"*.go", "../../topology/registry/*.go", "../../topology/registry/quorum/*.go", "../../schemas/validate.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if base := filepath.Base(name); strings.HasSuffix(name, "_test.go") || base == "page_reason_zh.go" {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
					s, _ := strconv.Unquote(l.Value)
					literals[s], literals[s+"%s"] = true, true
				}
				return true
			})
		}
	}
	for format := range reasons {
		if !literals[format] {
			t.Errorf("nothing refuses with %q any more", format)
		}
	}
}

// TestRefusalsOnChinesePages: what people meet is in their language; what they
// typed stays as it is.
func TestRefusalsOnChinesePages(t *testing.T) {
	d, _, role := pageDesk(t)
	zh := func(path string, form map[string][]string) string {
		t.Helper()
		w := d.submit(path, form, inChinese)
		if w.Code < 400 {
			t.Fatalf("%s: %d", path, w.Code)
		}
		return mainOf(w.Body.String())
	}
	for _, c := range []struct {
		path string
		form map[string][]string
		want string
	}{
		{"/config/new", createForm(map[string]string{"bizType": "UCHAT"}), `同步标识: 实例 &#34;default_APP1&#34; 中已有 &#34;UCHAT&#34;`},
		{"/config/new", createForm(map[string]string{"bizType": ""}), "不能为空：1 到 30 个字符"},
		{"/config/new", createForm(map[string]string{"repush": "threshold", "threshold": "x"}), `重推阈值: &#34;x&#34;：须为 1 到 1000000 的数字`},
		{"/config/edit?i=nowhere&b=UCHAT", nil, `实例 &#34;nowhere&#34; 中没有配置 &#34;UCHAT&#34;`},
		{"/instance/edit?i=default_APP1", jwtPage(map[string][]string{"jwt": {"HS256"}, "secret": {"x"}}), "令牌密钥: HS256 需要至少 32 字节的密钥"},
		{"/login", map[string][]string{"name": {"it is missing"}, "password": {"y"}}, "用户名或密码错误"},
	} {
		if got := zh(c.path, c.form); !strings.Contains(got, c.want) {
			t.Errorf("%s: no %q in %s", c.path, c.want, got)
		}
	}
	d.r.down = fmt.Errorf("read registry: %w", errTest)
	if got := zh("/config/new", createForm(nil)); !strings.Contains(got, "无法读取注册中心：no leader is known") {
		t.Errorf("without a leader: %s", got)
	}
	d.r.down = fmt.Errorf("disk on fire")
	if got := zh("/config/new", createForm(nil)); !strings.Contains(got, "系统消息：disk on fire") {
		t.Errorf("a failure that nobody foresaw: %s", got)
	}
	d.r.down, *role = nil, registry.Viewer
	if w := d.call("GET", "/users", "", inChinese); w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "需要“管理员”角色，而 &#34;ann&#34; 为“只读”") {
		t.Errorf("a viewer is told %s", mainOf(w.Body.String()))
	}
}
