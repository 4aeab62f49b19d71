package console

import (
	"regexp"
	"strings"
)

// openAPI describes the API, from the same table that serves it.
func (c *Console) openAPI(*request) (any, error) {
	paths := make(map[string]map[string]any)
	for _, r := range c.routes() {
		if paths[r.Path] == nil {
			paths[r.Path] = make(map[string]any)
		}
		paths[r.Path][strings.ToLower(r.Method)] = r.document()
	}
	return map[string]any{
		"openapi": "3.1.0",
		"info":    map[string]string{"title": "Tidemark admin API", "version": "1"},
		"paths":   paths,
	}, nil
}

var pathParam = regexp.MustCompile(`\{(\w+)\}`)

func (r *route) document() map[string]any {
	text := map[string]string{"type": "string"}
	params := []map[string]any{}
	for _, m := range pathParam.FindAllStringSubmatch(r.Path, -1) {
		params = append(params, map[string]any{"name": m[1], "in": "path", "required": true, "schema": text})
	}
	for _, p := range r.Query {
		params = append(params, map[string]any{"name": p.Name, "in": "query", "description": p.Meaning, "schema": text})
	}
	responses := map[string]any{
		"200": map[string]string{"description": "done"},
		"4XX": map[string]string{"description": `refused: {"error": {"problem", "path", "reason"}}`},
		"503": map[string]string{"description": "the registry has no leader, or did not answer in time"},
	}
	doc := map[string]any{"summary": r.Summary, "parameters": params, "responses": responses, "x-role": r.Role}
	if r.Method != "GET" {
		responses["202"] = map[string]string{"description": "done in the registry, and not yet in every partition's log"}
	}
	if r.Body != "" {
		content := map[string]any{"application/json": map[string]any{}}
		if r.Max > 0 {
			content["application/yaml"] = map[string]any{}
		}
		doc["requestBody"] = map[string]any{"description": r.Body, "required": true, "content": content}
	}
	return doc
}
