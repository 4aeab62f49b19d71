package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/tidemarkio/tidemark/schemas"
)

// Limits of key sets.
const (
	setBytesMax = 256 << 10
	setKeysMax  = 100
	setsMax     = 1000 // URLs; past it the one that was fetched first goes
	// freshFor is how long a set is used without asking again, staleFor how
	// long while asking fails. retryEvery is how soon it is asked again, be it
	// for a key that is not in it or because asking failed: tokens with made-up
	// keys must not make us call a tenant at will.
	freshFor   = 15 * time.Minute
	staleFor   = 24 * time.Hour
	retryEvery = 30 * time.Second
)

// setURL names a set; allowPrivate is part of how it may be fetched.
type setURL struct {
	url          string
	allowPrivate bool
}

type keySets struct {
	caller *Caller
	now    func() time.Time

	mu   sync.Mutex
	sets map[setURL]*keySet
}

// keySet is what a URL gave. Its fields are guarded by keySets.mu.
type keySet struct {
	keys     []jose.JSONWebKey
	fetched  time.Time     // when keys came
	tried    time.Time     // when it was last asked
	failed   error         // of the last try
	fetching chan struct{} // closed when the try that is under way ends; nil: none is
}

func newKeySets(c *Caller, now func() time.Time) *keySets {
	return &keySets{caller: c, now: now, sets: make(map[setURL]*keySet)}
}

// find gives the key that a token names, asking the tenant if need be.
func (s *keySets) find(ctx context.Context, url string, allowPrivate bool, kid, alg string) (any, error) {
	at := setURL{url, allowPrivate}
	for first := true; ; first = false {
		s.mu.Lock()
		set := s.set(at)
		now := s.now()
		key, err := set.find(now, kid, alg)
		if err == nil && now.Sub(set.fetched) < freshFor {
			s.mu.Unlock()
			return key, nil
		}
		wait := set.fetching
		if wait == nil && first && (set.tried.IsZero() || now.Sub(set.tried) >= retryEvery) {
			set.tried, set.fetching = now, make(chan struct{})
			s.mu.Unlock()
			s.fetch(ctx, at, set)
			continue
		}
		s.mu.Unlock()
		if err == nil || wait == nil {
			return key, err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for key set %s: %w: %w", url, ErrUnanswered, ctx.Err())
		}
	}
}

// set gives the set of a URL. With s.mu.
func (s *keySets) set(at setURL) *keySet {
	set := s.sets[at]
	if set != nil {
		return set
	}
	if len(s.sets) >= setsMax {
		var oldest setURL
		var when time.Time
		for u, o := range s.sets {
			if when.IsZero() || o.tried.Before(when) {
				oldest, when = u, o.tried
			}
		}
		delete(s.sets, oldest)
	}
	set = new(keySet)
	s.sets[at] = set
	return set
}

// fetch asks the tenant. A call that was given up by its client is finished
// for the others.
func (s *keySets) fetch(ctx context.Context, at setURL, set *keySet) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), CallTimeout)
	defer cancel()
	body, err := s.caller.do(ctx, http.MethodGet, at.url, nil, at.allowPrivate, setBytesMax)
	var keys []jose.JSONWebKey
	if err == nil {
		keys, err = readKeys(body)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	set.failed = err
	if err == nil {
		set.keys, set.fetched = keys, s.now()
	}
	close(set.fetching)
	set.fetching = nil
}

// find looks a key up. A token without a kid is taken if only one key suits.
func (k *keySet) find(now time.Time, kid, alg string) (any, error) {
	if k.fetched.IsZero() || now.Sub(k.fetched) >= staleFor {
		if k.failed != nil {
			return nil, fmt.Errorf("the instance's key set cannot be had: %w: %w", ErrUnanswered, k.failed)
		}
		return nil, fmt.Errorf("the instance's key set is not there yet: %w", ErrUnanswered)
	}
	var found any
	for i := range k.keys {
		key := &k.keys[i]
		if kid != "" && key.KeyID != kid || key.Algorithm != "" && key.Algorithm != alg || fits(key.Key, alg) != nil {
			continue
		}
		if found != nil {
			return nil, errors.New("several keys of the instance's set suit: tokens need a kid")
		}
		found = key.Key
	}
	if found == nil {
		return nil, errors.New("no key of the instance's set suits")
	}
	return found, nil
}

// readKeys reads a JSON Web Key Set (RFC 7517). Keys that are of no use here
// are left out, as the RFC wants; secrets are never taken for public keys.
func readKeys(body []byte) ([]jose.JSONWebKey, error) {
	if err := schemas.CheckJSON(body); err != nil {
		return nil, fmt.Errorf("read key set: %w", err)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil || set.Keys == nil {
		return nil, errors.New("read key set: not an object with keys")
	}
	if len(set.Keys) > setKeysMax {
		return nil, fmt.Errorf("read key set: over %d keys", setKeysMax)
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(raw) == nil && k.Valid() && k.IsPublic() && (k.Use == "" || k.Use == "sig") {
			keys = append(keys, k)
		}
	}
	return keys, nil
}
