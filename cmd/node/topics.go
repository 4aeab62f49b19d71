package node

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/topology"
)

// ensureTopics creates the topics that are missing on an outside Kafka, and
// refuses those that are there with another number of partitions.
func ensureTopics(ctx context.Context, opts []kgo.Opt, t *topology.Topology) error {
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, topic := range t.Topics() {
		_, err := admin.CreateTopic(ctx, topic.Partitions, -1, topicConfigs(topic), topic.Name)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("create topic %s: %w", topic.Name, err)
		}
	}
	return checkTopics(ctx, admin, t)
}

func topicConfigs(t topology.Topic) map[string]*string {
	retention := int64(-1)
	if t.Retention > 0 {
		retention = t.Retention.Milliseconds()
	}
	configs := map[string]string{
		"cleanup.policy": string(t.Cleanup),
		"retention.ms":   strconv.FormatInt(retention, 10),
	}
	if t.Retention > 0 && t.Retention <= 24*time.Hour {
		configs["segment.ms"] = strconv.FormatInt(t.Retention.Milliseconds()/4, 10) // or little would ever go
	}
	out := make(map[string]*string, len(configs))
	for k, v := range configs {
		out[k] = &v
	}
	return out
}

func checkTopics(ctx context.Context, admin *kadm.Client, t *topology.Topology) error {
	names := make([]string, 0, len(t.Topics()))
	for _, topic := range t.Topics() {
		names = append(names, topic.Name)
	}
	for {
		there, err := admin.ListTopics(ctx, names...)
		if err != nil {
			return fmt.Errorf("list topics: %w", err)
		}
		missing := ""
		for _, topic := range t.Topics() {
			d := there[topic.Name]
			switch {
			case d.Err != nil || len(d.Partitions) == 0:
				missing = topic.Name
			case len(d.Partitions) != int(topic.Partitions):
				return fmt.Errorf("topic %s has %d partitions, this node was told %d: the number is fixed once data exists (--partitions)", topic.Name, len(d.Partitions), topic.Partitions)
			}
		}
		if missing == "" {
			return nil
		}
		select { // just created: the metadata has not come round yet
		case <-ctx.Done():
			return fmt.Errorf("topic %s does not appear: %w", missing, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
