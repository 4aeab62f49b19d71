package main

import (
	"os"
	"testing"

	"github.com/tidemarkio/tidemark/cmd/internal/e2e"
)

// TestMain lets this test program be tidemark: tests start it as a process
// that they can kill.
func TestMain(m *testing.M) {
	if os.Getenv(e2e.MainEnv) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}
