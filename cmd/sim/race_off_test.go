//go:build !race

package sim

// slower divides the number of schedules.
const slower = 1
