package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// adminFlags reach a node's admin API.
type adminFlags struct {
	url   string
	token string
}

func (f *adminFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.url, "admin", "http://127.0.0.1:8081", "the node's admin API")
	secretVar(cmd.Flags(), &f.token, "admin-token", "TIDEMARK_ADMIN_TOKEN", "its token, where one is set; default $TIDEMARK_ADMIN_TOKEN")
}

// secretVar adds a flag that a variable of the environment stands in for. Its
// value is not shown as the default: help is printed where others read it.
func secretVar(fl *pflag.FlagSet, to *string, name, variable, usage string) {
	fl.StringVar(to, name, os.Getenv(variable), usage)
	fl.Lookup(name).DefValue = ""
}

// Limits of one call.
const (
	callMax     = time.Minute
	maxAnswer   = 64 << 20
	maxProblem  = 64 << 10 // of a refusedCall's text
	transferMax = 15 * time.Minute
)

// call does one request and gives the body of a 2xx answer.
func (f *adminFlags) call(ctx context.Context, method, path, contentType string, body io.Reader) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callMax)
	defer cancel()
	res, err := f.send(ctx, method, path, contentType, body)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", f.url, err)
	}
	if len(b) > maxAnswer {
		return nil, fmt.Errorf("read the answer of %s: it is over %d bytes", f.url, maxAnswer)
	}
	return b, nil
}

// send does one request and gives a 2xx answer, whose body the caller closes.
func (f *adminFlags) send(ctx context.Context, method, path, contentType string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(f.url, "/")+path, body)
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if f.token != "" {
		req.Header.Set("Authorization", "Bearer "+f.token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("call the admin API: %w (is tidemark running there? see --admin)", err)
	}
	if res.StatusCode/100 == 2 {
		return res, nil
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxProblem))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", f.url, err)
	}
	return nil, &refusedCall{res.StatusCode, inWords(b)}
}

// inWords is what a refusal says, for people; one of a node that is starting,
// or of a proxy, is text already.
func inWords(answer []byte) string {
	var no struct {
		Error struct{ Path, Reason string }
	}
	switch err := json.Unmarshal(answer, &no); {
	case err != nil || no.Error.Reason == "":
		return strings.TrimSpace(string(answer))
	case no.Error.Path == "":
		return no.Error.Reason
	}
	return no.Error.Path + ": " + no.Error.Reason
}

// refusedCall is an answer that is not 2xx.
type refusedCall struct {
	status int
	text   string
}

// Error implements error.
func (r *refusedCall) Error() string { return r.text }
