package processor

import (
	"fmt"

	"github.com/tidemarkio/tidemark/schemas"
)

// Kind tells outputs apart.
type Kind uint8

// The kinds of output. Append and Marker go to the task's oplog partition,
// the others are side outputs: each must be reported by [Task.Sent].
const (
	Append    Kind = iota + 1 // an entry
	Marker                    // progress; its acknowledgement is not reported
	Broadcast                 // a copy of a global entry
	Result                    // an answer on the partition that the request names
	Reject                    // a refused request
	Forward                   // a request that belongs to another partition
)

func (k Kind) String() string {
	return [...]string{"", "append", "marker", "broadcast", "result", "reject", "forward"}[k]
}

// Side reports whether outputs of this kind are side outputs.
func (k Kind) Side() bool { return k > Marker }

// Output is one record that the task's owner has to write.
type Output struct {
	Kind      Kind
	Position  int64  // of the request that it comes from
	Partition int32  // Result and Forward: where it goes
	Key       []byte // record key
	Value     []byte // Append, Marker, Broadcast, Forward: the record's value

	// Result and Reject: the answer. For an accepted, specified request the
	// code is Success, and presence may turn it into NotOnline.
	Answer *schemas.Result
	Reach  *Reach // Result of an accepted, specified request: whom it is for

	// Forward: headers to keep.
	ContentType string
	Reply       string
	RequestID   []byte
}

// Reach is what an entry asks of a session before it counts as online.
type Reach struct {
	InstanceID, BizType, LinkToken string
	Target                         string // dimension
	Filter                         schemas.Filter
	Consistency                    bool
}

// Record is one record of the requests partition.
type Record struct {
	Offset      int64
	Value       []byte
	ContentType string
	Control     bool
	Reply       string // header tidemark-reply as it came
	RequestID   []byte
}

// ParkError stops a task until an operator has acted: going on would break an
// invariant. The store is left as it is.
type ParkError struct {
	Partition int32
	Position  int64
	Reason    string // what is wrong
	Remedy    string // what to do
	Cause     error
}

func (e *ParkError) Error() string {
	s := fmt.Sprintf("partition %d parked at position %d: %s", e.Partition, e.Position, e.Reason)
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	if e.Remedy != "" {
		s += " (" + e.Remedy + ")"
	}
	return s
}

func (e *ParkError) Unwrap() error { return e.Cause }
