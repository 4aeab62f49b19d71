package console

import "net/http"

// addPages puts the operators' pages beside the API.
func (c *Console) addPages(*http.ServeMux) {}
