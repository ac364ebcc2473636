package access

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/golang-jwt/jwt/v5"
)

// JWTConfig says which JWTs are taken; see the package comment for their
// claims. Exactly one of KeyFile and JWKSURL is set.
type JWTConfig struct {
	// KeyFile holds a public key or certificate in PEM, a JWK or JWK set, or
	// the raw secret of HS256 (at least 32 bytes; line breaks at its end do
	// not count).
	KeyFile string
	// JWKSURL is where public keys are fetched: https, or http on loopback.
	JWKSURL string
	// Issuer and Audience must be in iss and aud, if set.
	Issuer, Audience string
	// Leeway is how far in the future nbf may lie; 0: five seconds.
	Leeway time.Duration
	// AllowNoExpiry takes tokens without exp, which never end.
	AllowNoExpiry bool
	// Transport fetches JWKSURL; nil: the standard one.
	Transport http.RoundTripper
}

// IsZero reports whether no JWT is taken.
func (c *JWTConfig) IsZero() bool { return c.KeyFile == "" && c.JWKSURL == "" }

const defaultLeeway = 5 * time.Second

// keySource finds the keys that may have signed a token. The error is a
// [*Refusal].
type keySource interface {
	find(ctx context.Context, alg, kid string) ([]jwt.VerificationKey, error)
}

type verifier struct {
	cfg    JWTConfig
	keys   keySource
	jwks   *jwks // nil: keys are from a file
	parser *jwt.Parser
	now    func() time.Time
}

func newVerifier(cfg JWTConfig, now func() time.Time, log *slog.Logger) (*verifier, error) {
	if cfg.Leeway <= 0 {
		cfg.Leeway = defaultLeeway
	}
	v := &verifier{cfg: cfg, now: now}
	switch {
	case cfg.KeyFile != "" && cfg.JWKSURL != "":
		return nil, errors.New("there is a key file and a JWKS URL; set one of them")
	case cfg.KeyFile != "":
		keys, err := readKeyFile(cfg.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("key file %s: %w", cfg.KeyFile, err)
		}
		v.keys = keys
	default:
		j, err := newJWKS(cfg.JWKSURL, cfg.Transport, now, log)
		if err != nil {
			return nil, err
		}
		v.keys, v.jwks = j, j
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods([]string{algHS, algRS, algES, algEd}),
		jwt.WithStrictDecoding(), jwt.WithTimeFunc(now), jwt.WithLeeway(cfg.Leeway),
	}
	if cfg.Issuer != "" {
		options = append(options, jwt.WithIssuer(cfg.Issuer))
	}
	if cfg.Audience != "" {
		options = append(options, jwt.WithAudience(cfg.Audience))
	}
	if !cfg.AllowNoExpiry {
		options = append(options, jwt.WithExpirationRequired())
	}
	v.parser = jwt.NewParser(options...)
	return v, nil
}

// run fetches keys until the context ends, if they are not from a file.
func (v *verifier) run(ctx context.Context) {
	if v.jwks != nil {
		v.jwks.run(ctx)
	}
}

// maxKeyFile bounds the file with the verification key.
const maxKeyFile = 1 << 20

func readKeyFile(path string) (keySet, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxKeyFile {
		return nil, errors.New("longer than 1 MiB")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseKeys(b)
}

// authenticate verifies a token, or refuses it.
func (v *verifier) authenticate(ctx context.Context, token string, fromURL bool) (*Identity, error) {
	var c claims
	_, err := v.parser.ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) {
		if _, there := t.Header["crit"]; there { // RFC 7515, section 4.1.11: none is understood
			return nil, unauthenticated(BadCredential, "the JWT has a crit header, and what it names is not supported")
		}
		kid, _ := t.Header["kid"].(string)
		keys, err := v.keys.find(ctx, t.Method.Alg(), kid)
		return jwt.VerificationKeySet{Keys: keys}, err
	})
	if err != nil {
		return nil, v.refusal(err)
	}
	id := &Identity{
		Kind: KindJWT, ID: printable(c.sub), Name: printable(c.sub), Grants: c.grants,
		credential: c.credential(token), fromURL: fromURL, now: v.now,
	}
	if c.exp != nil {
		// The library lets an expired token pass within the leeway.
		if id.Expires = c.exp.Time; id.Ended() != nil {
			return nil, unauthenticated(Expired, "the JWT has expired (exp)")
		}
	}
	return id, nil
}

// refusal says what is wrong with a token without repeating any of it.
func (v *verifier) refusal(err error) *Refusal {
	var own *Refusal
	var bad *claimsError
	detail := "the JWT cannot be read"
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &bad):
		detail = "the JWT's claims are not right: " + bad.detail
	case errors.Is(err, jwt.ErrTokenExpired):
		return unauthenticated(Expired, "the JWT has expired (exp)")
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		detail = "the JWT is not valid yet (nbf)"
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		detail = "the JWT is not for this audience (aud)"
	case errors.Is(err, jwt.ErrTokenInvalidIssuer):
		detail = "the JWT is not of the right issuer (iss)"
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		detail = "the JWT lacks a claim that is required here: exp, or what the operator asks for of iss and aud"
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		detail = "the JWT's signature is not right, or made with an algorithm that is not taken"
	case errors.Is(err, jwt.ErrTokenUnverifiable):
		detail = "the JWT's algorithm is not taken; sign with HS256, RS256, ES256 or EdDSA"
	}
	r := unauthenticated(BadCredential, detail)
	r.cause = err
	return r
}

// credential is the same for all tokens of one subject, so that a fresh token
// goes on with the idempotency keys and limits of the last.
func (c *claims) credential(token string) string {
	of := "sub\x00" + c.iss + "\x00" + c.sub
	if c.sub == "" {
		of = "token\x00" + token
	}
	sum := sha256.Sum256([]byte(of))
	return "jwt:" + hex.EncodeToString(sum[:16])
}

// printable makes a text fit for logs.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	if len(s) > MaxKeyName {
		s = strings.ToValidUTF8(s[:MaxKeyName], "") + "…"
	}
	return s
}
