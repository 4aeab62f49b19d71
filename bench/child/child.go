package child

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// tailBytes of the log are quoted in errors.
const tailBytes = 4 << 10

// Config says what to run.
type Config struct {
	// Name is what errors call the program; default: Path.
	Name string
	// Path of the program, looked up in PATH when it has no slash.
	Path string
	Args []string
	// Env entries are added to our own environment.
	Env []string
	// Dir is the working directory; default: ours.
	Dir string
	// LogFile gets stdout and stderr, appended. Required.
	LogFile string
}

// Child is a running or ended program.
type Child struct {
	name    string
	logFile string
	cmd     *exec.Cmd
	began   time.Time
	done    chan struct{} // closed after err and last are set
	err     error
	last    Usage

	mu   sync.Mutex
	peak int64 // highest RSS seen
}

// Start runs the program.
func Start(cfg Config) (*Child, error) {
	if cfg.Name == "" {
		cfg.Name = cfg.Path
	}
	log, err := os.OpenFile(cfg.LogFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start %s: open its log: %w", cfg.Name, err)
	}
	cmd := exec.Command(cfg.Path, cfg.Args...)
	cmd.Env = append(os.Environ(), cfg.Env...)
	cmd.Dir = cfg.Dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = dieWithParent()
	c := &Child{name: cfg.Name, logFile: cfg.LogFile, cmd: cmd, began: time.Now(), done: make(chan struct{})}
	started := make(chan error)
	go c.run(log, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cfg.Name, err)
	}
	return c, nil
}

func (c *Child) run(log io.Closer, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(c.done)
	defer log.Close()
	err := c.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	c.err = c.cmd.Wait()
	if s := c.cmd.ProcessState; s != nil {
		c.last.CPU = s.UserTime() + s.SystemTime()
	}
}

// PID of the process.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Began is when the program was started.
func (c *Child) Began() time.Time { return c.began }

// LogFile holds the program's output.
func (c *Child) LogFile() string { return c.logFile }

// Done closes when the program has ended.
func (c *Child) Done() <-chan struct{} { return c.done }

// Err is how the program ended, with the end of its log; nil for exit code 0
// and while it runs.
func (c *Child) Err() error {
	select {
	case <-c.done:
	default:
		return nil
	}
	if c.err == nil {
		return nil
	}
	return c.Explain(fmt.Errorf("%s: %w", c.name, c.err))
}

// Explain adds the end of the program's log to an error.
func (c *Child) Explain(err error) error {
	return fmt.Errorf("%w\nlog %s ends with:\n%s", err, c.logFile, indent(tail(c.logFile)))
}

// Usage is what the program has used so far. After its end it is what it used
// in all, with the peak as the last call before the end saw it: the peak that
// the kernel reports for an ended process may be that of the process which
// started it.
func (c *Child) Usage() (Usage, error) {
	select {
	case <-c.done:
		return c.atEnd(), nil
	default:
	}
	u, err := Of(c.PID())
	if err != nil {
		// It may have ended between the two looks.
		select {
		case <-c.done:
			return c.atEnd(), nil
		case <-time.After(time.Second):
			return Usage{}, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.peak = max(c.peak, u.RSSPeak)
	return u, nil
}

func (c *Child) atEnd() Usage {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Usage{CPU: c.last.CPU, RSSPeak: c.peak}
}

// Signal sends a signal; it is no error if the program has ended.
func (c *Child) Signal(sig syscall.Signal) error {
	err := c.cmd.Process.Signal(sig)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Kill ends the program with SIGKILL and waits for its end.
func (c *Child) Kill() error {
	if err := c.Signal(syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill %s: %w", c.name, err)
	}
	<-c.done
	return nil
}

// Stop asks the program to end and kills it after the grace. It is an error if
// it had to be killed.
func (c *Child) Stop(grace time.Duration) error {
	if err := c.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop %s: %w", c.name, err)
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-c.done:
		return nil
	case <-timer.C:
	}
	if err := c.Kill(); err != nil {
		return err
	}
	return c.Explain(fmt.Errorf("%s did not end within %s of SIGTERM and was killed", c.name, grace))
}

func tail(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Size() > tailBytes {
		_, _ = f.Seek(-tailBytes, io.SeekEnd) // if it fails, more is quoted
	}
	b, err := io.ReadAll(io.LimitReader(f, tailBytes))
	if err != nil {
		return err.Error()
	}
	if i := bytes.IndexByte(b, '\n'); len(b) == tailBytes && i >= 0 {
		b = b[i+1:]
	}
	return string(bytes.TrimSpace(b))
}

func indent(s string) string { return "  " + strings.ReplaceAll(s, "\n", "\n  ") }
