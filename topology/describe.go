package topology

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// DescribeText prints the map as tables.
func (t *Topology) DescribeText(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "topology %s: %d partitions by %s of the record key, dedupe window %s in buckets of %s\n\n",
		t.Hash(), t.Partitions, "murmur2", days(t.Window), days(t.Bucket))
	fmt.Fprintln(tw, "TOPIC\tFORMAT\tKEY\tCLEANUP\tKEPT\tWRITTEN BY\tREAD BY")
	for _, c := range t.Topics() {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.Name, c.Format, c.Key, c.Cleanup, days(c.Retention), c.WrittenBy, c.ReadBy)
	}
	fmt.Fprintln(tw, "\nSTORE\tOWNER\tHOLDS\tREBUILT FROM")
	for _, s := range t.Stores() {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", s.Name, s.Owner, s.Holds, strings.Join(s.Changelog, ", "))
	}
	return tw.Flush()
}

// DescribeJSON prints the map for programs.
func (t *Topology) DescribeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Hash   string          `json:"hash"`
		Frozen json.RawMessage `json:"frozen"`
		Topics []Topic         `json:"topics"`
		Stores []Store         `json:"stores"`
	}{t.Hash(), t.Frozen(), t.Topics(), t.Stores()})
}

// DescribeMermaid prints the map as a Mermaid flow chart.
func (t *Topology) DescribeMermaid(w io.Writer) error {
	_, err := fmt.Fprintf(w, `flowchart LR
  producers([producers]) --> requests[(%s)]
  ingress([ingress]) --> requests
  registry([registry]) -- control records --> requests
  requests --> task[[sync task x%d]]
  task --> oplog[(%s)]
  task --> broadcast[(%s)]
  task --> results[(%s)] --> ingress
  task --> rejects[(%s)]
  task -- checkpoint --> counters[(%s)] -. restore .-> task
  oplog -. restore .-> task
  oplog --> view[[edge views]]
  broadcast --> view
  view --> clients([clients])
  clients -- ack --> acks[(%s)] --> view
  view --> presence[(%s)] --> task
`, t.Requests.Name, t.Partitions, t.Oplog.Name, t.Broadcast.Name, t.Results.Name, t.Rejects.Name, t.Counters.Name, t.Acks.Name, t.Presence.Name)
	return err
}

func days(d time.Duration) string {
	switch {
	case d == 0:
		return "for ever"
	case d%(24*time.Hour) == 0:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	return d.String()
}
