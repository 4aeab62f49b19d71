package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemarkio/tidemark/cmd/node"
	"github.com/tidemarkio/tidemark/connectors/console"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// consoleFlags say who may use the console, and how it shows time.
type consoleFlags struct {
	oidc   console.OIDC
	roles  map[string]string
	zone   string
	secure bool

	watchers int
	restore  int64
}

func (f *consoleFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.zone, "zone", "UTC", "time zone of dates in the console and the audit, such as Asia/Shanghai")
	fl.BoolVar(&f.secure, "secure-cookies", false, "the console is reached through a proxy that ends TLS")
	fl.IntVar(&f.watchers, "watchers-max", console.DefaultWatchersMax, "how many may watch the settings at this node at the same time")
	fl.Int64Var(&f.restore, "restore-max", registry.MaxRestoreBytes, "how large a backup may be that is restored over the admin API, bytes")
	fl.StringVar(&f.oidc.Issuer, "oidc-issuer", "", "OpenID Connect provider where console users may log in; its client secret is $TIDEMARK_OIDC_SECRET")
	fl.StringVar(&f.oidc.ClientID, "oidc-client", "", "client id at the provider")
	fl.StringVar(&f.oidc.RedirectURL, "oidc-redirect", "", "this console's address, ending in "+console.OIDCCallback)
	fl.StringVar(&f.oidc.RoleClaim, "oidc-claim", "groups", "claim that tells a person's role")
	fl.StringToStringVar(&f.roles, "oidc-roles", nil, "what the claim's values stand for, such as staff=viewer,sre=admin")
}

// apply puts the flags into a node's configuration.
func (f *consoleFlags) apply(cfg *node.Config) (err error) {
	cfg.WatchersMax, cfg.RestoreMax = f.watchers, f.restore
	cfg.AdminPassword, cfg.SecureCookies = os.Getenv("TIDEMARK_ADMIN_PASSWORD"), f.secure
	if cfg.Zone, err = time.LoadLocation(f.zone); err != nil {
		return fmt.Errorf("--zone: %w", err)
	}
	if f.oidc.Issuer == "" {
		return nil
	}
	f.oidc.ClientSecret = os.Getenv("TIDEMARK_OIDC_SECRET")
	f.oidc.Roles = make(map[string]registry.Role, len(f.roles))
	for value, role := range f.roles {
		f.oidc.Roles[value] = registry.Role(role)
	}
	cfg.OIDC = &f.oidc
	return f.oidc.Validate()
}
