package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"testing"
	"time"

	"crier/client"
)

// With a certificate the public API speaks HTTP/2, on which event streams are
// as they are on HTTP/1.1, and WebSockets by HTTP/1.1.
func TestTLS(t *testing.T) {
	t.Parallel()
	cert, key, roots := selfMade(t)
	s := startServer(t, "--tls-cert", cert, "--tls-key", key, "--drain", "0s")
	if s.api[:8] != "https://" {
		t.Fatalf("it listens at %s", s.api)
	}
	trusting := func(h2 bool) *http.Client {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: h2, DisableKeepAlives: !h2}
		t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr}
	}
	address := s.api + "/t/main/news"
	h2 := trusting(true)
	streams := []*sse{listen(t, h2, address), listen(t, h2, address), listen(t, trusting(false), address)}
	for i, want := range []int{2, 2, 1} {
		if got := streams[i].resp.ProtoMajor; got != want {
			t.Errorf("stream %d is HTTP/%d, want HTTP/%d", i, got, want)
		}
	}
	socket := open(t, trusting(false), address)
	r := publish(t, s.dial(t, client.WithHTTPClient(h2)), "news", "over TLS\nin two lines")
	for i, stream := range streams {
		if b := stream.event(t); b.Data != "over TLS\nin two lines" || b.ID != r.ID {
			t.Errorf("stream %d got %+v, want %s", i, b, r.ID)
		}
	}
	if f := socket.next(t); f.data != "over TLS\nin two lines" {
		t.Errorf("the socket got %+v", f)
	}
	s.terminate(t)
	for _, stream := range streams {
		checkRestart(t, stream)
	}
	if end := socket.closing(t); end.code != 1012 {
		t.Errorf("the socket was closed with %+v", end)
	}
	if code := s.exit(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// selfMade makes a certificate for 127.0.0.1.
func selfMade(t *testing.T) (certFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	certFile = write(t, "cert.pem", string(certPEM))
	keyFile = write(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	roots = x509.NewCertPool()
	if !roots.AppendCertsFromPEM(certPEM) {
		t.Fatal("the certificate is none")
	}
	return certFile, keyFile, roots
}
