package broker

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeMaven puts a program named mvn before all others in PATH. It notes each
// call and "copies" one jar, slowly enough for a second call to overlap.
func fakeMaven(t *testing.T, script string) (calls string) {
	t.Helper()
	dir := t.TempDir()
	calls = filepath.Join(dir, "calls")
	text := "#!/bin/sh\necho call >> " + calls + "\nfor a; do case $a in -DoutputDirectory=*) out=${a#*=};; esac; done\n" + script
	if err := os.WriteFile(filepath.Join(dir, "mvn"), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return calls
}

func TestFetchOnceForAll(t *testing.T) {
	calls := fakeMaven(t, "mkdir $out && sleep 0.3 && echo x > $out/kafka.jar\n")
	cfg := Config{CacheDir: t.TempDir(), Progress: io.Discard}
	var wait sync.WaitGroup
	dirs := make([]string, 4)
	for i := range dirs {
		wait.Go(func() {
			dir, err := fetch(context.Background(), cfg)
			if err != nil {
				t.Error(err)
			}
			dirs[i] = dir
		})
	}
	wait.Wait()
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "kafka.jar")); err != nil || dir != dirs[0] {
			t.Errorf("fetched into %q and %q: %v", dirs[0], dir, err)
		}
	}
	b, err := os.ReadFile(calls)
	if err != nil || string(b) != "call\n" {
		t.Errorf("calls of Maven: %q, %v", b, err)
	}
}

func TestFetchThatFailsLeavesNothing(t *testing.T) {
	fakeMaven(t, "mkdir $out; echo half > $out/kafka.jar; echo '[INFO] Downloading from central: x'; echo no route to host; exit 1\n")
	cfg := Config{CacheDir: t.TempDir(), Progress: io.Discard}
	_, err := fetch(context.Background(), cfg)
	if err == nil || !strings.Contains(err.Error(), "no route to host") || strings.Contains(err.Error(), "Downloading") {
		t.Errorf("error: %v", err)
	}
	left, err := os.ReadDir(cfg.CacheDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		if !strings.HasSuffix(e.Name(), ".lock") {
			t.Errorf("left behind: %s", e.Name())
		}
	}
}

func TestFetchShowsJars(t *testing.T) {
	fakeMaven(t, "mkdir $out; echo '[INFO] Downloaded from central: https://host/a/kafka-clients.jar (10 MB at 35 MB/s)'; echo '[INFO] Downloaded from central: https://host/a/x.pom (1 kB at 1 kB/s)'\n")
	var progress bytes.Buffer
	if _, err := fetch(context.Background(), Config{CacheDir: t.TempDir(), Progress: &progress}); err != nil {
		t.Fatal(err)
	}
	got := progress.String()
	if !strings.Contains(got, "broker:   kafka-clients.jar (10 MB at 35 MB a second)\n") || strings.Contains(got, "x.pom") {
		t.Errorf("progress:\n%s", got)
	}
}

func TestFetchWithoutMaven(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := fetch(context.Background(), Config{CacheDir: t.TempDir(), Progress: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "maven is not installed") {
		t.Errorf("error: %v", err)
	}
}

func TestLockWaitEndsWithContext(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	unlock, err := lockFile(context.Background(), name, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	var progress bytes.Buffer
	if _, err := lockFile(ctx, name, &progress); err == nil {
		t.Error("took a lock that is held")
	}
	if !strings.Contains(progress.String(), "another process") {
		t.Errorf("progress: %q", progress.String())
	}
}

func TestPorts(t *testing.T) {
	a, err := FreePorts(6)
	if err != nil {
		t.Fatal(err)
	}
	b, err := FreePorts(6)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[int]bool)
	for _, p := range append(a, b...) {
		if p < portMin || p >= portMax || seen[p] {
			t.Errorf("port %d: out of range or given twice", p)
		}
		seen[p] = true
	}
}

func TestProperties(t *testing.T) {
	three := []address{{1001, 1002}, {1003, 1004}, {1005, 1006}}
	tests := []struct {
		name string
		cfg  Config
		id   int
		want []string
	}{
		{"one node", Config{Nodes: 1}, 1, []string{"controller.quorum.voters=1@127.0.0.1:1002", "offsets.topic.replication.factor=1", "auto.create.topics.enable=false"}},
		{"three nodes", Config{Nodes: 3}, 2, []string{
			"controller.quorum.voters=1@127.0.0.1:1002,2@127.0.0.1:1004,3@127.0.0.1:1006", "node.id=2",
			"advertised.listeners=BROKER://127.0.0.1:1003", "min.insync.replicas=2", "transaction.state.log.replication.factor=3"}},
		{"caller's word wins", Config{Nodes: 1, Properties: map[string]string{"num.io.threads": "1"}}, 1, []string{"num.io.threads=1"}},
	}
	for _, tt := range tests {
		got := "\n" + tt.cfg.properties(tt.id, three[:tt.cfg.Nodes], "/data")
		for _, line := range tt.want {
			if !strings.Contains(got, "\n"+line+"\n") {
				t.Errorf("%s: no line %q in:%s", tt.name, line, got)
			}
		}
	}
}

func TestConfigRefused(t *testing.T) {
	for _, cfg := range []Config{{Nodes: 2}, {HeapMiB: 64}, {StartTimeout: -1}} {
		if _, err := Start(context.Background(), cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}
