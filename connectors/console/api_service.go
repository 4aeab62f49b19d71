package console

import (
	"net/http"

	"github.com/tidemarkio/tidemark/topology/registry"
)

func (c *Console) serviceRoutes() []route {
	return []route{
		get(v1+"/service/signature", "whether the sync API checks signatures", registry.Viewer, Signature{}, c.getSignature, readParam),
		change("PUT", v1+"/service/signature", "switch the check of signatures, for the whole service", registry.Admin, signatureForm{}, c.putSignature),
	}
}

// Signature is the service's switch.
type Signature struct {
	On bool `json:"on"`
}

// signatureForm tells "off" from nothing said.
type signatureForm struct {
	On *bool `json:"on"`
}

func (c *Console) getSignature(r *request) (any, error) {
	m, err := c.model(r)
	if err != nil {
		return nil, err
	}
	return Signature{m.Signature()}, nil
}

func (c *Console) putSignature(r *request) (any, error) {
	var f signatureForm
	if err := r.decode(&f); err != nil {
		return nil, err
	}
	if f.On == nil {
		return nil, &Error{http.StatusBadRequest, registry.Invalid, "on", "say true or false"}
	}
	return c.change(r, http.StatusOK, registry.SetSignature{On: *f.On})
}
