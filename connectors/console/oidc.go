package console

import (
	"errors"
	"net/http"
	"sync"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// OIDC says where users log in with OpenID Connect: authorization code with
// PKCE. Its zero fields have defaults where they say so.
type OIDC struct {
	Issuer       string // URL
	ClientID     string
	ClientSecret string // empty: a public client
	// RedirectURL is this console's address as browsers see it, with
	// [OIDCCallback] as its path.
	RedirectURL string
	Scopes      []string // beside openid; default profile, email
	// NameClaim names a user that comes the first time; default
	// preferred_username.
	NameClaim string
	// RoleClaim holds one value or a list; Roles maps values to roles. Of
	// several the highest counts; who has none may not come in. Default: groups.
	RoleClaim string
	Roles     map[string]registry.Role
	Client    *http.Client // default http.DefaultClient

	mu       sync.Mutex
	provider *oidc.Provider
}

// Paths of the OpenID Connect login.
const (
	OIDCStart    = v1 + "/login/oidc"
	OIDCCallback = v1 + "/login/oidc/callback"
)

// Validate names what is missing.
func (o *OIDC) Validate() error {
	switch {
	case o.Issuer == "" || o.ClientID == "" || o.RedirectURL == "":
		return errors.New("OIDC: Issuer, ClientID and RedirectURL are all needed")
	case len(o.Roles) == 0:
		return errors.New("OIDC: Roles is empty: nobody could come in")
	}
	return nil
}
