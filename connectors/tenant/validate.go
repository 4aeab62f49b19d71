package tenant

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// Limits of a [Validator].
const (
	// CallsMax bounds calls under way to one tenant.
	CallsMax = 64
	// replyBytesMax bounds an answer; the spec's is some 200 bytes.
	replyBytesMax = 64 << 10
)

// ErrUnanswered is for what a tenant has not said: its endpoint is down, slow,
// left alone or busy. What it has said, be it nonsense, is another error.
var ErrUnanswered = errors.New("the tenant gave no answer")

// ErrBusy says that a tenant has as many calls under way as it may have.
var ErrBusy = fmt.Errorf("ask tenant: %w: %d calls are under way already", ErrUnanswered, CallsMax)

// Validator asks tenants about sessions. It is safe for concurrent use.
type Validator struct {
	caller *Caller
	now    func() time.Time

	mu    sync.Mutex
	doors map[string]*door // by instance
}

// door is a tenant's endpoint.
type door struct {
	at      registry.SessionValidation
	calls   chan struct{} // capacity CallsMax
	breaker breaker
}

// NewValidator makes one. now is the clock; nil: time.Now.
func NewValidator(c *Caller, now func() time.Time) *Validator {
	if now == nil {
		now = time.Now
	}
	return &Validator{caller: c, now: now, doors: make(map[string]*door)}
}

// question is the body of the callback.
type question struct {
	OperationType string `json:"operationType"`
	InstanceID    string `json:"instanceId"`
	UserID        string `json:"userId"`
	SessionID     string `json:"sessionId"`
}

// Validate asks whether a session is its user's. An error counts as no.
func (v *Validator) Validate(ctx context.Context, at *registry.SessionValidation, instanceID, userID, sessionID string) (bool, error) {
	if at == nil {
		return false, errors.New("ask tenant: the instance has no sessionValidation")
	}
	if sessionID == "" {
		return false, nil // nothing to ask about
	}
	d := v.door(instanceID, at)
	select {
	case d.calls <- struct{}{}:
		defer func() { <-d.calls }()
	default:
		return false, ErrBusy
	}
	done, err := d.breaker.enter(v.now())
	if err != nil {
		return false, fmt.Errorf("ask tenant at %s: %w", at.URL, err)
	}
	body, err := v.call(ctx, at, &question{Operation, instanceID, userID, sessionID})
	done(v.now(), !down(err))
	if down(err) {
		return false, fmt.Errorf("ask tenant: %w: %w", ErrUnanswered, err)
	}
	if err != nil {
		return false, fmt.Errorf("ask tenant: %w", err)
	}
	valid, err := readReply(body, sessionID)
	if err != nil {
		return false, fmt.Errorf("ask tenant at %s: %w", at.URL, err)
	}
	return valid, nil
}

func (v *Validator) call(ctx context.Context, at *registry.SessionValidation, q *question) ([]byte, error) {
	timeout := CallTimeout
	if at.TimeoutMillis > 0 {
		timeout = min(timeout, time.Duration(at.TimeoutMillis)*time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	return v.caller.do(ctx, http.MethodPost, at.URL, bytes.NewReader(body), at.AllowPrivate, replyBytesMax)
}

// down reports whether an error speaks of an endpoint that does not work,
// rather than of one question.
func down(err error) bool {
	var status statusError
	if errors.As(err, &status) {
		return status >= 500 || status == http.StatusTooManyRequests
	}
	return err != nil
}

// door gives an instance's endpoint; a changed one begins anew.
func (v *Validator) door(instanceID string, at *registry.SessionValidation) *door {
	v.mu.Lock()
	defer v.mu.Unlock()
	d := v.doors[instanceID]
	if d == nil || d.at != *at {
		d = &door{at: *at, calls: make(chan struct{}, CallsMax)}
		v.doors[instanceID] = d
	}
	return d
}
