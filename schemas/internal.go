package schemas

import (
	"errors"
	"fmt"
)

// Internal records are a version byte and a protobuf-encoded body. The version
// rises when a reader of the old form would misunderstand the new one; added
// fields need no new version.
const internalVersion = 1

func openInternal(what string, b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("decode %s: %w", what, errors.New("empty record"))
	}
	if b[0] != internalVersion {
		return nil, fmt.Errorf("decode %s: version %d: %w", what, b[0], ErrVersion)
	}
	return b[1:], nil
}
