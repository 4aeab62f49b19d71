package node

import (
	"context"
	"fmt"
	"net/http"
	"testing"
)

const credentialHeader = "Tidemark-Device-Credential"

// connects opens a stream of a device and closes it again, and gives the answer
// and the credential in it.
func (w *trio) connects(i int, device, credential string) (status int, issued string) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.nodes[i].URL()+"/sync/stream?instanceId=demo_APP1&biz=DEV&deviceId="+device, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer ck-demo")
	if credential != "" {
		req.Header.Set(credentialHeader, credential)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode, res.Header.Get(credentialHeader)
}

// A device id that was first seen at one node belongs to its owner at every
// other: the credential is honoured there, and a stranger neither gets it nor,
// without it, is taken for the first.
func TestDeviceFixationOverNodes(t *testing.T) {
	w := startTrio(t)
	const config = "instances:\n  - id: demo_APP1\n    clientKey: ck-demo\n    sync:\n      - {bizType: DEV, scope: specified, target: device}\n"
	if err := w.nodes[0].Apply(t.Context(), []byte(config), nil); err != nil {
		t.Fatal(err)
	}
	for i := range w.nodes {
		w.until(fmt.Sprintf("node %d lets the instance's clients in", i+1), func() error {
			if status, _ := w.connects(i, fmt.Sprint("probe", i), ""); status != http.StatusOK {
				return fmt.Errorf("status %d", status)
			}
			return nil
		})
	}
	for i := range w.nodes {
		device := fmt.Sprint("phone", i)
		status, mine := w.connects(i, device, "")
		if status != http.StatusOK || mine == "" {
			t.Fatalf("the first connect, at node %d: %d, credential %q", i+1, status, mine)
		}
		for k := range w.nodes {
			if status, issued := w.connects(k, device, ""); status != http.StatusOK || issued != "" {
				t.Errorf("a stranger at node %d: %d, credential %q", k+1, status, issued)
			}
			if status, _ := w.connects(k, device, "made-up"); status != http.StatusForbidden {
				t.Errorf("a made-up credential at node %d: %d", k+1, status)
			}
			if status, _ := w.connects(k, device, mine); status != http.StatusOK {
				t.Errorf("its owner at node %d: %d", k+1, status)
			}
			if status, _ := w.connects(k, fmt.Sprint("phone", i+10), mine); status != http.StatusForbidden {
				t.Errorf("another device's credential at node %d: %d", k+1, status)
			}
		}
	}
}
