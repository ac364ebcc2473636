package access

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/golang-jwt/jwt/v5"

	"crier/internal/topic"
)

// claims are those of a JWT that matter here. Names are matched exactly, which
// encoding/json by itself does not do.
type claims struct {
	exp, nbf, iat *jwt.NumericDate
	iss, sub      string
	aud           jwt.ClaimStrings
	grants        []Grant
}

// lastDate is the end of the year 9999, beyond which dates are mistakes.
const lastDate = 253402300799

// claimsError says what is wrong with the claims, for the client: it names
// members and patterns, which are no secrets, of its own token.
type claimsError struct{ detail string }

func (e *claimsError) Error() string { return e.detail }

func badClaims(format string, args ...any) error { return &claimsError{fmt.Sprintf(format, args...)} }

// UnmarshalJSON reads a JWT's claims set.
func (c *claims) UnmarshalJSON(b []byte) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return badClaims("they are no JSON object")
	}
	for _, field := range []struct {
		name string
		into any
	}{{"exp", &c.exp}, {"nbf", &c.nbf}, {"iat", &c.iat}, {"iss", &c.iss}, {"sub", &c.sub}, {"aud", &c.aud}} {
		raw, there := all[field.name]
		if !there {
			continue
		}
		if err := json.Unmarshal(raw, field.into); err != nil {
			return badClaims("%s is not of the right type", field.name)
		}
	}
	for name, date := range map[string]*jwt.NumericDate{"exp": c.exp, "nbf": c.nbf, "iat": c.iat} {
		if date != nil && (date.Unix() < 0 || date.Unix() > lastDate) {
			return badClaims("%s is no time of this age", name)
		}
	}
	if raw, there := all["crier"]; there {
		return c.readGrants(raw)
	}
	return nil
}

// readGrants reads the claim crier.
func (c *claims) readGrants(raw json.RawMessage) error {
	var own map[string]json.RawMessage
	if err := json.Unmarshal(raw, &own); err != nil || own == nil {
		return badClaims("crier is not an object")
	}
	domain := DefaultDomain
	lists := map[Action][]string{}
	for name, value := range own {
		var err error
		switch name {
		case "domain":
			err = strictly(value, &domain)
		case string(Publish), string(Subscribe):
			var list []string
			err = strictly(value, &list)
			lists[Action(name)] = list
		default:
			return badClaims("crier has the member %.40q; it may have domain, publish and subscribe", name)
		}
		if err != nil {
			return badClaims("crier.%s is not of the right type; domain is a string, publish and subscribe are lists of strings", name)
		}
	}
	if err := topic.CheckDomain(domain); err != nil {
		return badClaims("crier.domain: %v", err)
	}
	if n := len(lists[Publish]) + len(lists[Subscribe]); n > MaxGrants {
		return badClaims("crier has %d patterns, the limit is %d", n, MaxGrants)
	}
	for _, action := range []Action{Publish, Subscribe} {
		for _, text := range lists[action] {
			p, err := topic.ParsePattern(text)
			if err != nil {
				return badClaims("crier.%s: %v", action, err)
			}
			c.grants = append(c.grants, Grant{action, domain, p})
		}
	}
	return nil
}

// strictly decodes a value that may not be null.
func strictly(raw json.RawMessage, into any) error {
	if bytes.Equal(bytes.TrimSpace(raw), []byte("null")) {
		return fmt.Errorf("null")
	}
	return json.Unmarshal(raw, into)
}

// What follows makes claims what the library checks.

// GetExpirationTime gives exp.
func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return c.exp, nil }

// GetIssuedAt gives iat.
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error) { return c.iat, nil }

// GetNotBefore gives nbf.
func (c *claims) GetNotBefore() (*jwt.NumericDate, error) { return c.nbf, nil }

// GetIssuer gives iss.
func (c *claims) GetIssuer() (string, error) { return c.iss, nil }

// GetSubject gives sub.
func (c *claims) GetSubject() (string, error) { return c.sub, nil }

// GetAudience gives aud.
func (c *claims) GetAudience() (jwt.ClaimStrings, error) { return c.aud, nil }
