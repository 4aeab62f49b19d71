//go:build race

package sim

// slower divides the number of schedules: one goroutine has no races to find,
// and the detector takes most of the time.
const slower = 10
