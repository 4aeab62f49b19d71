package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// Request is what a producer asks for, in the words of the API.
type Request struct {
	InstanceID    string `json:"instanceId,omitempty"`
	BizType       string `json:"bizType,omitempty"`
	LinkToken     string `json:"linkToken,omitempty"`
	ThirdMsgID    string `json:"thirdMsgId,omitempty"`
	Payload       string `json:"payload,omitempty"`
	Binary        []byte `json:"binaryPayload,omitempty"` // base64 in JSON
	OSType        string `json:"osType,omitempty"`
	AppMinVersion string `json:"appMinVersion,omitempty"`
	AppMaxVersion string `json:"appMaxVersion,omitempty"`
	ValidTimeEnd  int64  `json:"validTimeEnd,omitempty"`
	Scope         string `json:"scope,omitempty"`
}

// Global reports whether the request is for everybody.
func (r *Request) Global() bool { return r.Scope == scopeGlobal }

// Key is the record key that the documentation asks for.
func (r *Request) Key() string {
	if r.Global() {
		return r.InstanceID + "/" + r.BizType
	}
	return r.LinkToken
}

// JSON is the request's JSON form.
func (r *Request) JSON() []byte {
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and numbers
	}
	return b
}

// Proto is the request as a SyncRequest.
func (r *Request) Proto() []byte {
	var b []byte
	for i, s := range []string{r.InstanceID, r.BizType, r.LinkToken, r.ThirdMsgID, r.Payload, string(r.Binary), r.OSType, r.AppMinVersion, r.AppMaxVersion} {
		b = putString(b, protowire.Number(i+1), s)
	}
	b = putInt(b, 10, r.ValidTimeEnd)
	return putString(b, 11, r.Scope)
}

// Answer is what the HTTP door says.
type Answer struct {
	Status  int
	Msg     string
	Success bool
	OplogID int64
	Reason  string
}

// Door is the HTTP push API.
type Door struct {
	URL  string // of the server
	HTTP *http.Client
}

// Push posts the request to the API of its scope. An error means that no
// answer came: the outcome is unknown.
func (d *Door) Push(ctx context.Context, r *Request) (Answer, error) {
	path := "single"
	if r.Global() {
		path = "global"
	}
	body := *r
	body.InstanceID, body.Scope = "", "" // they are in the address
	return d.Post(ctx, path, r.InstanceID, body.JSON())
}

// Post posts any body to /webapi/sync/<api>.
func (d *Door) Post(ctx context.Context, api, instance string, body []byte) (Answer, error) {
	address := d.URL + "/webapi/sync/" + api
	if instance != "" {
		address += "?instanceId=" + url.QueryEscape(instance)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	client := d.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	res, err := client.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer res.Body.Close()
	return readAnswer(res)
}

// readAnswer insists on the form that the interface fixes: a JSON object whose
// msg is a string and whose success a boolean, both there.
func readAnswer(res *http.Response) (Answer, error) {
	a := Answer{Status: res.StatusCode, Reason: res.Header.Get("Tidemark-Reason")}
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return a, err
	}
	var body map[string]any
	if err := json.Unmarshal(text, &body); err != nil {
		return a, fmt.Errorf("answer of status %d is not JSON: %.200q", res.StatusCode, text)
	}
	msg, ok1 := body["msg"].(string)
	success, ok2 := body["success"].(bool)
	if !ok1 || !ok2 || len(body) != 2 {
		return a, fmt.Errorf("answer of status %d has another form: %.200q", res.StatusCode, text)
	}
	a.Msg, a.Success = msg, success
	if id := res.Header.Get("Tidemark-Oplog-Id"); id != "" {
		if a.OplogID, err = strconv.ParseInt(id, 10, 64); err != nil {
			return a, fmt.Errorf("header Tidemark-Oplog-Id: %w", err)
		}
	}
	return a, nil
}

// Base64 is the JSON form of binary data.
func Base64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
