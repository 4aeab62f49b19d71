package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/tidemarkio/tidemark/connectors/client"
)

func listenCommand() *cobra.Command {
	cfg := client.Config{Ack: true}
	var biz string
	var asJSON bool
	var keyFromEnv = os.Getenv("TIDEMARK_CLIENT_KEY")
	cmd := &cobra.Command{
		Use: "listen", Short: "Receive pushes in the terminal", Args: cobra.NoArgs,
		Example: `  tidemark listen --instance demo_APP1 --key ck-demo --device phone1 --user user42 --biz UCHAT
  tidemark listen --instance demo_APP1 --key ck-demo --device phone1 --biz UCHAT,NOTICE --json | jq .`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Biz = strings.Split(biz, ",")
			if cfg.ClientKey == "" {
				cfg.ClientKey = keyFromEnv
			}
			c, err := client.New(cfg)
			if err != nil {
				return err
			}
			print := printText
			if asJSON {
				print = printJSON
			}
			out := cmd.OutOrStdout()
			return c.Run(cmd.Context(), func(_ context.Context, e client.Event) error { return print(out, e) })
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&cfg.URL, "url", "http://127.0.0.1:8080", "the public HTTP door")
	fl.StringVar(&cfg.InstanceID, "instance", "", "instance id (required)")
	fl.StringVar(&cfg.ClientKey, "key", "", "client key of the instance; default $TIDEMARK_CLIENT_KEY")
	fl.StringVar(&cfg.DeviceID, "device", "terminal", "device id")
	fl.StringVar(&cfg.UserID, "user", "", "user that is logged in on the device")
	fl.StringVar(&cfg.SessionID, "session", "", "the login's session token")
	fl.StringVar(&biz, "biz", "", "businesses to receive, comma-separated (required)")
	fl.StringVar(&cfg.OS, "os", "", "iOS or Android")
	fl.StringVar(&cfg.AppVersion, "app-version", "", "version of the app, such as 8.6.0.9999")
	fl.BoolVar(&cfg.Ack, "ack", true, "acknowledge what is printed, so that it does not come again")
	fl.BoolVar(&asJSON, "json", false, "print one JSON object a line")
	for _, name := range []string{"instance", "biz"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err)
		}
	}
	return cmd
}

func printText(w io.Writer, e client.Event) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, op := range e.Ops {
		fmt.Fprintf(tw, "%s\t%s\t#%d\t%s\t%s\n", time.Now().Format("15:04:05.000"), e.BizType, op.ID, op.ThirdMsgID, readable(op))
	}
	return tw.Flush()
}

// readable shows a payload on one line, without letting it steer the terminal.
func readable(op client.Op) string {
	if op.Binary || !utf8.Valid(op.Payload) {
		return fmt.Sprintf("%d bytes %x", len(op.Payload), op.Payload[:min(32, len(op.Payload))])
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '·'
		}
		return r
	}, string(op.Payload))
}

func printJSON(w io.Writer, e client.Event) error {
	enc := json.NewEncoder(w)
	for _, op := range e.Ops {
		line := map[string]any{"bizType": e.BizType, "id": op.ID, "thirdMsgId": op.ThirdMsgID, "payload": string(op.Payload)}
		if op.Binary {
			line["payload"], line["binary"] = op.Payload, true
		}
		if err := enc.Encode(line); err != nil {
			return err
		}
	}
	return nil
}
