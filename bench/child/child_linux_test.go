package child

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test program plays the child too: TestMain looks at the environment.
func TestMain(m *testing.M) {
	switch os.Getenv("CHILD_ROLE") {
	case "spin":
		for deadline := time.Now().Add(200 * time.Millisecond); time.Now().Before(deadline); {
		}
		fmt.Println("spun")
		select {}
	case "fail":
		fmt.Println("first line")
		fmt.Println("the reason")
		os.Exit(3)
	case "parent":
		c, err := Start(Config{Path: os.Args[0], Env: []string{"CHILD_ROLE=spin"}, LogFile: os.Getenv("CHILD_LOG")})
		if err != nil {
			panic(err)
		}
		fmt.Println(c.PID())
		select {}
	}
	os.Exit(m.Run())
}

func start(t *testing.T, role string) *Child {
	t.Helper()
	c, err := Start(Config{Name: role, Path: os.Args[0], Env: []string{"CHILD_ROLE=" + role}, LogFile: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Kill() })
	return c
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

func TestUsageBeforeAndAfterTheEnd(t *testing.T) {
	c := start(t, "spin")
	eventually(t, "log says spun", func() bool {
		b, _ := os.ReadFile(c.LogFile())
		return strings.Contains(string(b), "spun")
	})
	live, err := c.Usage()
	if err != nil {
		t.Fatal(err)
	}
	if live.CPU < tick || live.RSS == 0 || live.RSSPeak < live.RSS {
		t.Errorf("usage of a spinning child: %+v", live)
	}
	if err := c.Stop(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	ended, err := c.Usage()
	if err != nil {
		t.Fatal(err)
	}
	if ended.CPU+tick < live.CPU || ended.RSSPeak != live.RSSPeak {
		t.Errorf("usage after the end %+v, before %+v", ended, live)
	}
}

func TestErrorQuotesTheLog(t *testing.T) {
	c := start(t, "fail")
	<-c.Done()
	err := c.Err()
	if err == nil || !strings.Contains(err.Error(), "the reason") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("error: %v", err)
	}
}

func TestStartOfNothing(t *testing.T) {
	_, err := Start(Config{Path: "/does/not/exist", LogFile: filepath.Join(t.TempDir(), "log")})
	if err == nil || !strings.Contains(err.Error(), "/does/not/exist") {
		t.Errorf("error: %v", err)
	}
}

// A child must not outlive a parent that was killed without a chance to clean up.
func TestChildDiesWithKilledParent(t *testing.T) {
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), "CHILD_ROLE=parent", "CHILD_LOG="+filepath.Join(t.TempDir(), "log"))
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // ends by the signal
	eventually(t, "grandchild ended", func() bool { return gone(pid) })
}

// gone holds for a process that ended, whether or not anybody waited for it.
func gone(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(rest, "Z")
}

func TestParseStat(t *testing.T) {
	got, err := parseStat([]byte("42 (a) b (c)) S 1 42 42 0 -1 4194560 100 0 0 0 7 5 0 0 20 0 8 0 100"))
	if err != nil || got != 120*time.Millisecond {
		t.Errorf("parseStat: %v, %v", got, err)
	}
	for _, bad := range []string{"", "42 sh S 1", "42 (sh) S 1 2", "42 (sh) S 1 42 42 0 -1 4194560 100 0 0 0 x 5 0"} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("parseStat(%q) gave no error", bad)
		}
	}
}

func TestParseBusy(t *testing.T) {
	got, err := parseBusy("cpu  10 20 30 4000 500 6 7 8 0 0")
	if err != nil || got != 810*time.Millisecond {
		t.Errorf("parseBusy: %v, %v", got, err)
	}
	if _, err := parseBusy("intr 1 2"); err == nil {
		t.Error("parseBusy took a foreign line")
	}
}

func TestKib(t *testing.T) {
	status := []byte("Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n")
	if got := kib(status, "VmHWM:"); got != 2<<20 {
		t.Errorf("VmHWM: %d", got)
	}
	if got := kib(status, "VmSwap:"); got != 0 {
		t.Errorf("missing: %d", got)
	}
}
