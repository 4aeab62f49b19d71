package console

import (
	"encoding"
	"encoding/json"
	"path"
	"reflect"
	"strings"
	"time"
)

// shapes collects JSON Schemas of Go types, as encoding/json writes them. A
// named struct becomes a component that others refer to.
type shapes struct {
	named map[string]any
	// input is for bodies that callers write: fields may be left out, and the
	// registry says which may not.
	input bool
}

var (
	rawType  = reflect.TypeFor[json.RawMessage]()
	timeType = reflect.TypeFor[time.Time]()
	textType = reflect.TypeFor[encoding.TextMarshaler]()
)

// of gives the schema of a value's type.
func (s *shapes) of(v any) map[string]any { return s.shape(reflect.TypeOf(v)) }

// body is of for what a caller writes.
func (s *shapes) body(v any) map[string]any {
	return (&shapes{named: s.named, input: true}).of(v)
}

func (s *shapes) shape(t reflect.Type) map[string]any {
	switch {
	case t == rawType:
		return map[string]any{} // anything
	case t == timeType:
		return map[string]any{"type": "string", "format": "date-time"}
	case t.Kind() != reflect.Pointer && (t.Implements(textType) || reflect.PointerTo(t).Implements(textType)):
		return map[string]any{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.shape(t.Elem())
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return map[string]any{"type": "integer"}
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return map[string]any{"type": "string", "contentEncoding": "base64"}
		}
		return map[string]any{"type": []string{"array", "null"}, "items": s.shape(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": s.shape(t.Elem())}
	case reflect.Struct:
		return s.object(t)
	}
	return map[string]any{}
}

// object gives a struct's schema: a reference, where the struct has a name.
func (s *shapes) object(t reflect.Type) map[string]any {
	name := t.Name()
	if name == "" {
		return s.fields(t)
	}
	// Names of two packages may be the same.
	name = path.Base(t.PkgPath()) + "." + name
	if s.input {
		name += ".input"
	}
	if _, ok := s.named[name]; !ok {
		s.named[name] = nil // for types that hold themselves
		s.named[name] = s.fields(t)
	}
	return map[string]any{"$ref": "#/components/schemas/" + name}
}

func (s *shapes) fields(t reflect.Type) map[string]any {
	properties, required := map[string]any{}, []string{}
	for _, f := range jsonFields(t) {
		name, rest, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			name = f.Name
		}
		if properties[name] != nil {
			continue // an outer field hides an inner one
		}
		properties[name] = s.shape(f.Type)
		if !strings.Contains(rest, "omit") && f.Type.Kind() != reflect.Pointer {
			required = append(required, name)
		}
	}
	shape := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if !s.input {
		shape["required"] = required
	}
	return shape
}

// jsonFields lists a struct's fields as encoding/json sees them, those of
// embedded structs last.
func jsonFields(t reflect.Type) (fields []reflect.StructField) {
	var inner []reflect.StructField
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-":
		case f.Anonymous && name == "":
			embedded := f.Type
			if embedded.Kind() == reflect.Pointer {
				embedded = embedded.Elem()
			}
			inner = append(inner, jsonFields(embedded)...)
		case f.IsExported():
			fields = append(fields, f)
		}
	}
	return append(fields, inner...)
}
