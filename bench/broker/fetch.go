package broker

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

//go:embed pom.xml
var pom []byte

// Version of Apache Kafka that is run: what pom.xml says.
var Version = pomVersion(pom)

func pomVersion(pom []byte) string {
	var p struct {
		Version string `xml:"properties>kafka.version"`
	}
	if err := xml.Unmarshal(pom, &p); err != nil || p.Version == "" {
		panic(fmt.Sprintf("pom.xml without kafka.version: %v", err)) // it is built in
	}
	return p.Version
}

// lockPoll is how often a waiting process looks whether another's fetch is done.
const lockPoll = 200 * time.Millisecond

// fetch gives the directory with the jars, getting them if need be. The
// directory is named after the pom, and appears whole or not at all.
func fetch(ctx context.Context, cfg Config) (string, error) {
	sum := sha256.Sum256(pom)
	dir := filepath.Join(cfg.CacheDir, "kafka-"+Version+"-"+hex.EncodeToString(sum[:4]))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(cfg.CacheDir, 0o755); err != nil {
		return "", fmt.Errorf("fetch Kafka: %w", err)
	}
	unlock, err := lockFile(ctx, dir+".lock", cfg.Progress)
	if err != nil {
		return "", fmt.Errorf("fetch Kafka: %w", err)
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil // another process fetched while we waited
	}
	if err := runMaven(ctx, dir, cfg.Progress); err != nil {
		return "", fmt.Errorf("fetch Kafka: %w", err)
	}
	return dir, nil
}

// lockFile takes an advisory lock that goes with the process, however it ends.
func lockFile(ctx context.Context, name string, progress io.Writer) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for told := false; ; {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		if !told {
			fmt.Fprintln(progress, "broker: another process is fetching Kafka, waiting for it")
			told = true
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("wait for the process that holds %s: %w", name, ctx.Err())
		case <-time.After(lockPoll):
		}
	}
}

func runMaven(ctx context.Context, dir string, progress io.Writer) error {
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return fmt.Errorf("maven is not installed (Debian: apt-get install maven): %w", err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "fetching-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp) //nolint:errcheck // it is in the temporary directory
	if err := os.WriteFile(filepath.Join(tmp, "pom.xml"), pom, 0o644); err != nil {
		return err
	}
	jars := filepath.Join(tmp, "jars")
	fmt.Fprintf(progress, "broker: fetching Apache Kafka %s from Maven Central into %s (54 MB, once)\n", Version, dir)
	began := time.Now()
	cmd := exec.CommandContext(ctx, mvn, "-B", "-f", filepath.Join(tmp, "pom.xml"), "dependency:copy-dependencies", "-DoutputDirectory="+jars)
	if err := runShowing(cmd, progress); err != nil {
		return err
	}
	if err := os.Rename(jars, dir); err != nil {
		return err
	}
	fmt.Fprintf(progress, "broker: fetched in %s\n", time.Since(began).Round(time.Second))
	return nil
}

// outputKept of a command that failed is quoted in the error.
const outputKept = 8 << 10

// runShowing runs Maven, shows each jar as it comes, and quotes the rest of
// the output only if it fails.
func runShowing(cmd *exec.Cmd, progress io.Writer) error {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return err
	}
	var kept bytes.Buffer
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		line := lines.Text()
		if rest, ok := strings.CutPrefix(line, "[INFO] Downloaded from "); ok {
			if strings.Contains(rest, ".jar (") {
				fmt.Fprintln(progress, "broker:   "+path.Base(strings.ReplaceAll(rest, "/s)", " a second)")))
			}
			continue
		}
		if strings.HasPrefix(line, "[INFO] Downloading") {
			continue
		}
		if kept.Len() < outputKept {
			kept.WriteString(line + "\n")
		}
	}
	// A line too long to scan must not block the command.
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, kept.Bytes())
	}
	return nil
}
