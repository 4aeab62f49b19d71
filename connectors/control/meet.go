package control

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// revisionGap is how far above the tasks' known revision a restored registry
// goes on: they may hold more than their last checkpoint says.
const revisionGap = 1_000_000

// noProgressMax is how long a read may stand still.
const noProgressMax = 30 * time.Second

// RefusedError says that the topics do not go with this registry. No retry
// heals that; it says what to do.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return e.Reason }

// meet makes sure that the requests topic is one that settings are published
// to, and gives the topic's id.
func (p *Publisher) meet(ctx context.Context, client *kgo.Client) (string, error) {
	topic, err := p.topicID(ctx, client)
	if err != nil {
		return "", err
	}
	m, _ := p.cfg.Registry.Now()
	if m.Published().Topic == topic {
		return topic, nil
	}
	held, err := p.heldByTasks(ctx)
	if err != nil {
		return "", err
	}
	if err := p.checkOwner(m, held); err != nil {
		return "", err
	}
	op := registry.MeetTopic{Topic: topic, Orphans: m.Orphans(held.settings)}
	if held.settings.Revision > m.Revision() {
		op.Revision = held.settings.Revision + revisionGap
	}
	p.cfg.Log.Info("control: publishing all settings to a topic that is new to the registry",
		"topic", p.cfg.Topology.Requests.Name, "id", topic, "tasks at revision", held.settings.Revision, "settings to remove", len(op.Orphans))
	if _, err := p.cfg.Registry.Propose(ctx, registry.Command{Actor: "registry", Ops: []registry.Op{op}}); err != nil {
		return "", fmt.Errorf("tell the registry of topic %s: %w", topic, err)
	}
	return topic, nil
}

// topicID names the requests topic for ever, and checks its shape.
func (p *Publisher) topicID(ctx context.Context, client *kgo.Client) (string, error) {
	name := p.cfg.Topology.Requests.Name
	topics, err := kadm.NewClient(client).ListTopics(ctx, name)
	if err != nil {
		return "", fmt.Errorf("look up topic %s: %w", name, err)
	}
	t, ok := topics[name]
	if !ok || t.Err != nil {
		return "", fmt.Errorf("look up topic %s: %w", name, errors.Join(t.Err, errors.New("is it created?")))
	}
	if n := int32(len(t.Partitions)); n != p.cfg.Topology.Partitions {
		return "", &RefusedError{fmt.Sprintf("topic %s has %d partitions, and this cluster is made for %d: the number can never change, as keys would move; start with --partitions %d or another --topic-prefix",
			name, n, p.cfg.Topology.Partitions, n)}
	}
	if t.ID == (kadm.TopicID{}) {
		return name, nil // a broker from before topic ids
	}
	return hex.EncodeToString(t.ID[:]), nil
}

// held is what tasks say of themselves in changelog.counters.
type held struct {
	records  int64
	ours     bool   // a base of this cluster was found
	foreign  string // a base of another cluster was found: the id of its key
	settings *registry.Settings
}

// heldByTasks reads changelog.counters whole: a base of each partition is in it.
func (p *Publisher) heldByTasks(ctx context.Context) (held, error) {
	h := held{settings: &registry.Settings{}}
	name := p.cfg.Topology.Counters.Name
	client, ends, err := p.reader(ctx, name)
	if err != nil || client == nil {
		return h, err
	}
	defer client.Close()
	m, _ := p.cfg.Registry.Now()
	shown := time.Now()
	for len(ends) > 0 {
		poll, cancel := context.WithTimeout(ctx, noProgressMax)
		fetches := client.PollFetches(poll)
		late := poll.Err()
		cancel()
		if ctx.Err() != nil {
			return h, ctx.Err()
		}
		if late != nil && fetches.Empty() {
			return h, fmt.Errorf("read %s: nothing came for %s, and %d partitions are not read to their end", name, noProgressMax, len(ends))
		}
		if err := fetches.Err(); err != nil {
			return h, fmt.Errorf("read %s: %w", name, err)
		}
		var bad error
		fetches.EachRecord(func(r *kgo.Record) {
			h.records++
			if err := h.take(r.Value, m.Cluster().Key.ID()); err != nil && bad == nil {
				bad = fmt.Errorf("read %s, partition %d, offset %d: %w", name, r.Partition, r.Offset, err)
			}
			if r.Offset+1 >= ends[r.Partition] {
				delete(ends, r.Partition)
			}
		})
		if bad != nil {
			return h, bad
		}
		if time.Since(shown) > 10*time.Second {
			shown = time.Now()
			p.cfg.Log.Info("control: reading what tasks hold", "topic", name, "records", h.records, "partitions left", len(ends))
		}
	}
	return h, nil
}

// reader reads a topic from its start; ends are where each partition that has
// records ends. The client is nil if none has.
func (p *Publisher) reader(ctx context.Context, name string) (*kgo.Client, map[int32]int64, error) {
	lister, err := kgo.NewClient(p.cfg.Kafka...)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to Kafka: %w", err)
	}
	defer lister.Close()
	admin := kadm.NewClient(lister)
	starts, err1 := admin.ListStartOffsets(ctx, name)
	listed, err2 := admin.ListEndOffsets(ctx, name)
	if err := errors.Join(err1, err2, starts.Error(), listed.Error()); err != nil {
		return nil, nil, fmt.Errorf("look at %s: %w", name, err)
	}
	ends, from := make(map[int32]int64), make(map[int32]kgo.Offset)
	listed.Each(func(o kadm.ListedOffset) {
		if start, ok := starts.Lookup(name, o.Partition); ok && o.Offset > start.Offset {
			ends[o.Partition], from[o.Partition] = o.Offset, kgo.NewOffset().At(start.Offset)
		}
	})
	if len(ends) == 0 {
		return nil, nil, nil
	}
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.ClientID("tidemark-control"),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{name: from}),
		kgo.FetchMaxWait(500 * time.Millisecond),
		kgo.KeepControlRecords(), // a marker may be the last record
	}, p.cfg.Kafka...)...)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to Kafka: %w", err)
	}
	return client, ends, nil
}

// take looks at one record for a base.
func (h *held) take(value []byte, key string) error {
	var c schemas.Checkpoint
	if len(value) == 0 {
		return nil
	}
	if err := c.Decode(value); err != nil || c.Base == nil {
		return err
	}
	if c.Base.ClusterKey != key {
		h.foreign = c.Base.ClusterKey
		return nil
	}
	h.ours = true
	h.settings = h.settings.With(max(h.settings.Revision, c.Base.Revision), c.Base.Changes)
	return nil
}

// checkOwner refuses topics whose tasks have worked for another registry: their
// control records are signed with a key that is not ours, and ids and dedupe
// keys are in them that a new cluster would go on with.
func (p *Publisher) checkOwner(m *registry.Model, h held) error {
	if h.records == 0 || h.ours && h.foreign == "" {
		return nil
	}
	whose := "tasks have worked with them, and none for this cluster"
	if h.foreign != "" {
		whose = fmt.Sprintf("they belong to a cluster with key %s", h.foreign)
	}
	return &RefusedError{fmt.Sprintf("the topics of %s are not this registry's (cluster %s, key %s): %s; "+
		"give this cluster other topics with --topic-prefix, or restore the registry that belongs to them from its backup (registry restore)",
		p.cfg.Topology.Requests.Name, m.Cluster().ID, m.Cluster().Key.ID(), whose)}
}
