package registry

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/tidemarkio/tidemark/schemas"
)

var update = flag.Bool("update", false, "write the transcripts anew")

// A transcript is a conversation with a model: a line that starts with '>' is
// a command, the lines up to the next one are all that it answers. Commands:
//
//	> <kind of operation> <json>    one operation per line; several are joined by " + "
//	> as <actor>                    who acts from here on
//	> expect <revision>             of the next command
//	> repeat                        the last command again, same ID
//	> show | audit | pending | settings | since <revision>
//	> snapshot                      go on with the model restored from its snapshot
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { playTranscript(t, file) })
	}
}

func playTranscript(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, m: created(t), actor: "alice"}
	var out bytes.Buffer
	for l := range strings.Lines(string(text)) {
		if line := strings.TrimSpace(l); strings.HasPrefix(line, ">") {
			out.WriteString(l)
			s.play(&out, strings.TrimSpace(line[1:]))
			out.WriteByte('\n')
		} else if strings.HasPrefix(line, "#") {
			out.WriteString(l)
		}
	}
	if *update {
		if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if out.String() != string(text) {
		t.Errorf("%s: the conversation goes otherwise (rewrite with -update, then read it):\n%s", file, out.String())
	}
}

// stage is where a transcript plays.
type stage struct {
	t      *testing.T
	m      *Model
	actor  string
	expect int64
	last   Command
	n      int
}

func (s *stage) play(out *bytes.Buffer, line string) {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "as":
		s.actor = rest
	case "expect":
		s.expect = number(s.t, rest)
	case "repeat":
		s.apply(out, s.last)
	case "show":
		s.show(out)
	case "audit":
		for _, r := range s.m.Audit(AuditFilter{Limit: int(number(s.t, rest))}) {
			fmt.Fprintf(out, "seq%d r%d %s %s %s/%s before=%s after=%s\n", r.Seq, r.Revision, r.Actor, r.Action, r.Object.InstanceID, r.Object.Name, r.Before, r.After)
		}
	case "pending":
		for _, p := range s.m.publication.pending.items() {
			fmt.Fprintf(out, "r%d rules=%d", p.Control.Revision, p.Control.Rules)
			for _, c := range p.Control.Changes {
				fmt.Fprintf(out, " %s", describe(&c))
			}
			fmt.Fprintln(out)
		}
	case "settings":
		fmt.Fprintf(out, "r%d", s.m.Settings().Revision)
		for _, c := range s.m.Settings().Changes() {
			fmt.Fprintf(out, " %s", describe(&c))
		}
		fmt.Fprintln(out)
	case "since":
		touched, reset := s.m.Since(number(s.t, rest))
		fmt.Fprintf(out, "reset=%t %v\n", reset, touched)
	case "snapshot":
		s.m = restored(s.t, s.m)
	default:
		s.apply(out, s.command(line))
	}
}

func (s *stage) command(line string) Command {
	s.n++
	c := Command{ID: fmt.Sprint("c", s.n), Actor: s.actor, Source: "127.0.0.1", Time: int64(s.n) * 1000, Expect: s.expect}
	s.expect = 0
	for op := range strings.SplitSeq(line, " + ") {
		kind, body, _ := strings.Cut(op, " ")
		read := kinds[kind]
		if read == nil {
			c.Ops = append(c.Ops, unknownOp{kind})
			continue
		}
		o, err := read(json.RawMessage(body))
		if err != nil {
			s.t.Fatalf("%s: %v", line, err)
		}
		c.Ops = append(c.Ops, o)
	}
	return c
}

func (s *stage) apply(out *bytes.Buffer, c Command) {
	s.last = c
	var r Result
	s.m, r = s.m.Apply(c)
	switch {
	case r.Refused != nil:
		fmt.Fprintf(out, "r%d %s: %s\n", r.Revision, r.Refused.Problem, r.Refused)
	case !r.Changed:
		fmt.Fprintf(out, "r%d no change\n", r.Revision)
	case r.Publish != 0:
		fmt.Fprintf(out, "r%d publish\n", r.Revision)
	default:
		fmt.Fprintf(out, "r%d\n", r.Revision)
	}
}

func (s *stage) show(out *bytes.Buffer) {
	m := s.m
	p := m.Published()
	fmt.Fprintf(out, "r%d skipped=%d rules=%d signature=%t published=r%d at %d of %q\n",
		m.Revision(), m.Skipped(), m.Rules(), m.Signature(), p.Revision, p.Time, p.Topic)
	print := func(v any) {
		b, err := json.Marshal(v)
		if err != nil {
			s.t.Fatal(err)
		}
		fmt.Fprintf(out, "%s\n", b)
	}
	for i := range m.Instances() {
		print(i.View())
		for c := range m.Syncs(i.ID) {
			print(c)
		}
	}
	for u := range m.Users() {
		print(u.View())
	}
	for l := range m.Locks() {
		print(l)
	}
	for n := range m.Members() {
		print(n)
	}
}

func describe(c *schemas.Change) string {
	switch c.Kind {
	case schemas.PutInstance:
		return "+" + c.InstanceID
	case schemas.DeleteInstance:
		return "-" + c.InstanceID
	case schemas.DeleteSync:
		return "-" + c.InstanceID + "/" + c.Sync.BizType
	}
	state := "off"
	if c.Sync.Online {
		state = "on"
	}
	return "+" + c.InstanceID + "/" + c.Sync.BizType + "(" + state + ")"
}

func number(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// failer is a test, or a rapid check.
type failer interface {
	Helper()
	Fatal(...any)
}

// created is a registry after its first command.
func created(t failer) *Model {
	t.Helper()
	m, r := (&Model{}).Apply(Command{ID: "create", Actor: "registry", Ops: []Op{Create{
		ID: "cluster", ClusterKey: Hash{1}, Pepper: Hash{2}, Topology: []byte(`{"partitions":8,"keyHash":"murmur2"}`),
	}}})
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	return m
}

// restored is the model that a model's snapshot gives.
func restored(t failer, m *Model) *Model {
	t.Helper()
	var b bytes.Buffer
	if err := m.Snapshot(&b); err != nil {
		t.Fatal(err)
	}
	got, err := Restore(&b)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// text is a model's snapshot, unpacked.
func text(t failer, m *Model) string {
	t.Helper()
	var b bytes.Buffer
	if err := m.writeLines(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
