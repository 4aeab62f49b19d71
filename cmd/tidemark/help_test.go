package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// commands lists the whole tree of ours, without what cobra adds.
func commands(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, c := range cmd.Commands() {
		if c.Name() != "help" && c.Name() != "completion" {
			all = append(all, commands(c)...)
		}
	}
	return all
}

// helpOf is what --help prints.
func helpOf(t *testing.T, path string) string {
	t.Helper()
	var out bytes.Buffer
	cmd := root()
	cmd.SetOut(&out)
	cmd.SetArgs(append(strings.Fields(path)[1:], "--help"))
	if err := cmd.Execute(); err != nil {
		t.Fatalf("%s --help: %v", path, err)
	}
	return out.String()
}

func TestEveryCommandHelps(t *testing.T) {
	for _, cmd := range commands(root()) {
		t.Run(cmd.CommandPath(), func(t *testing.T) {
			if s := cmd.Short; s == "" || strings.HasSuffix(s, ".") || strings.ToUpper(s[:1]) != s[:1] {
				t.Errorf("Short is %q: want a phrase that begins with a capital and has no full stop", s)
			}
			help := helpOf(t, cmd.CommandPath())
			if !cmd.Runnable() {
				return // a group: its help lists what it holds
			}
			if cmd.Args == nil {
				t.Error("it takes any arguments: say which (cobra.NoArgs, cobra.ExactArgs)")
			}
			examples := exampleLines(cmd.Example)
			if len(examples) == 0 {
				t.Fatal("it has no Example")
			}
			own := 0
			for _, line := range examples {
				if !strings.Contains(help, line) {
					t.Errorf("--help does not print the example %q", line)
				}
				switch used, err := parse(line); {
				case errors.Is(err, errNotOurs):
				case err != nil:
					t.Errorf("example %q: %v", line, err)
				case used == cmd.CommandPath():
					own++
				case !strings.HasPrefix(used, cmd.CommandPath()+" "):
					t.Errorf("example %q is one of %s", line, used)
				}
			}
			if own == 0 {
				t.Error("none of its examples is one of it")
			}
		})
	}
}

// exampleLines takes the lines of an example apart that call us.
func exampleLines(example string) (lines []string) {
	for line := range strings.Lines(example) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

// parse finds out which command a shell line calls, and whether it would take
// these flags and arguments.
func parse(line string) (path string, err error) {
	words, err := shellWords(line)
	if err != nil {
		return "", err
	}
	for len(words) > 0 && assignment.MatchString(words[0]) {
		words = words[1:]
	}
	if len(words) == 0 || filepath.Base(words[0]) != "tidemark" {
		return "", errNotOurs
	}
	cmd, rest, err := root().Find(words[1:])
	if err != nil {
		return "", err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return "", err
	}
	if err := cmd.ValidateRequiredFlags(); err != nil {
		return "", err
	}
	return cmd.CommandPath(), cmd.ValidateArgs(cmd.Flags().Args())
}

// errNotOurs is a line of another program, such as what is done with ours.
var errNotOurs = errors.New("it does not call tidemark")

var assignment = regexp.MustCompile(`^[A-Z_]+=`)

// shellWords takes a command apart as a shell would, up to what is not its
// own: a pipe, a redirection, a comment, an ampersand.
func shellWords(line string) (words []string, err error) {
	var word strings.Builder
	var quote rune
	inside := false
	end := func() {
		if inside {
			words = append(words, word.String())
		}
		word.Reset()
		inside = false
	}
	for _, c := range line {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			quote, inside = c, true
		case c == ' ' || c == '\t':
			end()
		case strings.ContainsRune("|<>&;", c), c == '#' && !inside:
			end()
			return words, nil
		default:
			word.WriteRune(c)
			inside = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a %c is not closed", quote)
	}
	end()
	return words, nil
}

func TestTheExampleCheckCanFail(t *testing.T) {
	for line, want := range map[string]string{
		"tidemark dev --no-such-flag":              "unknown flag",
		"tidemark fly":                             "unknown command",
		"tidemark stats demo_APP1 user":            "accepts 3 arg",
		"tidemark config apply --prune":            "required flag",
		"tidemark dev --portbase 0 | jq .":         "unknown flag",
		"tidemark send --payload 'no end":          "not closed",
		"curl http://127.0.0.1:8081/readyz":        "does not call tidemark",
		"tidemark status --json extra | jq .ready": "unknown command",
	} {
		if used, err := parse(line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v; want an error with %q", line, used, err, want)
		}
	}
	if used, err := parse(`TIDEMARK_ADMIN_TOKEN=x bin/tidemark status --admin "http://127.0.0.1:8081" --json | jq '.x' # all of it`); err != nil || used != "tidemark status" {
		t.Errorf("%q, %v", used, err)
	}
}

// zeroSaid: a number that is 0 or -1 by default means something else by it, and
// its flag says what.
var zeroSaid = regexp.MustCompile(`(^|[ ;,(])(0|-1): |\brequired\b`)

func TestEveryFlagHelps(t *testing.T) {
	for _, cmd := range commands(root()) {
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			where := cmd.CommandPath() + " --" + f.Name
			switch {
			case f.Name == "help":
			case f.Usage == "":
				t.Errorf("%s says nothing", where)
			case strings.HasSuffix(f.Usage, ".") && !strings.HasSuffix(f.Usage, "..."):
				t.Errorf("%s: %q: flags are described by phrases, without a full stop", where, f.Usage)
			case isZero(f.DefValue) && !zeroSaid.MatchString(f.Usage):
				t.Errorf("%s: %q does not say what %s stands for: end it so, \"; %s: none\"", where, f.Usage, f.DefValue, f.DefValue)
			}
		})
	}
}

func isZero(value string) bool { return value == "0" || value == "0s" || value == "-1" }

// TestHelpTellsNoSecrets: what comes from the environment is not printed as a
// default.
func TestHelpTellsNoSecrets(t *testing.T) {
	const secret = "sesame-5d41402a"
	for _, name := range []string{"TIDEMARK_ADMIN_TOKEN", "TIDEMARK_CLIENT_KEY", "TIDEMARK_ADMIN_PASSWORD", "TIDEMARK_OIDC_SECRET", "TIDEMARK_API_KEY"} {
		t.Setenv(name, secret)
	}
	for _, cmd := range commands(root()) {
		if strings.Contains(helpOf(t, cmd.CommandPath()), secret) {
			t.Errorf("%s --help prints a secret of the environment", cmd.CommandPath())
		}
	}
}

// TestUnitsStartWhatThereIs: the command lines of the systemd units parse.
func TestUnitsStartWhatThereIs(t *testing.T) {
	const dir = "../../topology/deploy/systemd"
	env, err := os.ReadFile(filepath.Join(dir, "tidemark.env"))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{"STATE_DIRECTORY": "/var/lib/tidemark"}
	for line := range strings.Lines(string(env)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			values[name] = value
		}
	}
	units, err := filepath.Glob(filepath.Join(dir, "*.service"))
	if err != nil || len(units) == 0 {
		t.Fatalf("no units: %v", err)
	}
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, ok := strings.Cut(string(text), "\nExecStart=")
		if !ok {
			t.Fatalf("%s starts nothing", unit)
		}
		line, _, _ := strings.Cut(rest, "\n")
		line = os.Expand(line, func(name string) string {
			value, ok := values[name]
			if !ok {
				t.Errorf("%s: %s is set nowhere", unit, name)
			}
			return value
		})
		line = strings.NewReplacer("%i", "1", "%H", "host").Replace(line)
		if _, err := parse(line); err != nil {
			t.Errorf("%s: %s: %v", unit, line, err)
		}
	}
}
