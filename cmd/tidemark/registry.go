package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemarkio/tidemark/cmd/node"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// registryFlags are a node's place in the registry's quorum.
type registryFlags struct {
	cfg         node.RegistryConfig
	peers, join string
}

func (f *registryFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.cfg.ID, "registry-id", "", "this node's name in the registry's quorum, for ever; default registry-1")
	fl.StringVar(&f.cfg.Listen, "registry-listen", "", "address for the registry's other members; default a free loopback port")
	fl.StringVar(&f.cfg.Advertise, "registry-advertise", "", "what other members reach it at; default the same")
	fl.StringVar(&f.peers, "registry-peers", "", "the quorum's first members, this one among them, told alike to each: id=host:port,...")
	fl.StringVar(&f.join, "registry-join", "", "members to ask for admission instead: host:port,...")
	fl.StringVar(&f.cfg.CertFile, "registry-tls-cert", "", "certificate for members, PEM; needed off loopback, with the next two")
	fl.StringVar(&f.cfg.KeyFile, "registry-tls-key", "", "its key, PEM")
	fl.StringVar(&f.cfg.CAFile, "registry-tls-ca", "", "certificate of the authority that signs all members', PEM")
}

func (f *registryFlags) config() (c node.RegistryConfig, err error) {
	c = f.cfg
	c.Join = node.Brokers(f.join)
	c.Peers, err = node.ParsePeers(f.peers)
	return c, err
}

func registryCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "registry", Short: "The registry's quorum: members, leader, backup"}
	cmd.AddCommand(registryRunCommand(), registryStatusCommand(), registryJoinCommand(), registryRemoveCommand(), registryTransferCommand(), registryWatchCommand(), registryBackupCommand(), registryRestoreCommand())
	return cmd
}

func registryStatusCommand() *cobra.Command {
	var f adminFlags
	cmd := &cobra.Command{
		Use: "status", Short: "Who is in the quorum, who leads, and how far each is", Args: cobra.NoArgs,
		Example: `  tidemark registry status
  tidemark registry status --admin http://127.0.0.1:8181`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.quorum(cmd, http.MethodGet, "/status", "", nil)
		},
	}
	f.add(cmd)
	return cmd
}

// quorum makes a call that answers how the quorum is, and prints that.
func (f *adminFlags) quorum(cmd *cobra.Command, method, path, contentType string, body io.Reader) error {
	b, err := f.call(cmd.Context(), method, "/api/v1/registry"+path, contentType, body)
	if err != nil {
		return err
	}
	var s registry.Status
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return printQuorum(cmd.OutOrStdout(), &s, time.Now())
}

func printQuorum(w io.Writer, s *registry.Status, now time.Time) error {
	lag := "in force on every partition"
	if s.Publication.Pending > 0 {
		lag = fmt.Sprintf("publication lag %s (%d control records wait)", max(0, now.Sub(time.UnixMilli(s.Publication.OldestSince))).Round(time.Millisecond), s.Publication.Pending)
	}
	fmt.Fprintf(w, "%s is %s at term %d; revision %d, %s\n\n", s.ID, s.State, s.Term, s.Revision, lag)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "ID\tADDRESS\tROLE\tREACHABLE\tAPPLIED\tLAST CONTACT\tADMIN\t")
	for _, p := range s.Peers {
		role := "voter"
		switch {
		case p.Leader:
			role = "leader"
		case !p.Voter:
			role = "learner"
		}
		contact := "-"
		if p.LastContactAgo > 0 {
			contact = (time.Duration(p.LastContactAgo) * time.Millisecond).String() + " ago"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%t\t%d\t%s\t%s\t\n", p.ID, p.Address, role, p.Reachable, p.Applied, contact, p.Admin)
	}
	return tw.Flush()
}

func (f *adminFlags) quorumJSON(cmd *cobra.Command, path string, in any) error {
	b, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return f.quorum(cmd, http.MethodPost, path, "application/json", bytes.NewReader(b))
}

func registryJoinCommand() *cobra.Command {
	var f adminFlags
	cmd := &cobra.Command{
		Use: "join ID HOST:PORT", Short: "Take a running node into the quorum", Args: cobra.ExactArgs(2),
		Long: `Takes a node into the quorum. It must run already, with --registry-join or no data.
It has a vote once it has caught up, which this waits for.`,
		Example: `  tidemark registry join registry-4 10.0.0.4:7000`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.quorumJSON(cmd, "/members", map[string]string{"id": args[0], "address": args[1]})
		},
	}
	f.add(cmd)
	return cmd
}

func registryRemoveCommand() *cobra.Command {
	var f adminFlags
	cmd := &cobra.Command{
		Use: "remove ID", Short: "Take a node out of the quorum", Args: cobra.ExactArgs(1),
		Example: `  tidemark registry remove registry-2`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.quorum(cmd, http.MethodDelete, "/members/"+url.PathEscape(args[0]), "", nil)
		},
	}
	f.add(cmd)
	return cmd
}

func registryTransferCommand() *cobra.Command {
	var f adminFlags
	cmd := &cobra.Command{
		Use: "transfer [ID]", Short: "Give leadership to another member", Args: cobra.MaximumNArgs(1),
		Example: `  tidemark registry transfer              # to whom Raft likes
  tidemark registry transfer registry-3`,
		RunE: func(cmd *cobra.Command, args []string) error {
			id := ""
			if len(args) > 0 {
				id = args[0]
			}
			return f.quorumJSON(cmd, "/transfer", map[string]string{"id": id})
		},
	}
	f.add(cmd)
	return cmd
}
