package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tidemarkio/tidemark/connectors/console"
	"github.com/tidemarkio/tidemark/topology/registry"
	"github.com/tidemarkio/tidemark/topology/registry/configfile"
)

func instanceCommand() *cobra.Command {
	var description string
	var change instanceFlags
	return group("instance", "Instances: one app in one environment each",
		apiCommand{use: "list", short: "List instances", example: "  tidemark instance list", args: cobra.NoArgs, method: "GET", path: fixed("/instances")},
		apiCommand{use: "show ID", short: "Show an instance", example: "  tidemark instance show demo_APP1", args: cobra.ExactArgs(1), method: "GET",
			path: func(a []string) string { return path("instances", a[0]) }},
		apiCommand{use: "create ID", short: "Make an instance", example: "  tidemark instance create demo_APP1 --description 'the demo'", args: cobra.ExactArgs(1), method: "POST",
			path: fixed("/instances"), show: showChange,
			body: func(a []string) (any, error) {
				return registry.CreateInstance{ID: a[0], Description: description}, nil
			},
			flags: func(c *cobra.Command) { c.Flags().StringVar(&description, "description", "", "for people") }},
		apiCommand{use: "change ID", short: "Change an instance; what is not named stays", args: cobra.ExactArgs(1), method: "PUT",
			example: `  tidemark instance change demo_APP1 --validation-url https://shop.example/session
  tidemark instance change demo_APP1 --jwt jwt.json    # such as {"algorithms":["RS256"],"jwks":"https://shop.example/keys"}`,
			path: func(a []string) string { return path("instances", a[0]) }, show: showChange, flags: change.add,
			body: func([]string) (any, error) { return change.body() }},
		apiCommand{use: "delete ID", short: "Remove an instance that has no configs", example: "  tidemark instance delete demo_APP1", args: cobra.ExactArgs(1), method: "DELETE",
			path: func(a []string) string { return path("instances", a[0]) }, show: showChange},
	)
}

// instanceFlags are what of an instance can be changed.
type instanceFlags struct {
	set         *pflag.FlagSet
	description string
	validation  configfile.SessionValidation
	timeout     time.Duration
	jwt         string
}

func (f *instanceFlags) add(c *cobra.Command) {
	f.set = c.Flags()
	f.set.StringVar(&f.description, "description", "", "for people")
	f.set.StringVar(&f.validation.URL, "validation-url", "", "where the tenant validates sessions; empty: nowhere")
	f.set.DurationVar(&f.timeout, "validation-timeout", registry.MaxValidateMillis*time.Millisecond, "how long it may take, and at most")
	f.set.BoolVar(&f.validation.AllowPrivate, "validation-private", false, "its address may be private, and plain http")
	f.set.StringVar(&f.jwt, "jwt", "", "a JSON file that says how users' tokens are verified, as the admin API has it; it may hold a secret")
}

// body is what the flags that were given change.
func (f *instanceFlags) body() (any, error) {
	in := make(map[string]any)
	if f.set.Changed("description") {
		in["description"] = f.description
	}
	if f.set.Changed("validation-url") {
		f.validation.TimeoutMillis = f.timeout.Milliseconds()
		in["sessionValidation"] = f.validation
	}
	if f.set.Changed("jwt") {
		b, err := os.ReadFile(f.jwt)
		if err != nil {
			return nil, fmt.Errorf("--jwt: %w", err)
		}
		var jwt configfile.JWT
		if err := json.Unmarshal(b, &jwt); err != nil {
			return nil, fmt.Errorf("--jwt: %s: %w", f.jwt, err)
		}
		in["jwt"] = jwt
	}
	if len(in) == 0 {
		return nil, errors.New("say what to change: --description, --validation-url (with its --validation-timeout and --validation-private) or --jwt")
	}
	return in, nil
}

// syncFlags are a sync config's fields.
type syncFlags struct {
	set                              *pflag.FlagSet
	scope, target, description, mode string
	multi, transient, consistency    bool
	threshold                        int64
}

func (f *syncFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.scope, "scope", "specified", "specified or global")
	fl.StringVar(&f.target, "target", "user", "user or device")
	f.addChanges(c)
}

// addChanges adds what of a config can be changed.
func (f *syncFlags) addChanges(c *cobra.Command) {
	fl := c.Flags()
	f.set = fl
	fl.StringVar(&f.description, "description", "", "for people")
	fl.BoolVar(&f.multi, "multi-device", false, "every device of a user gets everything")
	fl.BoolVar(&f.transient, "transient", false, "keep nothing: only who is online gets it")
	fl.BoolVar(&f.consistency, "consistency", false, "push only to users that the tenant called valid")
	fl.StringVar(&f.mode, "repush", "", "what of a backlog is pushed: queue (all) or threshold (the newest)")
	fl.Int64Var(&f.threshold, "threshold", 0, "how many, with --repush threshold; 0: none")
}

func (f *syncFlags) config(biz string) configfile.Sync {
	persistent := !f.transient
	s := configfile.Sync{BizType: biz, Scope: f.scope, Target: f.target, Persistent: &persistent, Consistency: &f.consistency, Description: &f.description}
	if f.scope != "global" {
		s.MultiDevice = &f.multi
	}
	if f.mode != "" {
		s.Repush = &configfile.Repush{Mode: f.mode, Threshold: f.threshold}
	}
	return s
}

// change is a config of what the flags that were given say.
func (f *syncFlags) change() (any, error) {
	var s configfile.Sync
	var fields []string
	f.set.Visit(func(flag *pflag.Flag) {
		switch flag.Name {
		case "description":
			s.Description = &f.description
		case "multi-device":
			s.MultiDevice = &f.multi
		case "transient":
			persistent := !f.transient
			s.Persistent = &persistent
		case "consistency":
			s.Consistency = &f.consistency
		case "repush", "threshold":
			s.Repush = &configfile.Repush{Mode: f.mode, Threshold: f.threshold}
		default:
			return
		}
		fields = append(fields, flag.Name)
	})
	switch {
	case len(fields) == 0:
		return nil, errors.New("say what to change: see --help")
	case s.Repush != nil && f.mode == "":
		return nil, errors.New("--threshold goes with --repush threshold")
	}
	return s, nil
}

func syncCommand() *cobra.Command {
	var f, changes syncFlags
	one := func(a []string) string { return path("instances", a[0], "sync", a[1]) }
	return group("sync", "Sync configs: the businesses of an instance",
		apiCommand{use: "list INSTANCE", short: "List an instance's configs", example: "  tidemark sync list demo_APP1", args: cobra.ExactArgs(1), method: "GET",
			path: func(a []string) string { return path("instances", a[0], "sync") }},
		apiCommand{use: "show INSTANCE BIZ", short: "Show a config", example: "  tidemark sync show demo_APP1 UCHAT", args: cobra.ExactArgs(2), method: "GET", path: one},
		apiCommand{use: "create INSTANCE BIZ", short: "Make a config; it is online at once", args: cobra.ExactArgs(2), method: "POST",
			example: `  tidemark sync create demo_APP1 UCHAT --multi-device --repush threshold --threshold 100
  tidemark sync create demo_APP1 NOTICE --scope global`,
			path: func(a []string) string { return path("instances", a[0], "sync") }, show: showChange, flags: f.add,
			body: func(a []string) (any, error) { return f.config(a[1]), nil }},
		apiCommand{use: "change INSTANCE BIZ", short: "Change a config; what is not named stays", args: cobra.ExactArgs(2), method: "PUT", path: one, show: showChange, flags: changes.addChanges,
			example: `  tidemark sync change demo_APP1 UCHAT --repush threshold --threshold 20
  tidemark sync change demo_APP1 UCHAT --multi-device=false --description 'chats'`,
			body: func([]string) (any, error) { return changes.change() }},
		apiCommand{use: "online INSTANCE BIZ", short: "Take a config online", example: "  tidemark sync online demo_APP1 UCHAT", args: cobra.ExactArgs(2), method: "POST",
			path: func(a []string) string { return one(a) + "/online" }, show: showChange},
		apiCommand{use: "offline INSTANCE BIZ", short: "Take a config offline: sends are refused and pushes pause", example: "  tidemark sync offline demo_APP1 UCHAT", args: cobra.ExactArgs(2), method: "POST",
			path: func(a []string) string { return one(a) + "/offline" }, show: showChange},
		apiCommand{use: "delete INSTANCE BIZ", short: "Remove a config that is offline", example: "  tidemark sync delete demo_APP1 UCHAT", args: cobra.ExactArgs(2), method: "DELETE", path: one, show: showChange},
	)
}

func keyCommand() *cobra.Command {
	var form console.KeyForm
	var client bool
	var retire time.Duration
	return group("key", "API keys (a tenant's servers) and client keys (its apps)",
		apiCommand{use: "list INSTANCE", short: "List keys: when made, when last used", example: "  tidemark key list demo_APP1", args: cobra.ExactArgs(1), method: "GET",
			path: func(a []string) string { return path("instances", a[0], "keys") }},
		apiCommand{use: "create INSTANCE", short: "Make a key and print its secret, once", args: cobra.ExactArgs(1), method: "POST",
			example: `  tidemark key create demo_APP1 --label billing
  tidemark key create demo_APP1 --client --retire 24h      # rotate: the others open for a day still`,
			path: func(a []string) string { return path("instances", a[0], "keys") }, show: showKey,
			body: func([]string) (any, error) {
				form.For, form.RetireSeconds = registry.APIKey, int64(retire.Seconds())
				if client {
					form.For = registry.ClientKey
				}
				return form, nil
			},
			flags: func(c *cobra.Command) {
				c.Flags().BoolVar(&client, "client", false, "a client key; default: an API key")
				c.Flags().StringVar(&form.Label, "label", "", "for people")
				c.Flags().DurationVar(&retire, "retire", 0, "rotate: the kind's other keys open for so long still; 0: they stay")
			}},
		apiCommand{use: "revoke INSTANCE api|client KEYID", short: "Revoke a key at once", example: "  tidemark key revoke demo_APP1 api 9e67095fbd5e", args: cobra.ExactArgs(3), method: "DELETE",
			path: func(a []string) string { return path("instances", a[0], "keys", a[1], a[2]) }, show: showChange},
	)
}

// showKey prints the secret alone on standard output, for scripts to take.
func showKey(w io.Writer, b []byte) error {
	var k console.NewKey
	if err := json.Unmarshal(b, &k); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	_, err := fmt.Fprintln(w, k.Secret)
	return err
}

func userCommand() *cobra.Command {
	var form console.UserForm
	var role string
	var address bool
	yes, no := true, false
	one := func(a []string) string { return path("users", a[0]) }
	roleFlag := func(c *cobra.Command) { c.Flags().StringVar(&role, "role", "viewer", "viewer, operator or admin") }
	switched := func(verb, short string, disabled *bool) apiCommand {
		return apiCommand{use: verb + " NAME", short: short, example: "  tidemark user " + verb + " ann", args: cobra.ExactArgs(1), method: "PUT", path: one, show: showChange,
			body: func([]string) (any, error) { return console.UserForm{Disabled: disabled}, nil }}
	}
	return group("user", "Console users",
		apiCommand{use: "list", short: "List users", example: "  tidemark user list", args: cobra.NoArgs, method: "GET", path: fixed("/users")},
		apiCommand{use: "show NAME", short: "Show a user", example: "  tidemark user show ann", args: cobra.ExactArgs(1), method: "GET", path: one},
		apiCommand{use: "create NAME", short: "Make a user; the password is read from standard input", args: cobra.ExactArgs(1), method: "POST",
			example: "  tidemark user create ann --role operator < password.txt", path: fixed("/users"), show: showChange, flags: roleFlag,
			body: func(a []string) (_ any, err error) {
				form.Name, form.Role = a[0], registry.Role(role)
				form.Password, err = secretLine("TIDEMARK_USER_PASSWORD")
				return form, err
			}},
		apiCommand{use: "role NAME ROLE", short: "Give a user another role; ends their sessions", example: "  tidemark user role ann admin", args: cobra.ExactArgs(2), method: "PUT", path: one, show: showChange,
			body: func(a []string) (any, error) { return console.UserForm{Role: registry.Role(a[1])}, nil }},
		apiCommand{use: "password NAME", short: "Give a user another password; ends their sessions", example: "  tidemark user password ann < password.txt", args: cobra.ExactArgs(1), method: "PUT", path: one, show: showChange,
			body: func([]string) (any, error) {
				p, err := secretLine("TIDEMARK_USER_PASSWORD")
				return console.UserForm{Password: p}, err
			}},
		switched("disable", "Disable a user; ends their sessions", &yes),
		switched("enable", "Enable a user again", &no),
		apiCommand{use: "locks", short: "List who is locked out after failed logins", example: "  tidemark user locks", args: cobra.NoArgs, method: "GET", path: fixed("/locks")},
		apiCommand{use: "unlock NAME", short: "Let a user, or an address, try to log in again at once, at every node", args: cobra.ExactArgs(1), method: "DELETE", show: showChange,
			example: "  tidemark user unlock ann\n  tidemark user unlock --address 192.0.2.7",
			flags: func(c *cobra.Command) {
				c.Flags().BoolVar(&address, "address", false, "NAME is an address, as in the list")
			},
			path: func(a []string) string {
				if address {
					return path("locks", registry.KindAddress, a[0])
				}
				return path("locks", registry.KindUser, a[0])
			}},
		apiCommand{use: "delete NAME", short: "Remove a user", example: "  tidemark user delete ann", args: cobra.ExactArgs(1), method: "DELETE", path: one, show: showChange},
	)
}

func signatureCommand() *cobra.Command {
	put := func(use, short string, on bool) apiCommand {
		return apiCommand{use: use, short: short, example: "  tidemark signature " + use, args: cobra.NoArgs, method: "PUT", path: fixed("/service/signature"), show: showChange,
			body: func([]string) (any, error) { return map[string]bool{"on": on}, nil }}
	}
	return group("signature", "The check of request signatures, for the whole service",
		apiCommand{use: "show", short: "Say whether it is on", example: "  tidemark signature show", args: cobra.NoArgs, method: "GET", path: fixed("/service/signature")},
		put("on", "Switch it on: unsigned calls are refused", true), put("off", "Switch it off", false),
	)
}

func auditCommand() *cobra.Command {
	var actions []string
	values := map[string]*string{}
	query := func([]string) string {
		q := url.Values{"action": actions}
		for name, v := range values {
			if *v != "" {
				q.Set(name, *v)
			}
		}
		return "?" + q.Encode()
	}
	filters := func(c *cobra.Command) {
		for name, meaning := range map[string]string{
			"actor": "who", "from": "a date or time, inclusive; default 7 days ago", "to": "the same", "instanceId": "about which instance",
			"name": "about which object", "before": "only records before this seq", "limit": "at most 1000",
		} {
			if values[name] == nil {
				values[name] = new(string)
			}
			c.Flags().StringVar(values[name], name, "", meaning)
		}
		c.Flags().StringSliceVar(&actions, "action", nil, "which actions; see audit actions")
	}
	export := func(c *cobra.Command) {
		filters(c)
		values["format"] = c.Flags().String("format", "ndjson", "ndjson or csv")
	}
	return group("audit", "Operation records: who did what, when, from where",
		apiCommand{use: "list", short: "List records, newest first", example: "  tidemark audit list --action config.modify --from 2024-04-01 --to 2024-04-10", args: cobra.NoArgs, method: "GET",
			path: func(a []string) string { return "/audit" + query(a) }, flags: filters},
		apiCommand{use: "show SEQ", short: "Show one record: before and after", example: "  tidemark audit show 42", args: cobra.ExactArgs(1), method: "GET",
			path: func(a []string) string { return path("audit", a[0]) }},
		apiCommand{use: "export", short: "Print records as NDJSON or CSV", example: "  tidemark audit export --format csv --from 2024-04-01 > audit.csv", args: cobra.NoArgs, method: "GET",
			path: func(a []string) string { return "/audit/export" + query(a) }, flags: export, show: showRaw},
		apiCommand{use: "actions", short: "List the actions that there are", example: "  tidemark audit actions", args: cobra.NoArgs, method: "GET", path: fixed("/actions")},
	)
}
