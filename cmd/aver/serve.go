package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/aver-authz/aver/internal/server"
)

func (c *cli) serve() *cobra.Command {
	var cfg server.Config
	var level, format string
	cmd := &cobra.Command{
		Use:   "serve --data DIR",
		Short: "Run the service on a data directory",
		Long: `Runs the service: AuthZEN under /access/v1/, Aver's own API under /v1/ (GET /v1/openapi.yaml describes it),
and both logs as static tiles under /log/. It needs nothing but its data directory, which it makes at the
first start, with the keys of both logs and an administrator's token in DIR/admin.token.

SIGINT and SIGTERM stop it: requests under way are finished, and nothing that was answered is lost.`,
		Example: `  aver serve --data ./data
  aver serve --data /var/lib/aver --listen 0.0.0.0:8470 --tls-cert cert.pem --tls-key key.pem \
      --origin pdp.example.com
  export AVER_SERVER=http://127.0.0.1:8470 AVER_TOKEN="$(cat ./data/admin.token)"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger, err := server.NewLogger(c.err, level, format)
			if err != nil {
				return err
			}
			cfg.Logger, cfg.Version = logger, programVersion()
			if cfg.DataDir == "" {
				return errNoData
			}
			collectSeldom()
			s, err := server.Open(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			defer s.Close()
			l, err := s.Listen()
			if err != nil {
				return err
			}
			scheme := "http"
			if cfg.TLSCert != "" {
				scheme = "https"
			}
			if err := c.printServing(fmt.Sprintf("%s://%s", scheme, l.Addr()), s); err != nil {
				return err
			}
			return s.Serve(cmd.Context(), l)
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.DataDir, "data", "", "the data directory `DIR`; made at the first start")
	f.StringVar(&cfg.Listen, "listen", server.DefaultListen, "`HOST:PORT` to listen on; port 0 takes a free one")
	f.StringVar(&cfg.Origin, "origin", "", "`NAME` that the logs' origins begin with, such as pdp.example.com; fixed at the first start")
	f.StringVar(&cfg.ExternalURL, "external-url", "", "`URL` by which callers reach the server, if it is another")
	f.StringVar(&cfg.TLSCert, "tls-cert", "", "PEM `FILE` with the certificate chain")
	f.StringVar(&cfg.TLSKey, "tls-key", "", "PEM `FILE` with the certificate's key")
	f.StringVar(&cfg.Issuers, "issuers", "", "`FILE` with the issuers whose tokens are accepted (default: DIR/issuers.yaml, if it is there)")
	f.StringVar(&cfg.Webhooks, "webhooks", "", "`FILE` with the receivers of webhooks (default: DIR/webhooks.yaml, if it is there)")
	f.StringVar(&cfg.Thresholds, "thresholds", "", "`FILE` with thresholds for control gaps (default: DIR/gaps.yaml, if it is there)")
	f.BoolVar(&cfg.InsecureNoAuth, "insecure-no-auth", false, "take everybody for an administrator; on a loopback address only")
	f.BoolVar(&cfg.NoIndex, "no-index", false, "keep no search index; decisions can't be searched on this server")
	f.BoolVar(&cfg.PublicLogs, "public-logs", false, "serve the logs' tiles without a token; they hold no personal data")
	f.StringVar(&level, "log-level", "info", "`LEVEL`: debug, info, warn or error")
	f.StringVar(&format, "log-format", "text", "`FORMAT`: text or json")
	return cmd
}

func (c *cli) printServing(url string, s *server.Server) error {
	token := s.Dir().AdminToken()
	if c.json {
		return c.printJSON(struct {
			URL       string `json:"url"`
			Data      string `json:"data"`
			TokenFile string `json:"admin_token_file"`
		}{url, s.Dir().Path(), token})
	}
	c.printf("Aver listens on %s\nadministrator's token: %s\n", url, token)
	return nil
}
