package progress

import (
	"bytes"
	"regexp"
	"testing"
)

// Where nobody looks at a terminal, a step is one line, and numbers of work
// leave no trace.
func TestStepsAreLinesWithoutATerminal(t *testing.T) {
	var b bytes.Buffer
	p := New(&b, 2)
	p.Say("two steps of %s", "work")
	for _, name := range []string{"first", "second"} {
		s := p.Step(name, 10)
		s.Add(3)
		s.Set(10)
		s.End("%d done", 10)
	}
	want := regexp.MustCompile(`^two steps of work\n\[1/2\] first: 10 done \([0-9.]+m?s\)\n\[2/2\] second: 10 done \([0-9.]+m?s\)\n$`)
	if !want.Match(b.Bytes()) {
		t.Errorf("it says %q", b.String())
	}
}
