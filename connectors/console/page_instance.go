package console

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemarkio/tidemark/topology/registry"
	"github.com/tidemarkio/tidemark/topology/registry/configfile"
)

type instancesData struct {
	Q         string
	Instances []Instance
	Pager     pager
}

func (c *Console) instancesPage(v *view) error {
	d := instancesData{Q: strings.TrimSpace(v.query("q"))}
	word := strings.ToLower(d.Q)
	var found []*registry.Instance
	for i := range v.m.Instances() {
		if strings.Contains(strings.ToLower(i.ID+" "+i.Description), word) {
			found = append(found, i)
		}
	}
	d.Pager = pageOf(v.r, len(found))
	for _, i := range rowsOf(d.Pager, found) {
		n := 0
		for range v.m.Syncs(i.ID) {
			n++
		}
		d.Instances = append(d.Instances, Instance{i.View(), n})
	}
	return v.show("instances", "instances", d)
}

// instance finds the instance that the address names, as it is now.
func (v *view) instance() (*registry.Instance, error) {
	m, err := v.c.newest(v.r.Context())
	if err != nil {
		return nil, err
	}
	v.m, v.Nav = m, "instances"
	i := m.Instance(v.query("i"))
	if i == nil {
		return nil, &Error{http.StatusNotFound, registry.NotFound, "instanceId", fmt.Sprintf("no instance %.120q", v.query("i"))}
	}
	v.Title = i.ID
	return i, nil
}

// keyRow is a key in an instance's list.
type keyRow struct {
	Kind registry.KeyKind
	registry.KeyView
}

type instanceData struct {
	*registry.InstanceView
	Keys []keyRow
}

func (c *Console) instancePage(v *view) error {
	i, err := v.instance()
	if err != nil {
		return err
	}
	d := instanceData{InstanceView: i.View()}
	for _, k := range d.APIKeys {
		d.Keys = append(d.Keys, keyRow{registry.APIKey, k})
	}
	for _, k := range d.ClientKeys {
		d.Keys = append(d.Keys, keyRow{registry.ClientKey, k})
	}
	return v.show("instance", "instances", d)
}

// instanceForm is the form of an instance, as typed.
type instanceForm struct {
	New                          bool
	ID, Description, URL, Millis string
	Private                      bool
	JWT                          jwtForm
	Expect                       int64
}

// jwtForm is how tokens are verified, as typed. The secret is not in it: it is
// never shown again.
type jwtForm struct {
	Algorithms                                   string // joined by a space; empty: tokens are not verified
	PublicKey, JWKS, Issuer, Audience, UserClaim string
	Private                                      bool
	HasSecret                                    bool // one is set, and stays if the field is left empty
	Choices                                      []string
}

// jwtChoices are what may be chosen; a secret and public keys are not mixed.
var jwtChoices = []string{"", "HS256", "RS256", "ES256", "RS256 ES256"}

func (v *view) instanceForm() *instanceForm {
	f := &instanceForm{ID: v.form("id"), Description: v.form("description"), URL: v.form("url"), Millis: v.form("timeoutMillis"), Private: v.form("private") == "true"}
	f.Expect, _ = strconv.ParseInt(v.form("expect"), 10, 64) // 0 expects nothing
	f.JWT = jwtForm{
		Algorithms: v.form("jwt"), PublicKey: v.form("publicKey"), JWKS: v.form("jwks"), Issuer: v.form("issuer"), Audience: v.form("audience"),
		UserClaim: v.form("userClaim"), Private: v.form("jwksPrivate") == "true", Choices: jwtChoices,
	}
	return f
}

// settings are what the form says, with the secret that was typed. Fields that
// the algorithm has no use for are hidden, and do not count.
func (f *jwtForm) settings(secret string) *configfile.JWT {
	j := &configfile.JWT{Algorithms: strings.Fields(f.Algorithms)}
	switch f.Algorithms {
	case "":
		return &configfile.JWT{} // removes them
	case "HS256":
		j.Secret = secret
	default:
		j.PublicKey, j.JWKS, j.AllowPrivate = f.PublicKey, f.JWKS, f.Private && f.JWKS != ""
	}
	j.Issuer, j.Audience, j.UserClaim = f.Issuer, f.Audience, f.UserClaim
	return j
}

func (f *jwtForm) fill(j *registry.JWT) {
	f.Choices = jwtChoices
	if j == nil {
		return
	}
	f.Algorithms, f.PublicKey, f.JWKS, f.Private = strings.Join(j.Algorithms, " "), j.PublicKey, j.JWKS, j.AllowPrivate
	f.Issuer, f.Audience, f.UserClaim, f.HasSecret = j.Issuer, j.Audience, j.UserClaim, j.Secret != ""
	if !slices.Contains(f.Choices, f.Algorithms) { // in another order
		f.Choices = append(slices.Clone(f.Choices), f.Algorithms)
	}
}

func (c *Console) newInstancePage(v *view) error {
	v.Title = v.T("newInstance")
	return v.show("instance_form", "instances", &instanceForm{New: true})
}

func (c *Console) newInstancePost(v *view) error {
	f := v.instanceForm()
	f.New, v.Title = true, v.T("newInstance")
	done, err := v.change("created", registry.CreateInstance{ID: f.ID, Description: f.Description})
	if err != nil {
		return v.again(err, "instance_form", "instances", f)
	}
	return v.to("/instance", done, url.Values{"i": {f.ID}})
}

func (c *Console) editInstancePage(v *view) error {
	i, err := v.instance()
	if err != nil {
		return err
	}
	f := &instanceForm{ID: i.ID, Description: i.Description, Expect: i.Revision}
	if s := i.SessionValidation; s != nil {
		f.URL, f.Private = s.URL, s.AllowPrivate
		if s.TimeoutMillis > 0 {
			f.Millis = strconv.FormatInt(s.TimeoutMillis, 10)
		}
	}
	f.JWT.fill(i.JWT)
	return v.show("instance_form", "instances", f)
}

func (c *Console) editInstancePost(v *view) error {
	was, err := v.instance()
	if err != nil {
		return err
	}
	f := v.instanceForm()
	f.ID, f.JWT.HasSecret = was.ID, was.JWT != nil && was.JWT.Secret != ""
	validation := configfile.SessionValidation{URL: f.URL}
	if f.URL != "" {
		validation.AllowPrivate = f.Private
		if f.Millis != "" {
			if validation.TimeoutMillis, err = strconv.ParseInt(f.Millis, 10, 64); err != nil {
				return v.again(&Error{http.StatusBadRequest, registry.Invalid, "timeoutMillis", "a number"}, "instance_form", "instances", f)
			}
		}
	}
	file := configfile.Instance{Description: &f.Description, SessionValidation: &validation, JWT: f.JWT.settings(v.r.PostFormValue("secret"))}
	op := file.Modify(was)
	op.Expect = f.Expect
	done, err := v.change("saved", op)
	if err != nil {
		return v.again(err, "instance_form", "instances", f)
	}
	return v.to("/instance", done, url.Values{"i": {was.ID}})
}

type keyData struct {
	Instance, Kind, Label, Hours string
	Key                          *NewKey
}

func (c *Console) newKeyPage(v *view) error {
	i, err := v.instance()
	if err != nil {
		return err
	}
	v.Title = v.T("newKey")
	return v.show("key", "instances", &keyData{Instance: i.ID, Kind: string(registry.APIKey), Hours: "0"})
}

// newKeyPost answers with the key itself and not with a way to it: it is to be
// seen this once, and in no address.
func (c *Console) newKeyPost(v *view) error {
	i, err := v.instance()
	if err != nil {
		return err
	}
	v.Title = v.T("newKey")
	d := &keyData{Instance: i.ID, Kind: v.form("for"), Label: v.form("label"), Hours: v.form("hours")}
	hours, err := strconv.ParseInt(d.Hours, 10, 32)
	if d.Hours != "" && err != nil {
		return v.again(&Error{http.StatusBadRequest, registry.Invalid, "retireSeconds", "a number of hours"}, "key", "instances", d)
	}
	key, err := c.MakeKey(v.r.Context(), v.caller, source(v.r), i.ID, true, KeyForm{For: registry.KeyKind(d.Kind), Label: d.Label, RetireSeconds: hours * 3600})
	if err != nil {
		return v.again(err, "key", "instances", d)
	}
	d.Key = key
	return v.show("key", "instances", d)
}
