package console

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology/registry"
	"github.com/tidemarkio/tidemark/topology/registry/configfile"
)

// pageRows is how many rows of a list one page shows.
const pageRows = 100

// pager walks through a list's pages. Pages count from 1.
type pager struct {
	Page, Pages int
	From, To, N int // the rows shown, and how many there are
	query       url.Values
	path        string
}

// pageOf chooses what a request's page shows of n rows.
func pageOf(r *http.Request, n int) pager {
	p := pager{N: n, Pages: max(1, (n+pageRows-1)/pageRows), query: r.URL.Query(), path: r.URL.Path}
	page, err := strconv.Atoi(p.query.Get("page"))
	if err != nil {
		page = 1
	}
	p.Page = min(max(page, 1), p.Pages)
	p.From, p.To = min((p.Page-1)*pageRows+1, n), min(p.Page*pageRows, n)
	return p
}

// of cuts a list to the page's rows.
func rowsOf[T any](p pager, all []T) []T { return all[max(p.From-1, 0):p.To] }

// Link is the address of another page of the list; empty if there is none.
func (p pager) Link(by int) string {
	if p.Page+by < 1 || p.Page+by > p.Pages {
		return ""
	}
	p.query.Set("page", strconv.Itoa(p.Page+by))
	p.query.Del("done")
	return p.path + "?" + p.query.Encode()
}

// instanceIDs lists the instances for choosing one.
func (v *view) instanceIDs() (ids []string) {
	for i := range v.m.Instances() {
		ids = append(ids, i.ID)
	}
	return ids
}

type configsData struct {
	Instances []string
	I, Q      string
	Configs   []*registry.Sync
	Pager     pager
}

func (c *Console) configsPage(v *view) error {
	d := configsData{Instances: v.instanceIDs(), I: v.query("i"), Q: strings.TrimSpace(v.query("q"))}
	word := strings.ToLower(d.Q)
	var found []*registry.Sync
	for _, id := range d.Instances {
		if d.I != "" && d.I != id {
			continue
		}
		for s := range v.m.Syncs(id) {
			if strings.Contains(strings.ToLower(s.BizType), word) || strings.Contains(strings.ToLower(s.Description), word) {
				found = append(found, s)
			}
		}
	}
	d.Pager = pageOf(v.r, len(found))
	d.Configs = rowsOf(d.Pager, found)
	return v.show("configs", "configs", d)
}

// config finds the config that the address names, as it is now: a page comes
// after a change and has to show it.
func (v *view) config() (*registry.Sync, error) {
	m, err := v.c.newest(v.r.Context())
	if err != nil {
		return nil, err
	}
	v.m, v.Nav = m, "configs"
	s := m.Sync(v.query("i"), v.query("b"))
	if s == nil {
		return nil, &Error{http.StatusNotFound, registry.NotFound, "bizType", fmt.Sprintf("no config %.120q in instance %.120q", v.query("b"), v.query("i"))}
	}
	v.Title = s.BizType
	return s, nil
}

func configAddress(s *registry.Sync) url.Values {
	return url.Values{"i": {s.InstanceID}, "b": {s.BizType}}
}

func (c *Console) configPage(v *view) error {
	s, err := v.config()
	if err != nil {
		return err
	}
	return v.show("config", "configs", s)
}

// configForm is the form of a config, as typed.
type configForm struct {
	New       bool
	Instances []string
	Instance  string
	BizType   string
	Scope     string
	Target    string

	MultiDevice bool
	Persistent  bool
	Repush      string
	Threshold   string
	Consistency bool
	Description string
	Expect      int64 // revision of what is being changed
}

func (c *Console) newConfigPage(v *view) error {
	v.Title = v.T("newConfig")
	return v.show("config_form", "configs", &configForm{
		New: true, Instances: v.instanceIDs(), Instance: v.query("i"),
		Scope: schemas.ScopeSpecified, Target: schemas.TargetUser, Persistent: true, Repush: schemas.RepushQueue,
	})
}

func (v *view) configForm() *configForm {
	f := &configForm{
		Instance: v.form("instance"), BizType: v.form("bizType"), Scope: v.form("scope"), Target: v.form("target"),
		MultiDevice: v.form("multiDevice") == "true", Persistent: v.form("persistent") == "true", Repush: v.form("repush"),
		Threshold: v.form("threshold"), Consistency: v.form("consistency") == "true", Description: v.form("description"),
	}
	f.Expect, _ = strconv.ParseInt(v.form("expect"), 10, 64) // 0 expects nothing
	return f
}

// sync is the config that the form means. Fields that the form does not offer
// for what was chosen count for nothing: a browser without the script or an old
// style sheet sends them still.
func (f *configForm) sync() (configfile.Sync, error) {
	if f.Scope == schemas.ScopeGlobal {
		f.Persistent, f.MultiDevice = true, true
	} else if f.Target == schemas.TargetDevice {
		f.MultiDevice = false
	}
	if f.Target == schemas.TargetDevice {
		f.Consistency = false
	}
	s := configfile.Sync{
		BizType: f.BizType, Scope: f.Scope, Target: f.Target, MultiDevice: &f.MultiDevice,
		Persistent: &f.Persistent, Consistency: &f.Consistency, Description: &f.Description,
	}
	if !f.Persistent {
		return s, nil
	}
	s.Repush = &configfile.Repush{Mode: f.Repush}
	if f.Repush != schemas.RepushThreshold {
		return s, nil
	}
	n, err := strconv.ParseInt(f.Threshold, 10, 64)
	if err != nil || n < 1 || n > registry.MaxThreshold {
		return s, &Error{http.StatusBadRequest, registry.Invalid, "repush.threshold", fmt.Sprintf("%.20q: a number from 1 to %d", f.Threshold, registry.MaxThreshold)}
	}
	s.Repush.Threshold = n
	return s, nil
}

func (c *Console) newConfigPost(v *view) error {
	f := v.configForm()
	f.New, f.Instances = true, v.instanceIDs()
	v.Title = v.T("newConfig")
	in, err := f.sync()
	if err != nil {
		return v.again(err, "config_form", "configs", f)
	}
	s := in.New(f.Instance)
	done, err := v.change("created", registry.CreateSync{Sync: s})
	if err != nil {
		return v.again(err, "config_form", "configs", f)
	}
	return v.to("/config", done, configAddress(&s))
}

func (c *Console) editConfigPage(v *view) error {
	s, err := v.config()
	if err != nil {
		return err
	}
	f := &configForm{
		Instance: s.InstanceID, BizType: s.BizType, Scope: s.Scope, Target: s.Target, MultiDevice: s.MultiDevice,
		Persistent: s.Persistent, Repush: schemas.RepushQueue, Consistency: s.Consistency, Description: s.Description, Expect: s.Revision,
	}
	if s.Repush != nil {
		f.Repush = s.Repush.Mode
		if s.Repush.Threshold > 0 {
			f.Threshold = strconv.FormatInt(s.Repush.Threshold, 10)
		}
	}
	return v.show("config_form", "configs", f)
}

func (c *Console) editConfigPost(v *view) error {
	was, err := v.config()
	if err != nil {
		return err
	}
	f := v.configForm()
	// What identifies a config's data cannot change, whatever a form says.
	f.Instance, f.BizType, f.Scope, f.Target = was.InstanceID, was.BizType, was.Scope, was.Target
	in, err := f.sync()
	f.MultiDevice, in.MultiDevice = was.MultiDevice, &was.MultiDevice
	if err != nil {
		return v.again(err, "config_form", "configs", f)
	}
	done, err := v.change("saved", registry.ModifySync{Sync: in.Over(was), Expect: f.Expect})
	if err != nil {
		return v.again(err, "config_form", "configs", f)
	}
	return v.to("/config", done, configAddress(was))
}

// sendData is the form for sending data, and what became of it.
type sendData struct {
	Sync *registry.Sync
	SendForm
	Days         string
	Android, IOS bool
	Sent         *Sent
}

func (c *Console) sendPage(v *view) error {
	s, err := v.config()
	if err != nil {
		return err
	}
	return v.show("send", "configs", &sendData{Sync: s, Days: strconv.Itoa(DefaultValidDays), Android: true, IOS: true})
}

func (c *Console) sendPost(v *view) error {
	s, err := v.config()
	if err != nil {
		return err
	}
	// What is sent is sent as it was typed, blanks and all.
	d := &sendData{Sync: s, Days: v.form("validDays"), SendForm: SendForm{
		Target: v.r.PostFormValue("target"), Data: v.r.PostFormValue("data"), UniqueID: v.r.PostFormValue("uniqueId"), OS: v.r.PostForm["os"],
		AppMinVersion: v.form("appMinVersion"), AppMaxVersion: v.form("appMaxVersion"),
	}}
	for _, os := range d.OS {
		d.Android, d.IOS = d.Android || os == OSAndroid, d.IOS || os == OSiOS
	}
	form := d.SendForm
	if form.ValidDays, err = strconv.Atoi(d.Days); d.Days != "" && (err != nil || form.ValidDays == 0) {
		err = &Error{http.StatusBadRequest, registry.Invalid, "validDays", fmt.Sprintf("%.20q: use 1 to %d days", d.Days, MaxValidDays)}
		return v.again(err, "send", "configs", d)
	}
	if d.Sent, err = c.Send(v.r.Context(), v.caller, source(v.r), s.InstanceID, s.BizType, form); err != nil {
		return v.again(err, "send", "configs", d)
	}
	return v.show("send", "configs", d)
}
