// Package report turns what benchmarks measured into what people read: latency
// percentiles, medians with their spread, Markdown tables, SVG plots, and the
// machine that it was measured on.
//
// # Contract
//
// No figure is typed by hand: a report is a function of recorded results and
// can be written again from them. Plots are plain SVG without scripts or
// fonts of their own, so that they show in a browser and in the forge's view of
// the tree. Except [ThisMachine], [Commit] and [ReadResults], nothing here does
// IO.
//
// # Non-obvious
//
// A [Latency] is meant to be recorded from the moment a request was *due*, not
// from the moment it was sent: otherwise a system that stalls keeps the load
// generator from asking, and the stall counts once instead of for everyone who
// would have asked meanwhile (coordinated omission).
package report
