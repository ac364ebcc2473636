// Package server wires the parts together and gives them their life: settings
// become engine, access, hub, transports and listeners, started in the order
// of what they stand on and stopped in the reverse. It is the only package
// that knows all others.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"crier/internal/access"
	"crier/internal/admin"
	"crier/internal/config"
	"crier/internal/dialect/realizehit"
	"crier/internal/engine"
	"crier/internal/httpapi"
	"crier/internal/hub"
	"crier/internal/server/early"
	"crier/internal/transport"
	"crier/internal/transport/pull"
	"crier/internal/transport/sse"
	"crier/internal/transport/websocket"
	"crier/internal/wire"
)

// Server is a Crier that is being run.
type Server struct {
	cfg     config.Serve
	log     *slog.Logger
	version string
	metrics *prometheus.Registry

	engine   engine.Engine
	access   *access.Authority
	hub      *hub.Hub
	wire     *wire.Engine // nil: all connections are served in the portable way
	table    *transport.Table
	sse      *sse.Handler
	sockets  *websocket.Server
	qri      qriParts
	pubsub   pubsubParts
	manage   *admin.Admin
	public   *http.Server
	door     *door
	api      *httpapi.API
	returned *handback
	early    *early.Server // nil: there is none
	operator *http.Server
	state    state

	pushcart   pushcartParts
	realizehit *realizehit.Dialect // nil: it is not served
	redis      *realizehit.Redis   // nil: there is none

	listeners []net.Listener
	admin     net.Listener
	serving   sync.WaitGroup
}

// idleTimeout is how long a connection may be silent between two requests.
const idleTimeout = 2 * time.Minute

// Run serves until ctx ends, then drains and returns nil. Errors are of the
// start, or of a listener that failed.
func Run(ctx context.Context, cfg config.Serve, version string, log *slog.Logger) error {
	s := &Server{cfg: cfg, log: log, version: version}
	s.state.set(admin.Starting)
	if err := s.open(ctx); err != nil {
		return errors.Join(err, s.close())
	}
	failed := make(chan error, len(s.listeners)+3)
	s.serve(failed)
	life, stop := context.WithCancel(ctx)
	defer stop()
	s.serving.Go(func() { thrift(life) })
	s.state.set(admin.Listening)
	s.announce()
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	stop()
	s.drain()
	return errors.Join(err, s.close())
}

// open starts everything but serving.
func (s *Server) open(ctx context.Context) error {
	s.metrics = prometheus.NewRegistry()
	admin.RegisterProcess(s.metrics, s.version)
	token, err := s.openEngine(ctx)
	if err != nil {
		return err
	}
	if err := s.openAccess(ctx, token); err != nil {
		return err
	}
	for _, addr := range s.cfg.Listen {
		if err := s.access.CheckListen(addr); err != nil {
			return err
		}
	}
	s.hub, err = hub.New(ctx, hub.Config{
		Engine: s.engine,
		Defaults: hub.Settings{
			Durability:     engine.Durability(s.cfg.Durability),
			RetentionAge:   time.Duration(s.cfg.RetentionAge),
			RetentionBytes: int64(s.cfg.RetentionBytes),
		},
		Logger: s.log, Metrics: hub.NewMetrics(s.metrics), TailBytes: int64(s.cfg.TailBytes),
	})
	if err != nil {
		return fmt.Errorf("open domains: %w", err)
	}
	if err := s.openRedis(ctx); err != nil {
		return err
	}
	if err := s.openPushcart(ctx); err != nil {
		return err
	}
	if s.wire, err = wire.New(wire.Config{Logger: s.log}); err != nil && !errors.Is(err, wire.ErrUnsupported) {
		return fmt.Errorf("start the loops of sockets: %w", err)
	}
	s.table = transport.NewTable(s.cfg.MaxPerAddress, nil, transport.NewMetrics(s.metrics))
	s.sse = sse.New(sse.Config{Hub: s.hub, Wire: s.wire, Metrics: s.table.Metrics(), Logger: s.log, Heartbeat: s.cfg.Heartbeat})
	s.sockets = websocket.New(websocket.Config{
		Hub: s.hub, Wire: s.wire, Metrics: s.table.Metrics(), Logger: s.log,
		MaxMessage: int(s.cfg.MaxWebSocketMessage), MaxPatterns: s.cfg.MaxPatterns, Heartbeat: s.cfg.Heartbeat, Problem: httpapi.ProblemOf,
	})
	dialects, err := s.openDialects(ctx)
	if err != nil {
		return err
	}
	if err := s.listen(); err != nil {
		return err
	}
	s.door = newDoor(s.cfg.MaxHandshakes, s.cfg.HeadTimeout, s.metrics, s.table.Metrics().Refused, s.log)
	s.public = &http.Server{
		Handler:           inTime(s.publicHandler(dialects), bodyTime),
		ConnState:         s.door.follow,
		ConnContext:       httpapi.ConnContext,
		ReadHeaderTimeout: s.cfg.HeadTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    int(s.cfg.MaxHeader),
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	if s.fastListen() {
		s.early = early.New(early.Config{
			Handler: s.public.Handler, Prefix: httpapi.Prefix, Return: s.returned.put, Logger: s.log, Metrics: s.metrics,
		})
		s.door.take = s.early.Take
	}
	manage, err := s.operatorHandler(token)
	if err != nil {
		return err
	}
	s.operator = &http.Server{
		Handler:           inTime(manage, bodyTime),
		ReadHeaderTimeout: s.cfg.HeadTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    int(s.cfg.MaxHeader),
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	return nil
}

// fastListen reports whether first requests are looked at before net/http is.
func (s *Server) fastListen() bool {
	return s.cfg.FastListen && s.wire != nil && s.cfg.TLSCert == ""
}

func (s *Server) openAccess(ctx context.Context, token access.OperatorToken) error {
	origins, err := access.NewOrigins(s.cfg.Origins)
	if err != nil {
		return err
	}
	proxies, err := access.NewProxies(s.cfg.TrustedProxies)
	if err != nil {
		return err
	}
	s.access, err = access.New(ctx, access.Config{
		Registry: s.engine.Registry(), Open: s.cfg.Open, Operator: token,
		Origins: origins, Proxies: proxies, Log: s.log,
		JWT: access.JWTConfig{
			KeyFile: s.cfg.JWTKey, JWKSURL: s.cfg.JWKSURL,
			Issuer: s.cfg.JWTIssuer, Audience: s.cfg.JWTAudience,
		},
	})
	return err
}

func (s *Server) publicHandler(dialects []dialectHandler) http.Handler {
	rate := access.NewLimiter(s.cfg.PublishRate, int(max(1, s.cfg.PublishRate)), time.Now)
	s.returned = newHandback()
	fast := s.wire
	if !s.cfg.FastPublish || s.cfg.TLSCert != "" {
		fast = nil
	}
	s.api = httpapi.New(httpapi.Config{
		Wire: fast, Return: s.returned.put, Idle: idleTimeout,
		Hub: s.hub, Access: s.access, Table: s.table,
		Rate: rate,
		SSE:  s.sse, WebSocket: s.sockets,
		Pull:    pull.New(pull.Config{Hub: s.hub, Metrics: s.table.Metrics(), Heartbeat: s.cfg.Heartbeat}),
		Limits:  httpapi.Limits{Message: int64(s.cfg.MaxMessage), Patterns: s.cfg.MaxPatterns, Requests: s.cfg.MaxRequests},
		Logger:  s.log,
		Metrics: httpapi.NewMetrics(s.metrics),
		Version: s.version,
	})
	return &paths{api: s.withRealizehit(s.withPushcart(s.api, rate), rate), dialects: dialects}
}

// close ends what open began, in the reverse order.
func (s *Server) close() error {
	var errs []error
	for _, l := range append(s.listeners, s.admin, s.qri.listener) {
		if l != nil {
			_ = l.Close() // the http.Server has closed it already, or never had it
		}
	}
	if s.early != nil {
		at, now := context.WithCancel(context.Background())
		now()
		s.early.Close(at)
	}
	if s.manage != nil {
		s.manage.Close()
	}
	s.qri.close()
	s.pubsub.close()
	if s.realizehit != nil {
		s.realizehit.Close()
	}
	if s.redis != nil {
		s.redis.Close()
	}
	s.pushcart.close()
	if s.wire != nil {
		errs = append(errs, s.wire.Close())
	}
	if s.hub != nil {
		errs = append(errs, s.hub.Close())
	}
	if s.access != nil {
		s.access.Close()
	}
	if s.engine != nil {
		errs = append(errs, s.engine.Close())
	}
	s.serving.Wait()
	return errors.Join(errs...)
}
