package processor

// Fault is a planted fault: the simulator shows with each that it would find
// a mistake of that kind.
type Fault int

// The faults that can be planted.
const (
	NoFault       Fault = iota
	NoPrevCheck         // readers do not look at prev_offset (the reader's fault, not the task's)
	EarlyApply          // state reaches the store before the append is acknowledged
	WallClock           // the clock decides stream time
	EarlyResult         // results go out before the append is acknowledged
	WrongPosition       // a new task goes on behind the position it should
)
