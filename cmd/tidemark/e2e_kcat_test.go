//go:build kafka

package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// kcat runs the foreign client with input and gives what it printed.
func kcat(ctx context.Context, t *testing.T, in string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("kcat")
	if err != nil {
		t.Fatal("kcat is not installed: apt-get install kcat (this test needs a client that is not ours)")
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin = strings.NewReader(in)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		t.Fatalf("kcat %v: %v: %s", args, err, errOut.String())
	}
	return out.String()
}

// kcat with its own partitioner writes requests to the embedded broker, and
// reads the oplog that came of them.
func TestKcatProducesAndConsumes(t *testing.T) {
	ctx := within(t)
	n := startDev(ctx, t, nil)
	const each = 10
	var in strings.Builder
	for i := range each {
		for u := range users {
			r := chat(user(u), fmt.Sprintf("m%02d", i))
			fmt.Fprintf(&in, "%s\t%s\n", r.Key(), r.JSON())
		}
	}
	kcat(ctx, t, in.String(), "-P", "-b", n.Kafka, "-t", prefix+"requests", "-K", "\t")
	topics, a := settled(ctx, t, n.Brokers(), prefix, nil)
	for u := range users {
		got := entriesOf(a, user(u))
		for i := range each {
			if want := fmt.Sprintf("m%02d", i); i >= len(got) || got[i] != want {
				t.Fatalf("%s: oplogs %v: number %d must be %s", user(u), got, i, want)
			}
		}
	}
	foreign := 0
	for p, log := range topics.Requests {
		for _, r := range log {
			if len(r.Key) > 0 && r.Headers["tidemark-control"] == "" && crc32Partition(string(r.Key), partitions) == int32(p) {
				foreign++
			}
		}
	}
	if foreign < each*users {
		t.Errorf("kcat put %d of %d records where CRC32 puts them: its partitioner is not what this test is about", foreign, each*users)
	}
	out := kcat(ctx, t, "", "-C", "-b", n.Kafka, "-t", prefix+"oplog", "-o", "beginning", "-e", "-q", "-f", "%k\n")
	for u := range users {
		if lines := strings.Count("\n"+out, "\n"+user(u)+"\n"); lines == 0 {
			t.Errorf("kcat sees no entry of %s in the oplog", user(u))
		}
	}
	must(t, n.Stop())
}
