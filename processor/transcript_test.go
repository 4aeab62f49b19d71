package processor

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write what happens into the transcripts of testdata")

// TestTranscripts plays testdata/*.txt: a command, and all that happened. A
// file is a story of its own. See stage for the commands.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { playTranscript(t, file) })
	}
}

func playTranscript(t *testing.T, file string) {
	was, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t)
	var is bytes.Buffer
	inOutput := false
	for line := range strings.Lines(string(was)) {
		text := strings.TrimRight(line, "\n")
		switch {
		case inOutput && text != "":
		case text == "" || strings.HasPrefix(text, "#"):
			inOutput = false
			is.WriteString(text + "\n")
		case text == "----":
			inOutput = true
		default:
			fmt.Fprintf(&is, "%s\n----\n%s", text, s.run(text))
		}
	}
	if *rewrite {
		if err := os.WriteFile(file, is.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if is.String() != string(was) {
		t.Errorf("%s differs from what happens (see -rewrite):\n%s", file, firstDifference(string(was), is.String()))
	}
}

func firstDifference(was, is string) string {
	a, b := strings.Split(was, "\n"), strings.Split(is, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d\n  written  %s\n  happens  %s", i+1, a[i], b[i])
		}
	}
	return fmt.Sprintf("written %d lines, %d happen", len(a), len(b))
}
