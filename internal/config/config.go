// Package config has the settings of crier serve: one struct whose tags make
// each of them a flag, an environment name and a line of the configuration
// file, in that order of strength. It checks what can be checked without
// opening anything, and knows no other part of the house.
package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Serve is everything that crier serve can be told.
type Serve struct {
	Config string `help:"Configuration file: lines of 'name = value', with the names of these flags." type:"path" placeholder:"FILE" env:"CRIER_CONFIG" group:"Where"`

	Listen      []string `help:"Address of the public API; repeat for more." default:"127.0.0.1:8080" placeholder:"ADDR" env:"CRIER_LISTEN" group:"Where"`
	AdminListen string   `help:"Address of the operator's listener: management, metrics, health." default:"127.0.0.1:8081" placeholder:"ADDR" env:"CRIER_ADMIN_LISTEN" group:"Where"`
	DataDir     string   `help:"Directory for messages, keys and settings." default:"./crier-data" type:"path" env:"CRIER_DATA_DIR" group:"Where"`
	Engine      string   `help:"What holds messages and registry: 'embedded' in the data directory, 'memory' (all is gone with the process; give it --admin-token), or the address of a MongoDB, mongodb://…, which several servers may share." default:"embedded" placeholder:"NAME|URL" env:"CRIER_ENGINE" group:"Where"`
	MongoDB     string   `name:"mongodb" help:"A MongoDB (5 or later) or FerretDB that holds messages and registry: the same as --engine with that address. The database is 'crier' unless the address names one." placeholder:"mongodb://…" env:"CRIER_MONGODB" group:"Where"`

	MongoDBDurability string `name:"mongodb-durability" help:"What you vouch that the MongoDB keeps of what it acknowledged: fsync (power loss), async (a crash) or memory (nothing). Unless given: fsync of a MongoDB; memory of a FerretDB, which does not say what it keeps." placeholder:"WHAT" env:"CRIER_MONGODB_DURABILITY" group:"Where"`
	TLSCert           string `name:"tls-cert" help:"Certificate chain (PEM) for the public API; with it, HTTP/2." type:"path" placeholder:"FILE" env:"CRIER_TLS_CERT" group:"Where"`
	TLSKey            string `name:"tls-key" help:"Private key (PEM) of --tls-cert." type:"path" placeholder:"FILE" env:"CRIER_TLS_KEY" group:"Where"`

	Open           bool     `help:"Let everybody on this machine publish and subscribe, also after keys were made." env:"CRIER_OPEN" group:"Who"`
	Origins        []string `help:"Origins of web pages that may use the API, exactly as browsers send them." placeholder:"https://app.example.com" env:"CRIER_ORIGINS" group:"Who"`
	TrustedProxies []string `help:"Networks whose X-Forwarded-For is believed." placeholder:"CIDR" env:"CRIER_TRUSTED_PROXIES" group:"Who"`
	AdminToken     string   `help:"The operator's token; else it is made at the first start and kept in DATA-DIR/admin-token." placeholder:"TOKEN" env:"CRIER_ADMIN_TOKEN" group:"Who"`
	JWTKey         string   `name:"jwt-key" help:"File with the key that JWTs are verified with: public key (PEM or JWK), or a secret for HS256." type:"path" placeholder:"FILE" env:"CRIER_JWT_KEY" group:"Who"`
	JWKSURL        string   `name:"jwks-url" help:"Address of the JWKS that JWTs are verified with." placeholder:"URL" env:"CRIER_JWKS_URL" group:"Who"`
	JWTIssuer      string   `name:"jwt-issuer" help:"Take only JWTs of this issuer." placeholder:"ISS" env:"CRIER_JWT_ISSUER" group:"Who"`
	JWTAudience    string   `name:"jwt-audience" help:"Take only JWTs for this audience." placeholder:"AUD" env:"CRIER_JWT_AUDIENCE" group:"Who"`

	Redis            string `help:"The Redis that dialects publish to and listen on." placeholder:"redis://HOST:PORT" env:"CRIER_REDIS" group:"Dialects"`
	RealizehitPrefix string `help:"Path at which realizehit's publishers post." default:"/" env:"CRIER_REALIZEHIT_PREFIX" group:"Dialects"`
	AuthToken        string `help:"Token that registers clients of Pushcart (POST /clients); unless given, nobody can register there." placeholder:"TOKEN" env:"CRIER_AUTH_TOKEN" group:"Dialects"`

	Durability     string   `help:"What an acknowledged publish survives, for domains that don't say: fsync (power loss), async (a crash of the process), memory (nothing)." default:"fsync" enum:"fsync,async,memory" env:"CRIER_DURABILITY" group:"Messages"`
	RetentionAge   Duration `help:"How long messages are kept, for domains that don't say." default:"7d" env:"CRIER_RETENTION_AGE" group:"Messages"`
	RetentionBytes Size     `help:"How many bytes of data and topics are kept, for domains that don't say." default:"1GiB" env:"CRIER_RETENTION_BYTES" group:"Messages"`
	TailBytes      Size     `help:"Memory for the newest messages, of all domains together." default:"64MiB" env:"CRIER_TAIL_BYTES" group:"Messages"`

	MaxMessage          Size          `help:"Longest message." default:"1MiB" env:"CRIER_MAX_MESSAGE" group:"Limits"`
	MaxWebSocketMessage Size          `name:"max-websocket-message" help:"Longest message that a WebSocket may send." default:"1MiB" env:"CRIER_MAX_WEBSOCKET_MESSAGE" group:"Limits"`
	MaxPatterns         int           `help:"Most patterns of one connection." default:"64" env:"CRIER_MAX_PATTERNS" group:"Limits"`
	MaxPerAddress       int           `name:"max-connections-per-address" help:"Most connections of one client address; 0: no limit." default:"0" env:"CRIER_MAX_CONNECTIONS_PER_ADDRESS" group:"Limits"`
	PublishRate         float64       `help:"Most publishes a second of one key; 0: no limit." default:"0" env:"CRIER_PUBLISH_RATE" group:"Limits"`
	MaxHeader           Size          `help:"Longest head of a request." default:"16KiB" env:"CRIER_MAX_HEADER" group:"Limits"`
	HeadTimeout         time.Duration `help:"Time in which the head of a request has to come." default:"10s" env:"CRIER_HEAD_TIMEOUT" group:"Limits"`
	MaxHandshakes       int           `help:"Most connections of which the first request has not come wholly; others wait a second, then the oldest is closed." default:"1024" env:"CRIER_MAX_HANDSHAKES" group:"Limits"`
	FastListen          bool          `help:"Serve event streams and WebSockets whose request is there when they are let in without net/http: many that come back at once (Linux, without TLS)." default:"true" negatable:"" env:"CRIER_FAST_LISTEN" group:"Limits"`
	FastPublish         bool          `help:"Serve publishers that keep their connection by the loops of sockets, not by net/http (Linux, without TLS)." default:"true" negatable:"" env:"CRIER_FAST_PUBLISH" group:"Limits"`
	MaxRequests         int           `help:"Most requests that are being answered, listeners apart; others are refused." default:"10000" env:"CRIER_MAX_REQUESTS" group:"Limits"`

	Dialects          []string      `help:"Dialects that are served; none: only Crier's own API." default:"qri,pushcart,realizehit,wspubsub" placeholder:"NAME,…" env:"CRIER_DIALECTS" group:"Dialects"`
	OpenDialects      []string      `help:"Dialects that ask for no credential where they have none of their own: qri (/backdoor), realizehit." placeholder:"NAME" env:"CRIER_OPEN_DIALECTS" group:"Dialects"`
	QRIListen         string        `name:"qri-listen" help:"Address at which QRI's backends publish over TCP; empty: nowhere." default:"127.0.0.1:5679" placeholder:"ADDR" env:"CRIER_QRI_LISTEN" group:"Dialects"`
	QRITLSCert        string        `name:"qri-tls-cert" help:"Certificate chain (PEM) for --qri-listen." type:"path" placeholder:"FILE" env:"CRIER_QRI_TLS_CERT" group:"Dialects"`
	QRITLSKey         string        `name:"qri-tls-key" help:"Private key (PEM) of --qri-tls-cert." type:"path" placeholder:"FILE" env:"CRIER_QRI_TLS_KEY" group:"Dialects"`
	QRIClientCA       string        `name:"qri-client-ca" help:"Certificates (PEM) of who signs the certificates that QRI's backends must show." type:"path" placeholder:"FILE" env:"CRIER_QRI_CLIENT_CA" group:"Dialects"`
	QRIPlaintext      bool          `name:"qri-plaintext" help:"Let --qri-listen be an address that others reach without TLS and client certificates: whoever reaches it publishes." env:"CRIER_QRI_PLAINTEXT" group:"Dialects"`
	QRIMaxConnections int           `name:"qri-max-connections" help:"Most connections to --qri-listen." default:"1024" env:"CRIER_QRI_MAX_CONNECTIONS" group:"Dialects"`
	QRIFrameTimeout   time.Duration `name:"qri-frame-timeout" help:"Time in which a frame at --qri-listen has to come, once begun." default:"30s" env:"CRIER_QRI_FRAME_TIMEOUT" group:"Dialects"`
	APIKeys           string        `name:"apikeys" help:"PostgreSQL database with wspubsub's table apikeys; unless given, its keys are made with crier key create --wspubsub." placeholder:"postgres://…" env:"CRIER_APIKEYS" group:"Dialects"`
	APIKeysKeep       time.Duration `name:"apikeys-keep" help:"How long a key that was good goes on working while --apikeys is away." default:"15m" env:"CRIER_APIKEYS_KEEP" group:"Dialects"`
	WSPubSubGrace     time.Duration `name:"wspubsub-grace" help:"How long a topic of wspubsub lives on when its publisher is gone." default:"10s" env:"CRIER_WSPUBSUB_GRACE" group:"Dialects"`

	Heartbeat time.Duration `help:"How often an idle stream gets a heartbeat." default:"15s" env:"CRIER_HEARTBEAT" group:"Life"`
	Drain     time.Duration `help:"Time over which connections are ended at a stop." default:"5s" env:"CRIER_DRAIN" group:"Life"`
	LogLevel  string        `help:"debug, info, warn or error." default:"info" enum:"debug,info,warn,error" env:"CRIER_LOG_LEVEL" group:"Life"`
	LogFormat string        `help:"text or json." default:"text" enum:"text,json" env:"CRIER_LOG_FORMAT" group:"Life"`
}

// Validate names the setting, the limit and the mend of what is wrong.
func (s *Serve) Validate() error {
	if len(s.Listen) == 0 {
		return errors.New("--listen is empty: name an address such as 127.0.0.1:8080")
	}
	for _, list := range [][]string{s.Listen, s.Origins, s.TrustedProxies} {
		for i := range list { // "a, b" is two as well
			list[i] = strings.TrimSpace(list[i])
		}
	}
	for _, addr := range s.Listen {
		if err := checkAddress("--listen", addr); err != nil {
			return err
		}
	}
	if err := checkAddress("--admin-listen", s.AdminListen); err != nil {
		return err
	}
	if (s.TLSCert == "") != (s.TLSKey == "") {
		return errors.New("--tls-cert and --tls-key go together")
	}
	if err := s.validateEngine(); err != nil {
		return err
	}
	if s.JWTKey != "" && s.JWKSURL != "" {
		return errors.New("--jwt-key and --jwks-url are two ways to say one thing: give one")
	}
	for _, o := range s.Origins {
		u, err := url.Parse(o)
		if err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || u.RawQuery != "" {
			return fmt.Errorf("--origins: %q is no origin such as https://app.example.com (no path, no slash at the end)", o)
		}
	}
	for _, p := range s.TrustedProxies {
		if _, err := netip.ParsePrefix(p); err != nil {
			if _, err := netip.ParseAddr(p); err != nil {
				return fmt.Errorf("--trusted-proxies: %q is neither an address nor a network such as 10.0.0.0/8", p)
			}
		}
	}
	if err := s.validateDialects(); err != nil {
		return err
	}
	return s.validateLimits()
}

// What an engine takes at once, less some room for all that is not data. Of
// what a WebSocket sends, twice its longest message may come together.
const (
	LongestMessage        Size = 31 << 20
	longestMongoDB        Size = 14 << 20
	longestWebSocket      Size = 64 << 20
	longestMongoWebSocket Size = longestMongoDB / 2
)

func (s *Serve) validateLimits() error {
	longest, longestFrame := LongestMessage, longestWebSocket
	if s.MongoDBURL() != "" {
		longest, longestFrame = longestMongoDB, longestMongoWebSocket
	}
	switch {
	case s.RetentionAge < Duration(time.Second):
		return fmt.Errorf("--retention-age %v is below the least, 1s", s.RetentionAge)
	case s.RetentionBytes < 1024:
		return fmt.Errorf("--retention-bytes %d is below the least, 1KiB", s.RetentionBytes)
	case s.TailBytes < 1<<20:
		return fmt.Errorf("--tail-bytes %d is below the least, 1MiB", s.TailBytes)
	case s.MaxMessage < 1 || s.MaxMessage > longest:
		return fmt.Errorf("--max-message %d is outside 1 to %v, which is what the engine takes", s.MaxMessage, longest)
	case s.MaxWebSocketMessage < 1 || s.MaxWebSocketMessage > longestFrame:
		return fmt.Errorf("--max-websocket-message %d is outside 1 to %v", s.MaxWebSocketMessage, longestFrame)
	case s.MaxPatterns < 1 || s.MaxPatterns > 1024:
		return fmt.Errorf("--max-patterns %d is outside 1 to 1024", s.MaxPatterns)
	case s.MaxPerAddress < 0:
		return fmt.Errorf("--max-connections-per-address %d is below 0, which means no limit", s.MaxPerAddress)
	case !(s.PublishRate >= 0 && s.PublishRate <= 1e9): // neither holds for NaN
		return fmt.Errorf("--publish-rate %v is outside 0, which means no limit, to 1e9", s.PublishRate)
	case s.MaxHeader < 1<<10 || s.MaxHeader > 1<<20:
		return fmt.Errorf("--max-header %d is outside 1KiB to 1MiB", s.MaxHeader)
	case s.HeadTimeout < 100*time.Millisecond:
		return fmt.Errorf("--head-timeout %v is below the least, 100ms", s.HeadTimeout)
	case s.MaxHandshakes < 1:
		return fmt.Errorf("--max-handshakes %d is below the least, 1", s.MaxHandshakes)
	case s.MaxRequests < 1:
		return fmt.Errorf("--max-requests %d is below the least, 1", s.MaxRequests)
	case s.Heartbeat < 100*time.Millisecond:
		return fmt.Errorf("--heartbeat %v is below the least, 100ms", s.Heartbeat)
	case s.Drain < 0:
		return fmt.Errorf("--drain %v is below 0", s.Drain)
	}
	return nil
}

// checkAddress refuses what cannot be listened on wherever it is tried. A port
// may also be the name of a service.
func checkAddress(setting, addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return fmt.Errorf("%s: %q is not HOST:PORT such as 127.0.0.1:8080: %w", setting, addr, err)
	}
	return nil
}

// Loopback reports whether an address to listen on can only be reached from
// this machine.
func Loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
