package tenant

import (
	"bytes"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tidemarkio/tidemark/schemas"
)

// Operation is the only operationType of the callback; codeOK and
// codeOperation are its return codes.
const (
	Operation     = "com.antcloud.session.validate"
	codeOK        = "OK"
	codeOperation = "OPERATION_ERROR"
)

// readReply reads a tenant's answer by the reader rule of spec 1.3.4. An error
// says why there is no verdict; it holds nothing of the session.
func readReply(body []byte, sessionID string) (valid bool, err error) {
	if err := schemas.CheckJSON(body); err != nil {
		return false, fmt.Errorf("read answer: %w", err)
	}
	f, err := object(body)
	if err != nil {
		return false, err
	}
	if inner, ok := f["response"]; ok {
		if f, err = object(inner); err != nil {
			return false, fmt.Errorf("response: %w", err)
		}
	}
	if success, err := truth(f["success"]); err != nil || !success {
		return false, fmt.Errorf("success is not true: %w", orRefused(err))
	}
	if err := checkCodes(f); err != nil {
		return false, err
	}
	result := f["result"]
	if text, ok := str(result); ok {
		result = json.RawMessage(text)
		if err := schemas.CheckJSON(result); err != nil {
			return false, fmt.Errorf("result: %w", err)
		}
	}
	r, err := object(result)
	if err != nil {
		return false, fmt.Errorf("result: %w", err)
	}
	sid, ok := str(r["sid"])
	if !ok || subtle.ConstantTimeCompare([]byte(sid), []byte(sessionID)) != 1 {
		return false, errors.New("result.sid is not the session that was asked about")
	}
	if valid, err = truth(r["valid"]); err != nil {
		return false, fmt.Errorf("result.valid: %w", err)
	}
	return valid, nil
}

var errRefused = errors.New("the tenant refused the call")

func orRefused(err error) error {
	if err != nil {
		return err
	}
	return errRefused
}

// checkCodes wants OK under one of the names, and nothing else under the other.
func checkCodes(f map[string]json.RawMessage) error {
	found := false
	for _, name := range []string{"returnCode", "resultCode"} {
		raw, ok := f[name]
		if !ok {
			continue
		}
		if code, _ := str(raw); code != codeOK {
			return fmt.Errorf("%s is not OK", name)
		}
		found = true
	}
	if !found {
		return errors.New("neither returnCode nor resultCode is there")
	}
	return nil
}

// object reads a JSON object; names are compared exactly.
func object(b json.RawMessage) (map[string]json.RawMessage, error) {
	var f map[string]json.RawMessage
	if err := json.Unmarshal(b, &f); err != nil || f == nil {
		return nil, errors.New("not a JSON object")
	}
	return f, nil
}

func str(b json.RawMessage) (string, bool) {
	var s string
	if len(b) == 0 || b[0] != '"' || json.Unmarshal(b, &s) != nil {
		return "", false
	}
	return s, true
}

// truth reads a boolean, or one of the strings true and false.
func truth(b json.RawMessage) (bool, error) {
	switch {
	case bytes.Equal(b, []byte("true")), bytes.Equal(b, []byte(`"true"`)):
		return true, nil
	case bytes.Equal(b, []byte("false")), bytes.Equal(b, []byte(`"false"`)):
		return false, nil
	}
	return false, errors.New("neither true nor false")
}
