package report

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
)

// Machine is where something was measured.
type Machine struct {
	CPU      string // model name
	Cores    int
	MemBytes int64
	Kernel   string
	Go       string
	Java     string // empty if there is none
}

// ThisMachine looks around. What it cannot find out it leaves empty.
func ThisMachine(ctx context.Context) Machine {
	m := Machine{Cores: runtime.NumCPU(), Go: strings.TrimPrefix(runtime.Version(), "go"), CPU: runtime.GOARCH}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if name := fieldOf(b, "model name"); name != "" {
			m.CPU = name
		}
	}
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		kib, _ := strconv.ParseInt(strings.TrimSuffix(fieldOf(b, "MemTotal"), " kB"), 10, 64) // 0 says unknown
		m.MemBytes = kib << 10
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = "Linux " + release(strings.TrimSpace(string(b)))
	} else {
		m.Kernel = runtime.GOOS
	}
	if out, err := exec.CommandContext(ctx, "java", "-version").CombinedOutput(); err == nil {
		m.Java = javaVersion(string(out))
	}
	return m
}

// release is the version in a kernel's release string; what follows it names
// whoever built it.
func release(s string) string {
	v, _, _ := strings.Cut(s, "-")
	return v
}

var quoted = regexp.MustCompile(`version "([^"]+)"`)

func javaVersion(out string) string {
	if m := quoted.FindStringSubmatch(out); m != nil {
		return m[1]
	}
	return ""
}

// fieldOf finds the first "name : value" line.
func fieldOf(b []byte, name string) string {
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		key, value, ok := strings.Cut(lines.Text(), ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// String is one line for a report.
func (m Machine) String() string {
	s := fmt.Sprintf("%s, %d cores, %.0f GiB memory, %s, Go %s", m.CPU, m.Cores, float64(m.MemBytes)/(1<<30), m.Kernel, m.Go)
	if m.Java != "" {
		s += ", Java " + m.Java
	}
	return s
}

// Commit names the checkout that the working directory is in: a short hash,
// with "+" when files differ from it; "unknown" outside a checkout.
func Commit(ctx context.Context) string {
	hash, err := exec.CommandContext(ctx, "git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	name := strings.TrimSpace(string(hash))
	if changed, err := exec.CommandContext(ctx, "git", "status", "--porcelain", "--untracked-files=no").Output(); err == nil && len(changed) > 0 {
		name += "+"
	}
	return name
}
