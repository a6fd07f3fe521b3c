package server

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/aver-authz/aver/internal/ledger/disk"
)

// DefaultListen is the address to listen on if none is given: this machine only.
const DefaultListen = "127.0.0.1:8470"

// Config is all that can be set about a server. The zero value of a field means the default beside it.
type Config struct {
	DataDir string // required
	Listen  string // host:port; DefaultListen
	// Origin is what the logs' origins begin with. It counts at the first start only, since it stands in the keys;
	// aver.local/ and 8 random hexadecimal digits.
	Origin string
	// ExternalURL is the URL by which callers reach the server, such as https://pdp.example.com; what each request
	// says.
	ExternalURL string
	// TLSCert and TLSKey are PEM files; both or none.
	TLSCert, TLSKey string
	// Issuers is a file that says whose tokens are accepted; issuers.yaml in the data directory, if it is there.
	Issuers string
	// Webhooks is a file that says who is told of what; webhooks.yaml in the data directory, if it is there.
	Webhooks string
	// Thresholds is a file that says what is taken for a control gap; gaps.yaml in the data directory, if it is there, over
	// what ships with Aver.
	Thresholds string
	// InsecureNoAuth takes everybody for an administrator. It is refused on anything but a loopback address.
	InsecureNoAuth bool
	// NoIndex keeps no search index, so that decisions can't be searched on this server.
	NoIndex bool
	// PublicLogs serves the logs' tiles without a token.
	PublicLogs bool

	MaxBody     int64         // bytes of a request's body; 1 MiB
	MaxBatch    int           // evaluations in one request; 1,000
	Timeout     time.Duration // for one request; 15 s
	StopTimeout time.Duration // for the requests under way when the server is to stop; 30 s

	GapsEvery      time.Duration // between two reports of control gaps in the background; 10 min
	RetentionEvery time.Duration // between sweeps for evidence that is to be erased; a day
	WitnessEvery   time.Duration // between checkpoints that are shown to witnesses; 5 s

	FirstSegment, MaxSegment int64         // bytes of the logs' segments; 1 MiB and 64 MiB
	CheckpointEvery          time.Duration // of both logs; 1 s

	Logger  *slog.Logger // discards
	Version string       // of the program, for aver_build_info

	Now func() time.Time // the clock; time.Now
	FS  disk.FS          // where the logs lie, so that tests can let a disk fail; the operating system's
}

// NewLogger returns a logger that writes to w. level is debug, info, warn or error; format is text or json.
func NewLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level %q: use debug, info, warn or error", level)
	}
	o := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, fmt.Errorf("log format %q: use text or json", format)
}

func (cfg Config) withDefaults() (Config, error) {
	if cfg.Listen == "" {
		cfg.Listen = DefaultListen
	}
	if cfg.GapsEvery == 0 {
		cfg.GapsEvery = gapsEvery
	}
	if cfg.StopTimeout == 0 {
		cfg.StopTimeout = 30 * time.Second
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 15 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	switch {
	case cfg.DataDir == "":
		return cfg, fmt.Errorf("a data directory is needed: --data DIR")
	case (cfg.TLSCert == "") != (cfg.TLSKey == ""):
		return cfg, fmt.Errorf("TLS needs both a certificate and its key")
	}
	cfg.ExternalURL = strings.TrimSuffix(cfg.ExternalURL, "/")
	if cfg.ExternalURL != "" {
		u, err := url.Parse(cfg.ExternalURL)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.Scheme+"://"+u.Host != cfg.ExternalURL {
			return cfg, fmt.Errorf("external URL %q: a scheme and a host, such as https://pdp.example.com", cfg.ExternalURL)
		}
	}
	return cfg, nil
}

// checkLoopback refuses an address that other machines can reach. A name counts by all addresses it has.
func checkLoopback(ctx context.Context, listen string) error {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("listen address %q: use HOST:PORT", listen)
	}
	refused := fmt.Errorf("without authentication the server listens on a loopback address only, which %q is not: use %s, or leave out --insecure-no-auth", listen, DefaultListen)
	if host == "" {
		return refused
	}
	addrs, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return fmt.Errorf("listen address %q: %w", listen, err)
	}
	for _, a := range addrs {
		if !a.IP.IsLoopback() {
			return refused
		}
	}
	return nil
}
