package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidemarkio/tidemark/bench/child"
	"github.com/tidemarkio/tidemark/bench/report"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// What the console shows.
const (
	instances   = 10
	users       = 10
	pushes      = 100 // to the person who is queried
	queried     = "N711MQ"
	adminToken  = "bench-token-0123456789abcdef" //nolint:gosec // of a node that lives for a minute
	firstUser   = "admin"
	firstSecret = "bench harbour quartz 1042" //nolint:gosec // as above
)

func listedInstance(i int) string { return fmt.Sprintf("bench_APP%d", i) }

// pages measures the console of a `tidemark dev`.
func (b *bench) pages(ctx context.Context) (err error) {
	d, err := startDev(ctx, b.tidemark, filepath.Join(b.dir, "dev"))
	if err != nil {
		return err
	}
	defer func() {
		stop := errors.Join(d.child.Stop(stopGrace), d.child.Err())
		if err == nil {
			err = stop
		}
	}()
	b.r.Pages = &Pages{Configs: b.listed}
	began := time.Now()
	rounds := (b.records + b.listed - 1) / b.listed
	step := b.prog.Step("records of the audit", int64(rounds))
	for i := range rounds {
		if err := d.fill(ctx, b.listed, i); err != nil {
			return err
		}
		step.Add(1)
	}
	if err := d.people(ctx); err != nil {
		return err
	}
	latest, err := d.latest(ctx)
	if err != nil {
		return err
	}
	b.r.Pages.Records, b.r.Pages.Filled = int(latest), time.Since(began)
	step.End("%s records", report.Count(latest))
	if int(latest) < b.records {
		return fmt.Errorf("the audit has %d records, want %d", latest, b.records)
	}
	visitor, err := d.login(ctx)
	if err != nil {
		return err
	}
	all := addresses(latest)
	step = b.prog.Step("pages", int64(len(all)*b.visits))
	return b.metered(partPages, d.used, func() error {
		for _, p := range all {
			p.Latency = report.NewLatency()
			for i := range b.visits + 3 { // the first three do not count
				took, size, err := visit(ctx, visitor, d.url+p.Path)
				if err != nil {
					return err
				}
				p.Bytes = size
				if i >= 3 {
					p.Latency.Record(took)
					step.Add(1)
				}
			}
			b.r.Pages.Each = append(b.r.Pages.Each, p)
		}
		slowest := b.r.Pages.slowest()
		step.End("the slowest is %s with p95 %s ms", slowest.Path, report.Milliseconds(slowest.Latency.At(95)))
		return nil
	})
}

// slowest is the page with the highest p95.
func (p *Pages) slowest() (slowest Page) {
	for _, e := range p.Each {
		if !e.Export && (slowest.Latency == nil || e.Latency.At(95) > slowest.Latency.At(95)) {
			slowest = e
		}
	}
	return slowest
}

// addresses of all pages that can be looked at, with each filter.
func addresses(latest int64) []Page {
	i, b := listedInstance(3), "BIZ-00007"
	config := "?" + url.Values{"i": {i}, "b": {b}}.Encode()
	pages := []string{
		"/", "/configs", "/configs?page=5", "/configs?i=" + i, "/configs?q=biz-0001",
		"/config" + config, "/config/new", "/config/edit" + config, "/config/send" + config,
		"/query", "/query?" + url.Values{"i": {listedInstance(0)}, "d": {"user"}, "q": {queried}}.Encode(), "/query?q=nobody",
		"/records", "/records?page=10", "/records?action=" + string(registry.ConfigModify), "/records?action=" + string(registry.UserCreate),
		"/records?actor=admin-token", "/records?actor=nobody", "/records?name=" + b, "/records?instanceId=" + i + "&name=" + b,
		"/records?from=2000-01-01", "/records?to=2000-01-01",
		fmt.Sprint("/record?seq=", latest-100), "/service",
		"/instances", "/instance?i=" + i, "/instance/edit?i=" + i, "/key/new?i=" + i,
		"/users", "/user/new", "/user/edit?name=" + firstUser, "/oplog", "/password", "/help",
	}
	var all []Page
	for _, p := range pages {
		all = append(all, Page{Path: p})
	}
	for _, p := range []string{"?format=csv", "?format=ndjson", "?format=csv&actor=nobody"} {
		all = append(all, Page{Path: "/api/v1/audit/export" + p, Export: true})
	}
	return append(all, Page{Path: "/api/v1/config", Export: true})
}

// dev is a `tidemark dev` whose admin door asks for a login.
type dev struct {
	*admin
	http  string
	child *child.Child
}

func startDev(ctx context.Context, program, dir string) (*dev, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	at, err := localAddresses(4)
	if err != nil {
		return nil, err
	}
	d := &dev{admin: newAdmin("http://"+at[0], adminToken), http: "http://" + at[1]}
	d.child, err = child.Start(child.Config{
		Name: "tidemark dev", Path: program, LogFile: filepath.Join(dir, "log"),
		Env:  []string{"TIDEMARK_ADMIN_TOKEN=" + adminToken, "TIDEMARK_ADMIN_PASSWORD=" + firstSecret},
		Args: []string{"dev", "--data-dir", filepath.Join(dir, "data"), "--admin", at[0], "--http", at[1], "--native", at[2], "--kafka", at[3]},
	})
	if err != nil {
		return nil, err
	}
	if err := d.waitReady(ctx, d.child); err != nil {
		return nil, errors.Join(err, d.child.Kill())
	}
	return d, nil
}

func (d *dev) used() (kafka, tidemark time.Duration, err error) {
	u, err := d.child.Usage()
	return 0, u.CPU, err
}

// fill makes the configs, or in a later round describes each anew: a record
// of the audit each.
func (d *dev) fill(ctx context.Context, configs, round int) error {
	type sync struct {
		BizType     string `json:"bizType"`
		Scope       string `json:"scope"`
		Target      string `json:"target"`
		Description string `json:"description"`
	}
	type instance struct {
		ID        string   `json:"id"`
		ClientKey []string `json:"clientKey"`
		Sync      []sync   `json:"sync"`
	}
	file := map[string][]instance{}
	for i := range instances {
		in := instance{ID: listedInstance(i), ClientKey: []string{fmt.Sprintf("ck-bench-%d", i), fmt.Sprintf("ck-bench-%d-next", i)}}
		for j := range (configs + instances - 1 - i) / instances {
			in.Sync = append(in.Sync, sync{fmt.Sprintf("BIZ-%05d", j), "specified", "user", fmt.Sprintf("config %d, described %d times", j, round+1)})
		}
		file["instances"] = append(file["instances"], in)
	}
	body, err := json.Marshal(file)
	if err != nil {
		return err
	}
	return d.call(ctx, http.MethodPut, "/config", "application/json", body, nil)
}

// people makes users, and pushes for the one who is queried.
func (d *dev) people(ctx context.Context) error {
	for i := range users {
		if err := d.post(ctx, "/users", map[string]string{"name": fmt.Sprintf("operator-%d", i), "role": "operator", "password": firstSecret}); err != nil {
			return err
		}
	}
	for i := range pushes {
		body, err := json.Marshal(map[string]string{"bizType": fmt.Sprintf("BIZ-%05d", i%10), "linkToken": queried, "thirdMsgId": fmt.Sprint("bench-", i), "payload": "gate changes to B7"})
		if err != nil {
			return err
		}
		res, err := d.client.Post(d.http+"/webapi/sync/single?instanceId="+listedInstance(0), "application/json", bytes.NewReader(body))
		if err != nil {
			return err
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK || !bytes.Contains(text, []byte(`"success":true`)) {
			return errors.Join(fmt.Errorf("a push was answered %s: %.200s", res.Status, text), err)
		}
	}
	return nil
}

// latest is the Seq of the newest record: none has been dropped, or the counts
// would not fit.
func (d *dev) latest(ctx context.Context) (int64, error) {
	var page struct {
		Records []struct{ Seq int64 }
		Dropped int64
	}
	if err := d.call(ctx, http.MethodGet, "/audit?limit=1", "", nil, &page); err != nil {
		return 0, err
	}
	if len(page.Records) == 0 || page.Dropped > 0 {
		return 0, fmt.Errorf("the audit shows %d records and has dropped %d", len(page.Records), page.Dropped)
	}
	return page.Records[0].Seq, nil
}

// login gives a browser with the first user's session.
func (d *dev) login(ctx context.Context) (*http.Client, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	browser := &http.Client{Jar: jar, Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	form := url.Values{"name": {firstUser}, "password": {firstSecret}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url+"/login", strings.NewReader(form))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := browser.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusSeeOther {
		return nil, fmt.Errorf("log in: %s", res.Status)
	}
	return browser, nil
}

// visit gets a page whole.
func visit(ctx context.Context, browser *http.Client, address string) (time.Duration, int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	res, err := browser.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer res.Body.Close()
	n, err := io.Copy(io.Discard, res.Body)
	took := time.Since(began)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s", address, res.Status)
	}
	return took, int(n), err
}
