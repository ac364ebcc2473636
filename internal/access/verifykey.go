package access

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/golang-jwt/jwt/v5"
)

// The algorithms that are taken.
const (
	algHS = "HS256"
	algRS = "RS256"
	algES = "ES256"
	algEd = "EdDSA"
)

const (
	minSecret  = 32   // bytes: as many as the hash has (RFC 7518, section 3.2)
	minRSABits = 2048 // RFC 7518, section 3.3
	maxRSABits = 8192 // checking a signature takes the square of it
)

// verifyKey is a key with the one algorithm that it is for. That the key says
// it, and not the token, is what keeps somebody from signing with a public
// key as if it were a secret.
type verifyKey struct {
	alg string
	kid string // empty: fits any
	key jwt.VerificationKey
}

// keySet is the keys of a file.
type keySet []verifyKey

// fitting lists the keys that may have signed a token with this header.
func (s keySet) fitting(alg, kid string) []jwt.VerificationKey {
	var keys []jwt.VerificationKey
	for _, k := range s {
		if k.alg == alg && (kid == "" || k.kid == "" || k.kid == kid) {
			keys = append(keys, k.key)
		}
	}
	return keys
}

func (s keySet) find(_ context.Context, alg, kid string) ([]jwt.VerificationKey, error) {
	keys := s.fitting(alg, kid)
	if len(keys) == 0 {
		return nil, noKeyFits()
	}
	return keys, nil
}

func noKeyFits() *Refusal {
	return unauthenticated(BadCredential, "no verification key fits the JWT's alg and kid")
}

// newVerifyKey pins the algorithm to the type of a public key.
func newVerifyKey(kid string, public any) (verifyKey, error) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return verifyKey{}, fmt.Errorf("the RSA key has %d bits, it needs %d to %d", bits, minRSABits, maxRSABits)
		}
		return verifyKey{algRS, kid, k}, nil
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return verifyKey{}, errors.New("the elliptic curve is not P-256, which ES256 needs")
		}
		return verifyKey{algES, kid, k}, nil
	case ed25519.PublicKey:
		return verifyKey{algEd, kid, k}, nil
	case []byte:
		if len(k) < minSecret {
			return verifyKey{}, fmt.Errorf("the secret has %d bytes, HS256 needs at least %d", len(k), minSecret)
		}
		return verifyKey{algHS, kid, k}, nil
	}
	return verifyKey{}, fmt.Errorf("keys of the type %T are not supported; use RSA, P-256 or Ed25519", public)
}

// parseKeys reads what a key file may hold. Whatever can be read as a public
// key is one, so that no public key is taken for a secret by mistake.
func parseKeys(b []byte) (keySet, error) {
	trimmed := bytes.TrimSpace(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")))
	switch {
	case bytes.Contains(b, []byte("-----BEGIN")):
		return parsePEM(b)
	case bytes.HasPrefix(trimmed, []byte("{")):
		return parseJWKFile(trimmed)
	case bytes.HasPrefix(trimmed, []byte("ssh-")), bytes.HasPrefix(trimmed, []byte("ecdsa-sha2-")):
		return nil, errors.New("a key in the format of SSH; write it as PEM (ssh-keygen -e -m PKCS8)")
	}
	for _, der := range [][]byte{b, decodedBase64(trimmed)} {
		if public, err := parseDER(der); err == nil {
			k, err := newVerifyKey("", public)
			return keySet{k}, err
		}
	}
	k, err := newVerifyKey("", bytes.TrimRight(b, "\r\n"))
	if err != nil {
		return nil, err
	}
	return keySet{k}, nil
}

func decodedBase64(b []byte) []byte {
	joined := bytes.Join(bytes.Fields(b), nil)
	der, err := base64.StdEncoding.DecodeString(string(joined))
	if err != nil {
		return nil
	}
	return der
}

func parsePEM(b []byte) (keySet, error) {
	var keys keySet
	for {
		block, rest := pem.Decode(b)
		if block == nil {
			break
		}
		b = rest
		if bytes.Contains([]byte(block.Type), []byte("PRIVATE KEY")) {
			return nil, errors.New("it holds a private key; only the public one belongs here")
		}
		public, err := parseDER(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("PEM block %q is neither a public key nor a certificate: %w", block.Type, err)
		}
		k, err := newVerifyKey("", public)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, errors.New("no PEM block can be read")
	}
	if len(keys) > maxJWKS {
		return nil, fmt.Errorf("%d keys, the limit is %d", len(keys), maxJWKS)
	}
	return keys, nil
}

func parseDER(der []byte) (any, error) {
	public, err := x509.ParsePKIXPublicKey(der)
	if err == nil {
		return public, nil
	}
	if public, err := x509.ParsePKCS1PublicKey(der); err == nil {
		return public, nil
	}
	if cert, err := x509.ParseCertificate(der); err == nil {
		return cert.PublicKey, nil
	}
	return nil, err
}
