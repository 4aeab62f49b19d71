package console

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// Refusals are written where the rule is, in English, for the API and the log
// as well. A page finds the format that made a text and says it in Chinese with
// the same values; so a rule needs no code of its own, and what another node
// or an older release refused is understood too. What no format makes (an error
// of the network, say) is shown as it is, and said to be so.

// Reason is a refusal's reason in the page's language.
func (v *view) Reason(english string) string {
	if v.Lang == languages[0] || english == "" {
		return english
	}
	if s, ok := chinese(english); ok {
		return s
	}
	return fmt.Sprintf(v.T("reasonElse"), english)
}

// reasonPattern recognizes the texts of one format.
type reasonPattern struct {
	made    *regexp.Regexp
	fixed   int // length of what is not a value
	quoted  []bool
	chinese string
}

var reasonVerb = regexp.MustCompile(`%[-+# 0]*[0-9.]*[a-z]`)

func newReasonPattern(format, chinese string) *reasonPattern {
	p := &reasonPattern{chinese: chinese}
	var b strings.Builder
	b.WriteString(`(?s)^`)
	rest := format
	for _, verb := range reasonVerb.FindAllString(format, -1) {
		literal, after, _ := strings.Cut(rest, verb)
		rest = after
		p.fixed += len(literal)
		b.WriteString(regexp.QuoteMeta(literal))
		switch verb[len(verb)-1] {
		case 'q':
			b.WriteString(`("(?:[^"\\]|\\.)*")`)
		case 'd':
			b.WriteString(`(-?[0-9]+)`)
		default:
			b.WriteString(`(.*)`)
		}
		p.quoted = append(p.quoted, verb[len(verb)-1] == 'q')
	}
	p.fixed += len(rest)
	b.WriteString(regexp.QuoteMeta(rest) + `$`)
	p.made = regexp.MustCompile(b.String())
	return p
}

var reasonPatterns = sync.OnceValue(func() []*reasonPattern {
	all := make([]*reasonPattern, 0, len(reasons))
	for format, chinese := range reasons {
		all = append(all, newReasonPattern(format, chinese))
	}
	return all
})

// chinese says a text that a format made in Chinese. Of several that fit, the
// one with fewest values is meant. Values that are words of ours, or texts made
// by a format, are said in Chinese too.
func chinese(english string) (string, bool) {
	var best *reasonPattern
	for _, p := range reasonPatterns() {
		if (best == nil || p.fixed > best.fixed) && p.made.MatchString(english) {
			best = p
		}
	}
	if best == nil {
		return eachLine(english)
	}
	values := best.made.FindStringSubmatch(english)[1:]
	args := make([]any, len(values))
	for i, s := range values {
		args[i] = s
		if best.quoted[i] {
			continue // somebody typed it
		}
		if word, ok := reasonWords[s]; ok {
			args[i] = word
		} else if text, ok := chinese(s); ok {
			args[i] = text
		}
	}
	if len(args) == 0 {
		return best.chinese, true
	}
	return fmt.Sprintf(best.chinese, args...), true
}

// eachLine says joined errors in Chinese, as far as formats made them.
func eachLine(english string) (string, bool) {
	lines := strings.Split(english, "\n")
	any := false
	for i, l := range lines {
		if len(lines) == 1 {
			break
		}
		if s, ok := chinese(l); ok {
			lines[i], any = s, true
		}
	}
	return strings.Join(lines, "；"), any
}

// reasonWords are values of refusals that are words of ours.
var reasonWords = map[string]string{
	"viewer": "只读", "operator": "操作员", "admin": "管理员", "specified": "指定", "global": "全局", "user": "用户", "device": "设备",
	"true": "是", "false": "否", "api": "API", "client": "客户端",
}
