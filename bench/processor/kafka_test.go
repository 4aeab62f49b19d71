//go:build kafka

package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The whole benchmark, small, on a real Kafka with the Kafka Streams peer:
// every program's output is right, and there is a report of all of them.
func TestQuickRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	t.Chdir("../..") // where the paths of the options begin
	o := defaults()
	o.quick, o.out = true, t.TempDir()
	if err := benchmark(ctx, o); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(o.out, reportFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range scenarios() {
		if s.Name() == "tidemark" && o.tidemark == "" {
			continue
		}
		if !strings.Contains(string(text), "| "+s.Title()+" ") {
			t.Errorf("the report says nothing of %s", s.Name())
		}
	}
	if n := strings.Count(string(text), "ids gapless over"); n < 2 {
		t.Errorf("%d findings of gapless ids, want one per Kafka Streams variant", n)
	}
}
