package registry

// Status is what a replica of the registry says about itself.
type Status struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	State   string `json:"state"` // follower, candidate, leader, shutdown
	Ready   bool   `json:"ready"` // has a leader and holds the registry
	Term    uint64 `json:"term"`
	Leader  string `json:"leader,omitempty"` // its id; empty: none is known

	CommitIndex    uint64 `json:"commitIndex"`
	AppliedIndex   uint64 `json:"appliedIndex"`
	LastIndex      uint64 `json:"lastIndex"`
	SnapshotIndex  uint64 `json:"snapshotIndex"`
	LastContactAgo int64  `json:"lastContactMillis"` // since the leader was heard; 0 on the leader, -1: never

	Cluster    string `json:"cluster,omitempty"` // the registry's id
	ClusterKey string `json:"clusterKey,omitempty"`
	Topology   string `json:"topology,omitempty"` // hash
	Revision   int64  `json:"revision"`
	Applied    int64  `json:"applied"`
	Skipped    int64  `json:"skipped"`

	Publication PublicationStatus `json:"publication"`
	Peers       []PeerStatus      `json:"peers"`
}

// PublicationStatus says how far settings are on their way to tasks.
type PublicationStatus struct {
	Published
	Pending     int   `json:"pending"`               // control records that wait
	OldestSince int64 `json:"oldestSince,omitempty"` // epoch ms since which the oldest waits
}

// PeerStatus is a member of the quorum as a replica knows it.
type PeerStatus struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	Voter   bool   `json:"voter"`
	Leader  bool   `json:"leader"`
	Admin   string `json:"admin,omitempty"`
	// Reachable, Applied and LastContactAgo are filled in by who asked the
	// peer itself.
	Reachable      bool   `json:"reachable"`
	Applied        int64  `json:"applied,omitempty"`
	LastContactAgo int64  `json:"lastContactMillis,omitempty"`
	Error          string `json:"error,omitempty"`
}

// PublicationStatus says how far settings are on their way to tasks.
func (m *Model) PublicationStatus() PublicationStatus {
	s := PublicationStatus{Published: m.Published(), Pending: m.PendingCount()}
	if oldest := m.OldestPending(); oldest != nil {
		s.OldestSince = oldest.Since
	}
	return s
}
