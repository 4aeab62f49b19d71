//go:build quorum

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/anishathalye/porcupine"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// agree waits until all members hold the same, each by its own word, and gives
// the audit, oldest first: of an instance, or all.
func (q *registries) agree(ctx context.Context, t *testing.T, instance string) (records []*registry.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, agreeMax)
	defer cancel()
	held := make([][]byte, len(q.nodes))
	until(ctx, t, "all members hold the same", func() bool {
		for i := range q.nodes {
			all, err := q.auditOf(ctx, i, instance)
			if err == nil {
				held[i], err = json.Marshal(all)
			}
			if err != nil {
				t.Logf("%s: %v", registryID(i), err)
				return false
			}
			records = all
		}
		return bytes.Equal(held[0], held[1]) && bytes.Equal(held[1], held[2])
	})
	return records
}

// auditOf is what one member's own model holds of the audit, oldest first.
func (q *registries) auditOf(ctx context.Context, i int, instance string) (records []*registry.Record, err error) {
	for before := int64(0); ; {
		var page struct {
			Records []*registry.Record
			Next    int64
		}
		if err := q.call(ctx, q.nodes[i], http.MethodGet, fmt.Sprintf("/audit?instanceId=%s&before=%d", instance, before), nil, &page); err != nil {
			return nil, err
		}
		records = append(records, page.Records...)
		if before = page.Next; before == 0 {
			slices.Reverse(records)
			return records, nil
		}
	}
}

// trail is what the audit tells of an instance's configs.
type trail struct {
	at      map[int64]*registry.Record // by revision; without those that a call was answered with
	wrote   map[string][]int64         // the revisions at which a text was written
	deleted map[string][]int64         // the revisions at which a config was deleted
	is      map[string]string          // what all comes to, by bizType
}

var deedActions = map[deed]registry.Action{deedCreate: registry.ConfigCreate, deedPut: registry.ConfigModify, deedDelete: registry.ConfigDelete}

func follow(t *testing.T, records []*registry.Record) *trail {
	t.Helper()
	tr := &trail{map[int64]*registry.Record{}, map[string][]int64{}, map[string][]int64{}, map[string]string{}}
	last := int64(0)
	for _, record := range records {
		if record.Object.Kind != registry.KindConfig {
			continue
		}
		if record.Revision <= last {
			t.Errorf("revision %d follows %d", record.Revision, last)
		}
		last = record.Revision
		tr.at[last] = record
		biz := record.Object.Name
		if record.Action == registry.ConfigDelete {
			tr.deleted[biz] = append(tr.deleted[biz], last)
			delete(tr.is, biz)
			continue
		}
		text := description(t, record.After)
		tr.is[biz] = text
		tr.wrote[text] = append(tr.wrote[text], last)
	}
	return tr
}

// answered checks that a change which was answered is there, once.
func (tr *trail) answered(t *testing.T, in operation, revision int64) {
	t.Helper()
	record := tr.at[revision]
	delete(tr.at, revision)
	switch {
	case record == nil:
		t.Errorf("%s of %s was answered with revision %d, and the audit has none of it, or another answer claims it", in.do, in.biz, revision)
	case record.Action != deedActions[in.do] || record.Object.Name != in.biz || in.text != "" && description(t, record.After) != in.text:
		t.Errorf("%s of %s was answered with revision %d, which is a %s of %s", in.do, in.biz, revision, record.Action, record.Object.Name)
	case in.do == deedDelete:
		tr.deleted[in.biz] = slices.DeleteFunc(tr.deleted[in.biz], func(other int64) bool { return other == revision })
	case len(tr.wrote[in.text]) != 1:
		t.Errorf("%s of %s was applied at the revisions %d", in.do, in.biz, tr.wrote[in.text])
	}
}

// unanswered gives the revision at which a change was made that was not
// answered; 0: it was not made. All deletions of a config look alike.
func (tr *trail) unanswered(t *testing.T, in operation) (revision int64) {
	t.Helper()
	made := tr.wrote[in.text]
	if in.do == deedDelete {
		made = tr.deleted[in.biz]
		tr.deleted[in.biz] = made[min(1, len(made)):]
	} else if len(made) > 1 {
		t.Errorf("%s of %s, which was not answered, was applied at the revisions %d", in.do, in.biz, made)
	}
	if len(made) == 0 {
		return 0
	}
	if tr.at[made[0]] == nil {
		t.Errorf("%s of %s, which was not answered, was made at revision %d, which is another's", in.do, in.biz, made[0])
	}
	delete(tr.at, made[0])
	return made[0]
}

// settle checks each change against the audit, which all members have, and
// gives the history as it then is: without the changes that were not answered
// and not made, and with the revision of those that were.
func (r *linearRun) settle(t *testing.T, tr *trail) (history []porcupine.Operation) {
	t.Helper()
	var open []porcupine.Operation
	for _, op := range r.history {
		in, out := op.Input.(operation), op.Output.(outcome)
		if out.unknown {
			open = append(open, op)
			continue
		}
		if in.do != deedRead && out.problem == "" {
			tr.answered(t, in, out.revision)
		}
		history = append(history, op)
	}
	begun := map[string]int64{} // the first deletion that was not answered, by bizType
	for _, op := range open {
		in := op.Input.(operation)
		if first, ok := begun[in.biz]; in.do == deedDelete && (!ok || op.Call < first) {
			begun[in.biz] = op.Call
		}
	}
	for _, op := range open {
		in := op.Input.(operation)
		revision := tr.unanswered(t, in)
		if revision == 0 {
			continue
		}
		if in.do == deedDelete {
			op.Call, in.expect = begun[in.biz], 0 // it may be any of them
		}
		op.Input, op.Output = in, outcome{revision: revision}
		history = append(history, op)
	}
	for revision, record := range tr.at {
		t.Errorf("at revision %d is a %s of %s that was refused or never asked for: %s", revision, record.Action, record.Object.Name, record.After)
	}
	return history
}

// holds checks that each member has the configs that the audit tells of.
func (r *linearRun) holds(t *testing.T, want map[string]string) {
	t.Helper()
	for i, n := range r.q.nodes {
		var list struct{ Sync []registry.Sync }
		must(t, r.q.call(t.Context(), n, http.MethodGet, "/instances/"+r.instance+"/sync", nil, &list))
		have := map[string]string{}
		for _, s := range list.Sync {
			have[s.BizType] = s.Description
		}
		if fmt.Sprint(have) != fmt.Sprint(want) {
			t.Errorf("%s holds %v, and the audit makes %v", registryID(i), have, want)
		}
	}
}

func description(t *testing.T, config json.RawMessage) string {
	t.Helper()
	var s registry.Sync
	must(t, json.Unmarshal(config, &s))
	return s.Description
}
