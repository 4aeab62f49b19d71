package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/cmd/internal/e2e"
)

// shBlock is a block of the README that readers copy into their shell.
var shBlock = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")

// TestReadme runs every command that the README shows, in their order and in
// one shell, as a newcomer would, on ports of its own.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	script.WriteString("set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n")
	blocks := shBlock.FindAllSubmatch(text, -1)
	for i, b := range blocks {
		fmt.Fprintf(&script, "echo '== block %d'\n%s\n", i+1, b[1])
	}
	dir := t.TempDir()
	n, err := e2e.NewNode(e2e.Config{Program: e2e.Self(), Role: "dev", Dir: filepath.Join(dir, "ports")})
	if err != nil {
		t.Fatal(err)
	}
	shell := script.String()
	for from, to := range map[string]string{"127.0.0.1:8080": n.HTTP, "127.0.0.1:8081": n.Admin, "127.0.0.1:9092": n.Kafka} {
		shell = strings.ReplaceAll(shell, from, to)
	}
	wrapTidemark(t, dir, n)

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", shell)
	cmd.Dir = dir
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the README's commands (bash and curl are needed): %v\n%s", err, out)
	}
	rest := string(out)
	for _, want := range []string{
		"== block 2\n", "ready\n", "PARTITION",
		`{"msg":"NOT_ONLINE","success":true}`, "NOT_ONLINE  id 2",
		`{"msg":"DUPLICATED_BIZ_ID","success":true}`,
		`"bizType":"UCHAT","from":0,"to":2,"op":[{"id":1,"thirdMsgId":"m1","pl":"hello"},{"id":2,`,
		`{"success":true}`,
		"hello again", // the terminal client's
		"written to tidemark.requests partition",
		"no changes", "tidemark.oplog",
		"GLOBAL-NOTICE", "user42",
		`"ready": true`, "LAST CONTACT", "registry.backup: ", "position",
	} {
		i := strings.Index(rest, want)
		if i < 0 {
			t.Fatalf("the README's commands do not print %q where they should. What they print:\n%s", want, out)
		}
		rest = rest[i+len(want):]
	}
}

// wrapTidemark puts a bin/tidemark into the directory: this test program, told
// where the test's node is.
func wrapTidemark(t *testing.T, dir string, n *e2e.Node) {
	t.Helper()
	self := e2e.Self()
	script := fmt.Sprintf(`#!/bin/bash
export %s
case "$1" in
dev) set -- "$@" --http %[2]s --admin %[3]s --native %[4]s --kafka %[5]s ;;
status | registry | config | sync | key | audit | stats | redeliver | live | signature | instance | user) set -- "$@" --admin http://%[3]s ;;
send | listen) [[ " $* " == *" --kafka "* ]] || set -- "$@" --url http://%[2]s ;;
esac
exec %[6]s "$@"
`, strings.Join(append(self.Env, "README_TEST=1"), " "), n.HTTP, n.Admin, n.Native, n.Kafka, self.Path)
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bin", "tidemark"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
}
