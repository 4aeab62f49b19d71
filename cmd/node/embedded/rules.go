package embedded

import (
	"log/slog"
	"regexp"
	"sync"

	"github.com/tidemarkio/tidemark/topology"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// rules are requests that are well-formed, that a Kafka would serve, and that
// are answered with an error here. They run on the cluster's one goroutine and
// need no locks.
func rules(log *slog.Logger) []kfake.Fault {
	var (
		groups = make(map[string]bool)
		made   = make(map[string]int) // partitions of the topics that clients asked for
	)
	return []kfake.Fault{
		rule(kerr.TransactionalIDAuthorizationFailed, transactional(log), kmsg.InitProducerID),
		rule(kerr.InvalidTopicException, badTopicName, kmsg.CreateTopics),
		rule(kerr.InvalidPartitions, tooManyPartitions(made), kmsg.CreateTopics, kmsg.CreatePartitions),
		rule(kerr.InconsistentGroupProtocol, oddProtocols, kmsg.JoinGroup),
		rule(kerr.PolicyViolation, altersMoreThanTopics, kmsg.AlterConfigs, kmsg.IncrementalAlterConfigs),
		rule(kerr.PolicyViolation, tooManyGroups(groups), kmsg.JoinGroup, kmsg.OffsetCommit, kmsg.ConsumerGroupHeartbeat),
	}
}

// rule answers every request of the kinds for which when is true. The broker
// asks once for each topic or group in it; when is run once.
func rule(err *kerr.Error, when func(kmsg.Request) bool, keys ...kmsg.Key) kfake.Fault {
	var (
		last   kmsg.Request
		answer bool
	)
	return kfake.Fault{Keys: keys, Err: err, Count: -1, When: func(r kmsg.Request) bool {
		if r != last {
			last, answer = r, when(r)
		}
		return answer
	}}
}

// transactional: a crash with a transaction open would hide or resurrect
// records, so there are none.
func transactional(log *slog.Logger) func(kmsg.Request) bool {
	var once sync.Once
	return func(r kmsg.Request) bool {
		req, ok := r.(*kmsg.InitProducerIDRequest)
		if !ok || req.TransactionalID == nil {
			return false
		}
		once.Do(func() {
			log.Warn("a Kafka client asked for transactions; the embedded broker refuses them (TRANSACTIONAL_ID_AUTHORIZATION_FAILED), because they would not survive a crash. Idempotent producers work; for transactions use a real Kafka (--brokers)",
				"transactionalId", *req.TransactionalID)
		})
		return true
	}
}

var legalTopic = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

// badTopicName: the broker takes any name, but names directories by it.
func badTopicName(r kmsg.Request) bool {
	req, ok := r.(*kmsg.CreateTopicsRequest)
	if !ok {
		return false
	}
	for i := range req.Topics {
		if t := req.Topics[i].Topic; t == "." || t == ".." || !legalTopic.MatchString(t) {
			return true
		}
	}
	return false
}

func tooManyPartitions(made map[string]int) func(kmsg.Request) bool {
	return func(r kmsg.Request) bool {
		asked := make(map[string]int)
		switch r := r.(type) {
		case *kmsg.CreateTopicsRequest:
			for i := range r.Topics {
				t := &r.Topics[i]
				asked[t.Topic] = max(int(t.NumPartitions), len(t.ReplicaAssignment), 1)
			}
		case *kmsg.CreatePartitionsRequest:
			for i := range r.Topics {
				asked[r.Topics[i].Topic] = int(r.Topics[i].Count)
			}
		}
		return !admitPartitions(made, asked)
	}
}

// admitPartitions takes the partitions asked for into account, all or none. A
// topic that is deleted still counts until the process ends: the limit is
// against a client that never stops.
func admitPartitions(made, asked map[string]int) bool {
	total := 0
	for _, n := range made {
		total += n
	}
	for t, n := range asked {
		if n > topology.MaxPartitions {
			return false
		}
		total += max(0, n-made[t])
	}
	if total > MaxPartitions {
		return false
	}
	for t, n := range asked {
		made[t] = max(made[t], n)
	}
	return true
}

// oddProtocols: the broker counts the members that support a protocol, and
// ends the process when none is supported by all. A list that is empty or has a
// name twice upsets the count.
func oddProtocols(r kmsg.Request) bool {
	req, ok := r.(*kmsg.JoinGroupRequest)
	if !ok {
		return false
	}
	names := make(map[string]bool, len(req.Protocols))
	for i := range req.Protocols {
		names[req.Protocols[i].Name] = true
	}
	return len(names) == 0 || len(names) != len(req.Protocols)
}

// altersMoreThanTopics: the broker's own settings keep the data safe.
func altersMoreThanTopics(r kmsg.Request) bool {
	var kinds []kmsg.ConfigResourceType
	switch r := r.(type) {
	case *kmsg.AlterConfigsRequest:
		for i := range r.Resources {
			kinds = append(kinds, r.Resources[i].ResourceType)
		}
	case *kmsg.IncrementalAlterConfigsRequest:
		for i := range r.Resources {
			kinds = append(kinds, r.Resources[i].ResourceType)
		}
	}
	for _, k := range kinds {
		if k != kmsg.ConfigResourceTypeTopic {
			return true
		}
	}
	return false
}

func tooManyGroups(groups map[string]bool) func(kmsg.Request) bool {
	return func(r kmsg.Request) bool {
		var name string
		switch r := r.(type) {
		case *kmsg.JoinGroupRequest:
			name = r.Group
		case *kmsg.OffsetCommitRequest:
			name = r.Group
		case *kmsg.ConsumerGroupHeartbeatRequest:
			name = r.Group
		}
		if groups[name] {
			return false
		}
		if len(groups) >= MaxGroups {
			return true
		}
		groups[name] = true
		return false
	}
}
