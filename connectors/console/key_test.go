package console

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/topology/registry"
)

func TestKeys(t *testing.T) {
	const keys = "/api/v1/instances/demo_APP1/keys"
	for _, kind := range []registry.KeyKind{registry.APIKey, registry.ClientKey} {
		d := withInstance(t)
		create := func(body string) (k NewKey) {
			t.Helper()
			if err := json.Unmarshal([]byte(d.ok("POST", keys, `{"for":"`+string(kind)+`"`+body+`}`)), &k); err != nil {
				t.Fatal(err)
			}
			return k
		}
		opens := func(k NewKey) bool {
			return d.r.m.CheckKey("demo_APP1", kind, k.Secret, d.now.UnixMilli()) != nil
		}
		old := create(`,"label":"first"`)
		if !opens(old) || len(old.Secret) < 40 {
			t.Fatalf("the %s key %+v opens nothing", kind, old)
		}
		fresh := create(`,"retireSeconds":3600`)
		if !opens(old) || !opens(fresh) || fresh.Retired != d.now.Add(time.Hour).UnixMilli() {
			t.Errorf("during the overlap: old %t, new %t, until %d", opens(old), opens(fresh), fresh.Retired)
		}
		d.now = d.now.Add(time.Hour)
		if opens(old) || !opens(fresh) {
			t.Errorf("after the overlap: old %t, new %t", opens(old), opens(fresh))
		}
		used := d.now.UnixMilli()
		if _, err := d.r.apply(registry.Command{Ops: []registry.Op{registry.KeysUsed{Uses: []registry.KeyUse{{InstanceID: "demo_APP1", For: kind, ID: fresh.ID, Time: used}}}}}); err != nil {
			t.Fatal(err)
		}
		var list Keys
		text := d.ok("GET", keys, "")
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			t.Fatal(err)
		}
		listed := list.APIKeys
		if kind == registry.ClientKey {
			listed = list.ClientKeys
		}
		if len(listed) != 2 || listed[0].Label != "first" || listed[1].Used != used || strings.Contains(text, fresh.Secret) {
			t.Errorf("listed: %s", text)
		}
		d.ok("DELETE", keys+"/"+string(kind)+"/"+fresh.ID, "")
		if opens(fresh) {
			t.Error("a revoked key opens")
		}
		d.refused("DELETE", keys+"/"+string(kind)+"/"+fresh.ID, "", http.StatusNotFound, "no "+string(kind)+" key")
	}
	d := withInstance(t)
	d.refused("POST", keys, `{"for":"door"}`, http.StatusBadRequest, "api or client")
	d.refused("POST", keys, `{"for":"api","retireSeconds":-1}`, http.StatusBadRequest, "retireSeconds")
	d.refused("POST", keys, `{"for":"api","retireSeconds":99999999}`, http.StatusBadRequest, "retireSeconds")
	d.refused("POST", "/api/v1/instances/other/keys", `{"for":"api"}`, http.StatusNotFound, "no instance")
}
