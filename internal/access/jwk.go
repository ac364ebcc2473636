package access

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// maxJWKS bounds the keys of a set.
const maxJWKS = 100

// jwk is a key as RFC 7517 and 7518 write it.
type jwk struct {
	Kty    string   `json:"kty"`
	Use    string   `json:"use"`
	KeyOps []string `json:"key_ops"`
	Alg    string   `json:"alg"`
	Kid    string   `json:"kid"`
	Crv    string   `json:"crv"`
	N      string   `json:"n"`
	E      string   `json:"e"`
	X      string   `json:"x"`
	Y      string   `json:"y"`
	K      string   `json:"k"`
	D      string   `json:"d"`
}

// parseJWKFile reads a JWK, or a set of them of which each must be good.
func parseJWKFile(b []byte) (keySet, error) {
	var set struct {
		Keys []jwk `json:"keys"`
		jwk
	}
	if err := json.Unmarshal(b, &set); err != nil {
		return nil, errors.New("it begins like a JWK, and is not JSON of one")
	}
	if set.Keys == nil {
		set.Keys = []jwk{set.jwk}
	}
	if len(set.Keys) == 0 || len(set.Keys) > maxJWKS {
		return nil, fmt.Errorf("the set has %d keys; it needs 1 to %d", len(set.Keys), maxJWKS)
	}
	var keys keySet
	for i := range set.Keys {
		k, err := set.Keys[i].verifyKey()
		if err != nil {
			return nil, fmt.Errorf("JWK %d (kid %.60q): %w", i+1, set.Keys[i].Kid, err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// parseJWKS reads a set that was fetched: keys for other ends are passed over
// (RFC 7517, section 5), and so are secrets, which nobody should publish.
func parseJWKS(b []byte) (keySet, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(b, &set); err != nil {
		return nil, fmt.Errorf("not a JWK set: %w", err)
	}
	if len(set.Keys) > maxJWKS {
		return nil, fmt.Errorf("the set has %d keys, the limit is %d", len(set.Keys), maxJWKS)
	}
	var keys keySet
	for _, raw := range set.Keys {
		var j jwk
		if json.Unmarshal(raw, &j) != nil || j.Kty == "oct" {
			continue
		}
		if k, err := j.verifyKey(); err == nil {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the set has no key for RS256, ES256 or EdDSA")
	}
	return keys, nil
}

func (j *jwk) verifyKey() (verifyKey, error) {
	switch {
	case j.D != "":
		return verifyKey{}, errors.New("a private key; only the public one belongs here")
	case j.Use != "" && j.Use != "sig":
		return verifyKey{}, fmt.Errorf("its use is %.20q, not sig", j.Use)
	case j.KeyOps != nil && !slices.Contains(j.KeyOps, "verify"):
		return verifyKey{}, errors.New("its key_ops have no verify")
	}
	public, err := j.public()
	if err != nil {
		return verifyKey{}, err
	}
	k, err := newVerifyKey(j.Kid, public)
	if err != nil {
		return verifyKey{}, err
	}
	if j.Alg != "" && j.Alg != k.alg && !(j.Alg == "Ed25519" && k.alg == algEd) { // RFC 9864 renamed it
		return verifyKey{}, fmt.Errorf("its alg is %.20q, such a key is taken for %s only", j.Alg, k.alg)
	}
	return k, nil
}

func (j *jwk) public() (any, error) {
	switch {
	case j.Kty == "RSA":
		return j.rsa()
	case j.Kty == "EC" && j.Crv == "P-256":
		x, errX := coordinate(j.X)
		y, errY := coordinate(j.Y)
		if err := errors.Join(errX, errY); err != nil {
			return nil, err
		}
		return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
	case j.Kty == "OKP" && j.Crv == "Ed25519":
		x, err := coordinate(j.X)
		return ed25519.PublicKey(x), err
	case j.Kty == "oct":
		secret, err := base64.RawURLEncoding.DecodeString(j.K)
		if err != nil {
			return nil, errors.New("k is not base64url")
		}
		return secret, nil
	}
	return nil, fmt.Errorf("kty %.20q with crv %.20q is not supported; use RSA, EC with P-256, OKP with Ed25519, or oct", j.Kty, j.Crv)
}

func (j *jwk) rsa() (*rsa.PublicKey, error) {
	n, errN := base64.RawURLEncoding.DecodeString(j.N)
	e, errE := base64.RawURLEncoding.DecodeString(j.E)
	if errN != nil || errE != nil || len(n) > maxRSABits/8 {
		return nil, errors.New("n or e is not right")
	}
	exponent := new(big.Int).SetBytes(e)
	if exponent.BitLen() > 31 || exponent.Int64() < 3 || exponent.Bit(0) == 0 {
		return nil, errors.New("e is not an odd number from 3 to 2^31-1")
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())}, nil
}

func coordinate(s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != 32 {
		return nil, errors.New("x or y is not 32 bytes of base64url")
	}
	return b, nil
}
