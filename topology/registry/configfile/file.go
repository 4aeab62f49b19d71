package configfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/goccy/go-yaml/ast"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// File is a config file. Fields that are pointers may be left out: they stay
// as they are then, or get their default where an object is new.
type File struct {
	// Signature switches the check of signatures for the whole service.
	Signature *bool      `yaml:"signature,omitempty" json:"signature,omitempty"`
	Instances []Instance `yaml:"instances" json:"instances"`

	lines lines
}

// Instance is one instance of a file.
type Instance struct {
	ID          string  `yaml:"id" json:"id"` // workspaceId_appId
	Description *string `yaml:"description,omitempty" json:"description,omitempty"`
	// ClientKey is what clients show, one or several; APIKeys what the
	// tenant's servers show.
	ClientKey Keys `yaml:"clientKey,omitempty" json:"clientKey,omitempty"`
	APIKeys   Keys `yaml:"apiKeys,omitempty" json:"apiKeys,omitempty"`
	// SessionValidation and JWT replace what is there; empty ones ({}) remove it.
	SessionValidation *SessionValidation `yaml:"sessionValidation,omitempty" json:"sessionValidation,omitempty"`
	JWT               *JWT               `yaml:"jwt,omitempty" json:"jwt,omitempty"`
	Sync              []Sync             `yaml:"sync" json:"sync"`
}

// SessionValidation is as registry.SessionValidation.
type SessionValidation struct {
	URL           string `yaml:"url" json:"url"`
	TimeoutMillis int64  `yaml:"timeoutMillis,omitempty" json:"timeoutMillis,omitempty"`
	AllowPrivate  bool   `yaml:"allowPrivate,omitempty" json:"allowPrivate,omitempty"`
}

// JWT is as registry.JWT.
type JWT struct {
	Algorithms   []string `yaml:"algorithms" json:"algorithms"`
	Secret       string   `yaml:"secret,omitempty" json:"secret,omitempty"`
	PublicKey    string   `yaml:"publicKey,omitempty" json:"publicKey,omitempty"`
	JWKS         string   `yaml:"jwks,omitempty" json:"jwks,omitempty"`
	AllowPrivate bool     `yaml:"allowPrivate,omitempty" json:"allowPrivate,omitempty"`
	Issuer       string   `yaml:"issuer,omitempty" json:"issuer,omitempty"`
	Audience     string   `yaml:"audience,omitempty" json:"audience,omitempty"`
	UserClaim    string   `yaml:"userClaim,omitempty" json:"userClaim,omitempty"`
}

// Sync is one sync config of a file. New ones are online, persistent, in mode
// queue and single-device unless it says otherwise.
type Sync struct {
	BizType     string  `yaml:"bizType" json:"bizType"`
	Scope       string  `yaml:"scope" json:"scope"`   // specified or global
	Target      string  `yaml:"target" json:"target"` // user or device
	MultiDevice *bool   `yaml:"multiDevice,omitempty" json:"multiDevice,omitempty"`
	Persistent  *bool   `yaml:"persistent,omitempty" json:"persistent,omitempty"`
	Repush      *Repush `yaml:"repush,omitempty" json:"repush,omitempty"`
	Consistency *bool   `yaml:"consistency,omitempty" json:"consistency,omitempty"`
	Online      *bool   `yaml:"online,omitempty" json:"online,omitempty"`
	Description *string `yaml:"description,omitempty" json:"description,omitempty"`
}

// Repush is the re-push mode of a config that is persistent.
type Repush struct {
	Mode      string `yaml:"mode" json:"mode"` // queue or threshold
	Threshold int64  `yaml:"threshold,omitempty" json:"threshold,omitempty"`
}

// Keys are secrets: one, or a list. Nil if the file does not mention them.
type Keys []string

// UnmarshalYAML reads one key or a list of keys. They must be strings: an
// unquoted 007 would be the number 7.
func (k *Keys) UnmarshalYAML(n ast.Node) error {
	switch n := n.(type) {
	case *ast.NullNode:
		return nil
	case *ast.SequenceNode:
		*k = Keys{}
		for _, v := range n.Values {
			if err := k.add(v); err != nil {
				return err
			}
		}
		return nil
	}
	*k = Keys{}
	return k.add(n)
}

func (k *Keys) add(n ast.Node) error {
	switch n := n.(type) {
	case *ast.StringNode:
		*k = append(*k, n.Value)
		return nil
	case *ast.LiteralNode:
		*k = append(*k, n.Value.Value)
		return nil
	}
	return fmt.Errorf("line %d: a key must be a string: put it in quotes", n.GetToken().Position.Line)
}

// UnmarshalJSON reads one key or a list of keys.
func (k *Keys) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	if len(b) > 0 && b[0] == '"' {
		*k = Keys{""}
		return json.Unmarshal(b, &(*k)[0])
	}
	*k = Keys{}
	return json.Unmarshal(b, (*[]string)(k))
}

// ParseJSON reads a file that is written in JSON: the same fields, without
// line numbers in complaints.
func ParseJSON(b []byte) (*File, error) {
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("read config: %d bytes: over the limit of %d", len(b), MaxBytes)
	}
	if err := schemas.CheckJSON(b); err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	var f File
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	return &f, f.check()
}

// check refuses what is wrong whatever the registry holds, all of it at once.
func (f *File) check() error {
	var errs []error
	seen := make(map[string]int)
	for i := range f.Instances {
		in, path := &f.Instances[i], fmt.Sprintf("instances[%d]", i)
		if first, twice := seen[in.ID]; twice {
			errs = append(errs, f.lines.fault(path+".id", fmt.Errorf("instance %q is listed twice, first as instances[%d]", in.ID, first)))
			continue
		}
		seen[in.ID] = i
		errs = append(errs, f.lines.fault(path, registry.CheckInstanceID(in.ID)))
		errs = append(errs, f.checkKeys(path+".clientKey", in.ClientKey), f.checkKeys(path+".apiKeys", in.APIKeys))
		errs = append(errs, f.checkSyncs(path, in))
	}
	return errors.Join(errs...)
}

func (f *File) checkKeys(path string, keys Keys) error {
	seen := make(map[string]bool)
	for i, k := range keys {
		at := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case k == "" || len(k) > registry.MaxKeyLength || bytes.ContainsAny([]byte(k), " \t\r\n\x00"):
			return f.lines.fault(at, fmt.Errorf("a key is 1 to %d characters without spaces", registry.MaxKeyLength))
		case seen[k]:
			return f.lines.fault(at, errors.New("this key is listed twice"))
		}
		seen[k] = true
	}
	return nil
}

func (f *File) checkSyncs(path string, in *Instance) error {
	var errs []error
	seen := make(map[string]int)
	for i := range in.Sync {
		s, at := &in.Sync[i], fmt.Sprintf("%s.sync[%d]", path, i)
		if first, twice := seen[s.BizType]; twice {
			errs = append(errs, f.lines.fault(at+".bizType", fmt.Errorf("%q is listed twice, first as sync[%d]", s.BizType, first)))
			continue
		}
		seen[s.BizType] = i
		for _, field := range [][2]string{{"bizType", s.BizType}, {"scope", s.Scope}, {"target", s.Target}} {
			if field[1] == "" {
				errs = append(errs, f.lines.fault(at+"."+field[0], errors.New("it is missing")))
			}
		}
	}
	return errors.Join(errs...)
}
