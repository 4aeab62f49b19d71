package console

import (
	"context"

	"github.com/tidemarkio/tidemark/schemas"
)

// Stats answers what is known of one target. The node fills it from the view
// of its edge and what other edges say of their sessions, so that any node
// answers for all, and an answer costs the same whatever the number of targets.
type Stats interface {
	// Target says how a user or device stands, with its newest pushes, at most
	// limit. Somebody who was never heard of is a Target that is not Known.
	Target(ctx context.Context, instanceID, dimension, name string, limit int) (*Target, error)
}

// Target is a user or a device in the data query (spec 1.5).
type Target struct {
	InstanceID string          `json:"instanceId"`
	Dimension  string          `json:"dimension"` // user or device
	Name       string          `json:"name"`
	Known      bool            `json:"known"`     // something was pushed to it, or it was here
	Connected  bool            `json:"connected"` // at this moment
	Pushes     int64           `json:"pushes"`    // oplogs accepted in the last 30 x 24 h
	Arrivals   int64           `json:"arrivals"`  // of which a device confirmed receipt
	Configs    []TargetConfig  `json:"configs"`   // the same by config, sorted
	Sessions   []TargetSession `json:"sessions"`
	Devices    []TargetDevice  `json:"devices"` // that a user was online with
	PushList   []TargetPush    `json:"pushList"`
}

// TargetConfig is how one config stands for a target.
type TargetConfig struct {
	BizType  string `json:"bizType"`
	Head     int64  `json:"head"`  // newest oplog id
	First    int64  `json:"first"` // oldest oplog id that is kept; 0: none
	Acked    int64  `json:"acked"` // highest oplog id that a device confirmed
	Pushes   int64  `json:"pushes"`
	Arrivals int64  `json:"arrivals"`
}

// TargetSession is a live connection of a target.
type TargetSession struct {
	Edge       string `json:"edge"` // the node that it is at
	Session    string `json:"session"`
	Transport  string `json:"transport"`
	DeviceID   string `json:"deviceId"`
	UserID     string `json:"userId,omitempty"`
	OS         string `json:"os,omitempty"`
	AppVersion string `json:"appVersion,omitempty"`
	Foreground bool   `json:"foreground"`
	Verified   bool   `json:"verified"` // the tenant called the user's session valid
	Blocked    bool   `json:"blocked"`  // entries wait for acknowledgements
}

// TargetDevice is a device that a user was online with.
type TargetDevice struct {
	DeviceID string `json:"deviceId"`
	Online   int64  `json:"online"` // when last, epoch ms
}

// TargetPush is one entry of a push list.
type TargetPush struct {
	BizType      string `json:"bizType"`
	OplogID      int64  `json:"oplogId"`
	ThirdMsgID   string `json:"thirdMsgId"`
	Bytes        int    `json:"bytes"`
	Time         int64  `json:"time"`         // of acceptance, epoch ms
	ValidTimeEnd int64  `json:"validTimeEnd"` // epoch ms
	Arrived      bool   `json:"arrived"`
}

// Sender puts a request through the door that tenants' servers use, without
// their key, and gives its result.
type Sender interface {
	Send(context.Context, *schemas.Request) (schemas.Result, error)
}

// Redeliverer moves sync points back.
type Redeliverer interface {
	// PlanRewinds says which sync points of a target would move: back, never
	// forward. None: nothing would come again.
	PlanRewinds(ctx context.Context, instanceID, target string, f *RedeliverForm) ([]RewoundPoint, error)
	// Rewind moves them, and returns when that is durable.
	Rewind(ctx context.Context, instanceID, bizType string, points []RewoundPoint) error
}

// Tail follows the oplog.
type Tail interface {
	// Follow calls emit with each entry that the query takes, in order, until
	// ctx ends, emit fails, or the log breaks an invariant. It calls emit with
	// nil at least every ten seconds, so that a caller that has gone is noticed.
	Follow(ctx context.Context, q TailQuery, emit func(*TailEntry) error) error
}

// TailQuery says what of the oplog to follow. Empty fields take all.
type TailQuery struct {
	Partition  int32  `json:"partition"` // -1: all
	InstanceID string `json:"instanceId,omitempty"`
	BizType    string `json:"bizType,omitempty"`
	LinkToken  string `json:"linkToken,omitempty"`
	// Last is how many entries before the end to begin with; 0: only new ones.
	Last int `json:"last,omitempty"`
}

// TailEntry is an oplog entry as operators see it.
type TailEntry struct {
	Partition     int32  `json:"partition"`
	Offset        int64  `json:"offset"`
	RequestOffset int64  `json:"requestOffset"`
	InstanceID    string `json:"instanceId"`
	BizType       string `json:"bizType"`
	LinkToken     string `json:"linkToken,omitempty"`
	Scope         string `json:"scope"`
	OplogID       int64  `json:"oplogId"`
	ThirdMsgID    string `json:"thirdMsgId"`
	Payload       string `json:"payload,omitempty"`
	Binary        []byte `json:"binaryPayload,omitempty"` // base64
	OSType        string `json:"osType,omitempty"`
	AppMinVersion string `json:"appMinVersion,omitempty"`
	AppMaxVersion string `json:"appMaxVersion,omitempty"`
	ValidTimeEnd  int64  `json:"validTimeEnd,omitempty"` // epoch ms
	Time          int64  `json:"time"`                   // stream time at acceptance, epoch ms
	NonPersistent bool   `json:"nonPersistent,omitempty"`
}

// Live says how the node is at this moment.
type Live interface {
	Live(context.Context) (*Snapshot, error)
}

// Snapshot is how a node is at one moment.
type Snapshot struct {
	Time    int64  `json:"time"` // epoch ms
	Node    string `json:"node"` // whose figures these are
	Ready   bool   `json:"ready"`
	Waiting string `json:"waiting,omitempty"` // for what, when it is not ready

	Rates       map[string]float64 `json:"rates"`   // events a second since the snapshot before: calls, decided, delivered, acknowledged
	Latency     map[string]Latency `json:"latency"` // by what was timed: call, delivery
	Connections int                `json:"connections"`
	Partitions  []PartitionLive    `json:"partitions"`
	Parked      int                `json:"parked"` // tasks and views that wait for an operator
	Quorum      QuorumLive         `json:"quorum"`
	Others      []OtherNode        `json:"others"` // members of the registry beside this node
}

// OtherNode is where else figures are.
type OtherNode struct {
	Node  string `json:"node"`
	Admin string `json:"admin,omitempty"` // its operators' door; empty: not known
}

// Latency is a distribution, in seconds.
type Latency struct {
	P50   float64 `json:"p50"`
	P95   float64 `json:"p95"`
	P99   float64 `json:"p99"`
	Count int64   `json:"count"` // of observations behind it
}

// PartitionLive is a partition: its sync task, and the edge's view of it.
type PartitionLive struct {
	Partition  int32  `json:"partition"`
	State      string `json:"state"`
	Lag        int64  `json:"lag"` // requests not decided yet; -1: not known
	InFlight   int    `json:"inFlight"`
	ViewLag    int64  `json:"viewLag"` // oplog records that the view has not taken
	Online     int64  `json:"online"`  // sessions at its targets
	Reason     string `json:"reason,omitempty"`
	StreamTime int64  `json:"streamTime"` // epoch ms
}

// QuorumLive is the registry in short.
type QuorumLive struct {
	State     string `json:"state"`
	Leader    string `json:"leader,omitempty"`
	Ready     bool   `json:"ready"`
	Members   int    `json:"members"`
	Reachable int    `json:"reachable"`
	Revision  int64  `json:"revision"`
	Pending   int    `json:"pending"` // control records that wait
}
