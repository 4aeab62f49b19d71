package console

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// Rules of a password.
const (
	MinPassword = 10  // characters
	MaxPassword = 512 // bytes
)

// Cost of argon2id: what OWASP asks at least, so that a login takes tens of
// milliseconds. hashesMax bounds the logins that hash at the same time, and
// with it the memory that strangers can make a node use.
const (
	argonMemory  = 19 << 10 // KiB
	argonTime    = 2
	argonThreads = 1
	argonSalt    = 16
	argonKey     = 32
	hashesMax    = 2
	hashWait     = 5 * time.Second
	argonMost    = 256 << 10 // KiB that a stored hash may ask for
)

// CheckPassword says what is wrong with a new password of a user.
func CheckPassword(name, password string) error {
	bad := func(reason string) error {
		return &Error{http.StatusBadRequest, registry.Invalid, "password", reason}
	}
	switch {
	case len(password) > MaxPassword:
		return bad(fmt.Sprintf("over %d bytes", MaxPassword))
	case !utf8.ValidString(password):
		return bad("not UTF-8")
	case utf8.RuneCountInString(password) < MinPassword:
		return bad(fmt.Sprintf("use %d characters or more", MinPassword))
	case strings.EqualFold(password, name):
		return bad("not the user's name")
	}
	return nil
}

// hashPassword makes the registry's form of a password.
func (c *Console) hashPassword(ctx context.Context, password string) (string, error) {
	salt := make([]byte, argonSalt)
	if _, err := io.ReadFull(c.cfg.Rand, salt); err != nil {
		return "", fmt.Errorf("read random bytes: %w", err)
	}
	free, err := c.hashSlot(ctx)
	if err != nil {
		return "", err
	}
	defer free()
	key := argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonThreads, argonKey)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonThreads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key)), nil
}

// nobody is what a password is compared with when there is no such user, so
// that the answer takes as long: a hash of nothing that anybody knows.
var nobody = fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonThreads,
	base64.RawStdEncoding.EncodeToString(make([]byte, argonSalt)), base64.RawStdEncoding.EncodeToString(make([]byte, argonKey)))

// samePassword compares a password with a stored hash; an empty hash is
// nobody's, and takes as long.
func (c *Console) samePassword(ctx context.Context, stored, password string) (bool, error) {
	free, err := c.hashSlot(ctx)
	if err != nil {
		return false, err
	}
	defer free()
	known := stored != ""
	if !known {
		stored = nobody
	}
	ok, err := comparePassword(stored, password)
	return ok && known, err
}

func comparePassword(stored, password string) (bool, error) {
	parts := strings.Split(stored, "$")
	if len(parts) != 6 || parts[1] != "argon2id" {
		return false, errors.New("compare password: the stored hash is not argon2id")
	}
	var version int
	var memory, rounds uint32
	var threads uint8
	if _, err := fmt.Sscanf(parts[2]+" "+parts[3], "v=%d m=%d,t=%d,p=%d", &version, &memory, &rounds, &threads); err != nil {
		return false, fmt.Errorf("compare password: read the stored hash's cost: %w", err)
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[4])
	want, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	if err := errors.Join(err1, err2); err != nil {
		return false, fmt.Errorf("compare password: read the stored hash: %w", err)
	}
	if version != argon2.Version || memory > argonMost || rounds == 0 || rounds > 16 || threads == 0 || len(want) == 0 || len(want) > 64 {
		return false, errors.New("compare password: the stored hash's cost is out of bounds")
	}
	got := argon2.IDKey([]byte(password), salt, rounds, memory, threads, uint32(len(want))) //nolint:gosec // at most 64
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}

// hashSlot waits for one of the few slots.
func (c *Console) hashSlot(ctx context.Context) (free func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, hashWait)
	defer cancel()
	select {
	case c.hashing <- struct{}{}:
		return func() { <-c.hashing }, nil
	case <-ctx.Done():
		return nil, &Error{Status: http.StatusServiceUnavailable, Reason: "too many logins at once: try again in a moment"}
	}
}
