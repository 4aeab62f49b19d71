package console

import (
	"net/http"
	"net/url"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// question is a change that is asked about before it is made: its page says
// what will happen, OK makes it, and Cancel goes back and changes nothing.
type question struct {
	path   string
	role   registry.Role
	nav    string
	text   func(url.Values) string // message
	button func(url.Values) string // message
	op     func(url.Values) registry.Op
	done   string
	back   func(url.Values) (path string, query url.Values) // after OK
	cancel func(url.Values) (path string, query url.Values)
}

func always(s string) func(url.Values) string { return func(url.Values) string { return s } }

func place(path string, names ...string) func(url.Values) (string, url.Values) {
	return func(q url.Values) (string, url.Values) {
		kept := url.Values{}
		for _, n := range names {
			kept.Set(n, q.Get(n))
		}
		return path, kept
	}
}

func (c *Console) questions() []question {
	online := func(on bool) func(url.Values) registry.Op {
		return func(q url.Values) registry.Op {
			return registry.SetOnline{InstanceID: q.Get("i"), BizType: q.Get("b"), Online: on}
		}
	}
	config := place("/config", "i", "b")
	turn := func(on, off string) func(url.Values) string {
		return func(q url.Values) string {
			if q.Get("on") == "true" {
				return on
			}
			return off
		}
	}
	return []question{
		{"/config/online", registry.Operator, "configs", always("askOnline"), always("goOnline"), online(true), "saved", config, config},
		{"/config/offline", registry.Operator, "configs", always("askOffline"), always("goOffline"), online(false), "saved", config, config},
		{"/config/delete", registry.Operator, "configs", always("askDelete"), always("delete"), func(q url.Values) registry.Op {
			return registry.DeleteSync{InstanceID: q.Get("i"), BizType: q.Get("b")}
		}, "deleted", place("/configs"), config},
		{"/service/signature", registry.Admin, "service", turn("askSignOn", "askSignOff"), turn("signOn", "signOff"), func(q url.Values) registry.Op {
			return registry.SetSignature{On: q.Get("on") == "true"}
		}, "saved", place("/service"), place("/service")},
		{"/key/revoke", registry.Admin, "instances", always("askRevoke"), always("revoke"), func(q url.Values) registry.Op {
			return registry.DeleteKey{InstanceID: q.Get("i"), For: registry.KeyKind(q.Get("kind")), ID: q.Get("id")}
		}, "deleted", place("/instance", "i"), place("/instance", "i")},
		{"/user/delete", registry.Admin, "users", always("askUser"), always("delete"), func(q url.Values) registry.Op {
			return registry.DeleteUser{Name: q.Get("name")}
		}, "deleted", place("/users"), place("/users")},
		{"/user/unlock", registry.Admin, "users", always("askUnlock"), always("unlock"), func(q url.Values) registry.Op {
			return registry.UnlockLogin{For: q.Get("kind"), Name: q.Get("name")}
		}, "unlocked", place("/users"), place("/users")},
		{"/instance/delete", registry.Operator, "instances", always("askInst"), always("delete"), func(q url.Values) registry.Op {
			return registry.DeleteInstance{ID: q.Get("i")}
		}, "deleted", place("/instances"), place("/instance", "i")},
	}
}

type questionData struct {
	Text, Button, Cancel string
	What                 []string // what it is about
}

func (q question) ask(*Console) func(*view) error {
	return func(v *view) error { return v.show("question", q.nav, q.data(v)) }
}

func (q question) data(v *view) questionData {
	query := v.r.URL.Query()
	v.Title = v.T(q.button(query))
	d := questionData{Text: q.text(query), Button: q.button(query)}
	for _, name := range []string{"i", "b", "name", "kind", "id"} {
		if s := query.Get(name); s != "" {
			d.What = append(d.What, s)
		}
	}
	path, kept := q.cancel(query)
	d.Cancel = path + "?" + kept.Encode()
	return d
}

func (q question) answer(*Console) func(*view) error {
	return func(v *view) error {
		query := v.r.URL.Query()
		if on := query.Get("on"); q.path == "/service/signature" && on != "true" && on != "false" {
			return &Error{http.StatusBadRequest, registry.Invalid, "on", "say true or false"}
		}
		done, err := v.change(q.done, q.op(query))
		if err != nil {
			return v.again(err, "question", q.nav, q.data(v))
		}
		path, kept := q.back(query)
		return v.to(path, done, kept)
	}
}
