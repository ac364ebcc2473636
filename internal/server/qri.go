package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"

	"crier/internal/config"
	"crier/internal/dialect/qri"
	"crier/internal/dialect/qri/notice"
	"crier/internal/hub"
)

// qriParts are what of QRI has a life of its own.
type qriParts struct {
	notices  *notice.Board
	ingest   *qri.Ingest
	listener net.Listener
}

func (s *Server) qriIngest(main *hub.Domain) (*qri.Ingest, error) {
	secure, err := qriTLS(s.cfg)
	if err != nil {
		return nil, err
	}
	return qri.NewIngest(qri.IngestConfig{
		Domain: main, Table: s.table, TLS: secure,
		MaxMessage: int(s.cfg.MaxMessage), MaxConns: s.cfg.QRIMaxConnections, FrameTimeout: s.cfg.QRIFrameTimeout,
		Metrics: qri.NewIngestMetrics(s.metrics), Logger: s.log,
	}), nil
}

// listen opens the port for backends.
func (q *qriParts) listen(cfg config.Serve) error {
	if cfg.QRIListen == "" {
		return nil
	}
	l, err := net.Listen("tcp", cfg.QRIListen)
	if err != nil {
		return fmt.Errorf("listen for QRI's backends (--qri-listen; '' if there are none): %w", err)
	}
	q.listener = l
	return nil
}

// close ends what is left.
func (q *qriParts) close() {
	if q.ingest != nil {
		over, cancel := context.WithCancel(context.Background())
		cancel()
		q.ingest.Close(over)
	}
	if q.notices != nil {
		q.notices.Close()
	}
}

// qriTLS makes of the settings what backends are met with; nil: plain TCP.
func qriTLS(cfg config.Serve) (*tls.Config, error) {
	if cfg.QRITLSCert == "" {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(cfg.QRITLSCert, cfg.QRITLSKey)
	if err != nil {
		return nil, fmt.Errorf("certificate (--qri-tls-cert, --qri-tls-key): %w", err)
	}
	c := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	if cfg.QRIClientCA == "" {
		return c, nil
	}
	pem, err := os.ReadFile(cfg.QRIClientCA)
	if err != nil {
		return nil, fmt.Errorf("--qri-client-ca: %w", err)
	}
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, errors.New("--qri-client-ca: the file has no certificate in PEM")
	}
	c.ClientAuth = tls.RequireAndVerifyClientCert
	return c, nil
}
