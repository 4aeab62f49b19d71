package console

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"strings"
)

// openAPI describes the API, from the same table that serves it, and the types
// that handlers read and answer.
func (c *Console) openAPI(*request) (any, error) { return c.OpenAPI(), nil }

// OpenAPI is the API's description, as it is served.
func (c *Console) OpenAPI() map[string]any {
	s := &shapes{named: map[string]any{}}
	paths := make(map[string]map[string]any)
	for _, r := range c.routes() {
		if paths[r.Path] == nil {
			paths[r.Path] = make(map[string]any)
		}
		paths[r.Path][strings.ToLower(r.Method)] = r.document(s)
	}
	s.named["Refusal"] = map[string]any{"type": "object", "required": []string{"error"}, "properties": map[string]any{"error": s.of(Error{})}, "additionalProperties": false}
	return map[string]any{
		"openapi": "3.1.0",
		"info": map[string]string{
			"title": "Tidemark admin API", "version": "1",
			"description": "x-role says which role an operation needs. Writes of a login session show the token of GET /api/v1/session in " + CSRFHeader + ". If-Match takes an object's ETag.",
		},
		"paths": paths,
		"components": map[string]any{
			"schemas": s.named,
			"securitySchemes": map[string]any{
				"token":   map[string]string{"type": "http", "scheme": "bearer"},
				"session": map[string]string{"type": "apiKey", "in": "cookie", "name": "tidemark_session"},
			},
		},
		"security": []map[string][]string{{"token": {}}, {"session": {}}},
	}
}

// refusals are the statuses of refusals that a route has, with what they mean.
func (r *route) refusals() map[int]string {
	all := map[int]string{
		http.StatusServiceUnavailable: "the registry has no leader, or a part of the node did not answer in time. Problem outcomeUnknown: a change may have been made all the same",
	}
	if r.Role != "" {
		all[http.StatusUnauthorized] = "nobody is logged in, and no token is shown"
		all[http.StatusForbidden] = "the caller's role is below x-role, or a write of a session lacks its token"
	}
	if r.In != nil || r.Query != nil {
		all[http.StatusBadRequest] = "a field, a parameter or the body is wrong"
	}
	if r.In != nil {
		all[http.StatusRequestEntityTooLarge] = "the body is too large"
	}
	if pathParam.MatchString(r.Path) {
		all[http.StatusNotFound] = "what the path names is not there"
	}
	if r.Change {
		all[http.StatusConflict] = "it is there already, somebody else changed it first, or it is not in a state for this"
	}
	maps.Copy(all, r.Refused)
	return all
}

var pathParam = regexp.MustCompile(`\{(\w+)\}`)

func (r *route) document(s *shapes) map[string]any {
	text := map[string]string{"type": "string"}
	params := []map[string]any{}
	for _, m := range pathParam.FindAllStringSubmatch(r.Path, -1) {
		params = append(params, map[string]any{"name": m[1], "in": "path", "required": true, "schema": text})
	}
	for _, p := range r.Query {
		params = append(params, map[string]any{"name": p.Name, "in": "query", "description": p.Meaning, "schema": text})
	}
	refusal := map[string]any{"application/json": map[string]any{"schema": map[string]any{"$ref": "#/components/schemas/Refusal"}}}
	status := r.Status
	if status == 0 {
		status = 200
	}
	content := map[string]any{}
	if r.Out != nil {
		content["application/json"] = map[string]any{"schema": s.of(r.Out)}
	}
	if r.Media != "" {
		content[r.Media] = map[string]any{}
	}
	responses := map[string]any{
		fmt.Sprint(status): map[string]any{"description": "done", "content": content},
		"4XX":              map[string]any{"description": "refused", "content": refusal},
	}
	for status, meaning := range r.refusals() {
		said := map[string]any{"description": meaning, "content": refusal}
		if status == http.StatusServiceUnavailable {
			said["headers"] = map[string]any{"Retry-After": map[string]any{"description": "when to call again, seconds", "schema": map[string]string{"type": "integer"}}}
		}
		responses[fmt.Sprint(status)] = said
	}
	if r.Change {
		responses["202"] = map[string]any{"description": "done in the registry, and not yet in every partition's log", "content": content}
	}
	doc := map[string]any{"summary": r.Summary, "parameters": params, "responses": responses, "x-role": r.Role}
	if r.Role == "" {
		doc["security"] = []any{}
	}
	if r.In == nil && r.Upload {
		doc["requestBody"] = map[string]any{"required": true, "description": r.Body, "content": map[string]any{"application/octet-stream": map[string]any{}}}
	}
	if r.In != nil {
		in := map[string]any{"application/json": map[string]any{"schema": s.body(r.In)}}
		if r.Max > 0 {
			in["application/yaml"] = map[string]any{}
		}
		body := map[string]any{"required": true, "content": in}
		if r.Body != "" {
			body["description"] = r.Body
		}
		doc["requestBody"] = body
	}
	return doc
}
