package registry

import (
	"slices"
)

// InstanceView is an instance without its secrets, as the audit, the console
// and exports show it.
type InstanceView struct {
	ID                string             `json:"id"`
	Description       string             `json:"description,omitempty"`
	APIKeys           []KeyView          `json:"apiKeys"`
	ClientKeys        []KeyView          `json:"clientKeys"`
	SessionValidation *SessionValidation `json:"sessionValidation,omitempty"`
	JWT               *JWTView           `json:"jwt,omitempty"`
	Stamps
}

// KeyView is a key without what could be compared with it.
type KeyView struct {
	ID      string `json:"id"`
	Label   string `json:"label,omitempty"`
	Created int64  `json:"created"`
	Expires int64  `json:"expires,omitempty"`
	Used    int64  `json:"used,omitempty"`
}

// JWTView is a tenant's token settings without the secret.
type JWTView struct {
	JWT
	// SecretID tells one secret from another without giving it away.
	SecretID string `json:"secretId,omitempty"`
}

// View shows an instance without its secrets.
func (i *Instance) View() *InstanceView {
	v := &InstanceView{
		ID: i.ID, Description: i.Description, SessionValidation: i.SessionValidation, Stamps: i.Stamps,
		APIKeys: viewKeys(i.APIKeys), ClientKeys: viewKeys(i.ClientKeys),
	}
	if i.JWT != nil {
		j := &JWTView{JWT: *i.JWT}
		if j.Secret != "" {
			j.SecretID, j.Secret = SigningKey(j.Secret).ID(), ""
		}
		v.JWT = j
	}
	return v
}

func viewKeys(keys []Key) []KeyView {
	v := make([]KeyView, len(keys))
	for i := range keys {
		v[i] = keys[i].View()
	}
	return v
}

// View shows a key without its hash.
func (k *Key) View() KeyView {
	return KeyView{ID: k.ID, Label: k.Label, Created: k.Created, Expires: k.Expires, Used: k.Used}
}

// UserView is a user without the password's hash.
type UserView struct {
	Name     string `json:"name"`
	Role     Role   `json:"role"`
	Password bool   `json:"password"` // whether one is set
	Subject  string `json:"subject,omitempty"`
	Disabled bool   `json:"disabled,omitempty"`
	Epoch    int64  `json:"epoch"` // see [User]
	Login    int64  `json:"login,omitempty"`
	Stamps
}

// View shows a user without the password's hash.
func (u *User) View() *UserView {
	return &UserView{
		Name: u.Name, Role: u.Role, Password: u.Password != "", Subject: u.Subject,
		Disabled: u.Disabled, Epoch: u.Epoch, Login: u.Login, Stamps: u.Stamps,
	}
}

// sameSettings reports whether two instances have the same settings, keys and
// stamps apart.
func (i *Instance) sameSettings(o *Instance) bool {
	return i.Description == o.Description && sameValue(i.SessionValidation, o.SessionValidation) && i.JWT.same(o.JWT)
}

func sameValue[T comparable](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}

func (j *JWT) same(o *JWT) bool {
	if j == nil || o == nil {
		return j == o
	}
	return slices.Equal(j.Algorithms, o.Algorithms) && j.Secret == o.Secret && j.PublicKey == o.PublicKey && j.JWKS == o.JWKS &&
		j.AllowPrivate == o.AllowPrivate && j.Issuer == o.Issuer && j.Audience == o.Audience && j.UserClaim == o.UserClaim
}
