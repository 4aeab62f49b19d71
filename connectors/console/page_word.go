package console

import "fmt"

// menuEntry is one line of the menu, with the key that leads to it.
type menuEntry struct {
	Path, Key, Text string
	Here            bool
}

// Entry makes a line of the menu.
func (v *view) Entry(name, path, key string) menuEntry {
	return menuEntry{path, key, v.T(name), v.Nav == name}
}

// stateWord is a state in words, and whether it is the good one.
type stateWord struct {
	On   bool
	Text string
}

func (v *view) either(on bool, yes, no string) stateWord {
	if on {
		return stateWord{true, v.T(yes)}
	}
	return stateWord{false, v.T(no)}
}

// Online, Switch and Arrived word the states of configs, switches and pushes.
func (v *view) Online(on bool) stateWord  { return v.either(on, "online", "offline") }
func (v *view) Switch(on bool) stateWord  { return v.either(on, "on", "off") }
func (v *view) Arrived(on bool) stateWord { return v.either(on, "arrived", "waiting") }

// Millis shows seconds as milliseconds.
func (v *view) Millis(seconds float64) string { return fmt.Sprintf("%.1f", seconds*1000) }

// Sum adds two numbers.
func (v *view) Sum(a, b int) int { return a + b }

// problemFields are messages of the fields that refusals name.
var problemFields = map[string]string{
	"id": "instance", "instanceId": "instance", "bizType": "bizType", "scope": "scope", "target": "target", "description": "description",
	"multiDevice": "multiDevice", "persistent": "persistent", "repush.mode": "repush", "repush.threshold": "thresholdValue",
	"consistency": "consistency", "data": "data", "uniqueId": "uniqueId", "os": "os", "validDays": "validDays", "name": "name",
	"password": "password", "current": "current", "role": "role", "from": "from", "to": "to", "last": "last", "sync.bizType": "bizType",
	"url": "validation", "sessionValidation.url": "validation", "sessionValidation.timeoutMillis": "timeout", "timeoutMillis": "timeout", "label": "label",
	"jwt": "jwt", "jwt.algorithms": "algorithms", "jwt.secret": "jwtSecret", "jwt.publicKey": "publicKey", "jwt.jwks": "jwks",
	"jwt.issuer": "issuer", "jwt.audience": "audience", "jwt.userClaim": "userClaim", "dimension": "dimension",
}

// ProblemField names the field that a refusal is about.
func (v *view) ProblemField() string {
	if key, ok := problemFields[v.Problem.Path]; ok {
		return v.T(key)
	}
	return v.Problem.Path
}
