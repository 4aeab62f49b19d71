package report

import (
	"encoding/json"
	"fmt"
	"os"
)

// ReadResults reads what a benchmark recorded, so that its report can be
// written again.
func ReadResults[T any](file string) (*T, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	r := new(T)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("read results %s: %w", file, err)
	}
	return r, nil
}
