package console

import (
	"net/http"
	"net/url"
)

type loginData struct {
	Name, Back string
	OIDC       bool
}

func (c *Console) loginPage(v *view) error {
	return v.show("login", "login", loginData{Back: local(v.query("back")), OIDC: c.cfg.OIDC != nil})
}

func (c *Console) loginPost(v *view) error {
	d := loginData{Name: v.form("name"), Back: local(v.form("back")), OIDC: c.cfg.OIDC != nil}
	if _, err := c.Login(v.w, v.r, LoginForm{Name: d.Name, Password: v.r.PostFormValue("password")}); err != nil {
		return v.again(err, "login", "login", d)
	}
	return v.to(d.Back, "", nil)
}

func (c *Console) logoutPost(v *view) error {
	if !c.Logout(v.w, v.r) {
		return v.to("/login", "outHere", nil)
	}
	return v.to("/login", "out", nil)
}

func (c *Console) passwordPage(v *view) error {
	v.Title = v.T("changePassword")
	return v.show("password", "", nil)
}

func (c *Console) passwordPost(v *view) error {
	if err := c.ChangePassword(v.r.Context(), v.caller, source(v.r), v.r.PostFormValue("current"), v.r.PostFormValue("password")); err != nil {
		v.Title = v.T("changePassword")
		return v.again(err, "password", "", nil)
	}
	c.dropSession(v.w, v.r)
	http.Redirect(v.w, v.r, "/login?"+url.Values{"done": {"password"}}.Encode(), http.StatusSeeOther)
	return nil
}
