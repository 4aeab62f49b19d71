package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemarkio/tidemark/connectors/tenant/mock"
)

func mockTenantCommand() *cobra.Command {
	var listen string
	var cfg mock.Config
	cmd := &cobra.Command{
		Use: "mock-tenant", Short: "Answer session validations and serve a key set, for trying it out", Args: cobra.NoArgs,
		Long: `Plays a tenant's backend: POST / answers session validations as spec 1.3.4 says,
GET /jwks serves the key set that 'tidemark mock-tenant token' signs for. It is
for trying things out: it keeps nothing secret. Set allowPrivate at the instance.`,
		Example: `  tidemark mock-tenant --listen 127.0.0.1:8090 --valid 'user42:sess1'
  tidemark mock-tenant --valid 'user42:sess1' --delay 5s      # slower than anybody waits
  tidemark mock-tenant --status 503                           # broken
  curl -d '{"operationType":"com.antcloud.session.validate","instanceId":"demo_APP1","userId":"user42","sessionId":"sess1"}' http://127.0.0.1:8090/
  tidemark mock-tenant token --user user42`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := mock.New(cfg)
			if err != nil {
				return err
			}
			l, err := net.Listen("tcp", listen)
			if err != nil {
				return fmt.Errorf("listen on %s: %w (choose another address with --listen)", listen, err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "sessions: http://%[1]s/   keys: http://%[1]s/jwks\n", l.Addr())
			s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10}
			context.AfterFunc(cmd.Context(), func() { s.Close() }) //nolint:errcheck // it ends
			if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&listen, "listen", "127.0.0.1:8090", "where to answer")
	fl.StringSliceVar(&cfg.Valid, "valid", nil, "userId:sessionId that is valid; may be given again")
	fl.DurationVar(&cfg.Delay, "delay", 0, "answer so late; 0: at once")
	fl.IntVar(&cfg.Status, "status", 0, "answer with this HTTP status only; 0: as it should be")
	fl.BoolVar(&cfg.Wrapped, "wrapped", false, "answer in the form of the spec's example: response wrapper, strings, resultCode")
	fl.StringVar(&cfg.Body, "body", "", "answer with this text whatever is asked")
	cmd.AddCommand(mockTokenCommand())
	return cmd
}

func mockTokenCommand() *cobra.Command {
	var t mock.Token
	var ttl time.Duration
	cmd := &cobra.Command{
		Use: "token", Short: "Print a token that the mock's key set verifies (ES256)", Args: cobra.NoArgs,
		Example: `  tidemark mock-tenant token --user user42
  tidemark mock-tenant token --user user42 --ttl -1h     # one that has expired
  tidemark mock-tenant token --user user42 --secret "$SECRET"   # HS256 instead`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t.Expires = time.Now().Add(ttl)
			text, err := t.Sign()
			if err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), text)
			}
			return err
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&t.User, "user", "", "the user: claim sub (required)")
	fl.StringVar(&t.Issuer, "issuer", "", "claim iss")
	fl.StringVar(&t.Audience, "audience", "", "claim aud")
	fl.StringVar(&t.Secret, "secret", "", "sign with HS256 and this secret")
	fl.DurationVar(&ttl, "ttl", time.Hour, "until it expires")
	if err := cmd.MarkFlagRequired("user"); err != nil {
		panic(err)
	}
	return cmd
}
