package access

import (
	"net/http"
	"net/url"
	"strings"
)

// MaxToken bounds a key or JWT, in bytes.
const MaxToken = 8 << 10

// urlParam is the query parameter for clients that cannot set headers.
const urlParam = "access_token"

// TokenOf takes the credential out of a request: the header Authorization:
// Bearer, else the query parameter access_token. There may be none; then the
// token is empty. The error is a [*Refusal].
func TokenOf(r *http.Request) (token string, fromURL bool, err error) {
	if values := r.Header.Values("Authorization"); len(values) > 0 {
		token, err := bearer(values)
		return token, false, err
	}
	token, err = queryToken(r.URL.RawQuery)
	return token, token != "", err
}

func bearer(values []string) (string, error) {
	if len(values) > 1 {
		return "", unauthenticated(BadCredential, "there are several Authorization headers; send one")
	}
	scheme, token, _ := strings.Cut(strings.TrimSpace(values[0]), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", unauthenticated(BadCredential, "the Authorization header is not of the scheme Bearer; send Authorization: Bearer <key or JWT>")
	}
	token = strings.TrimLeft(token, " ")
	if token == "" {
		return "", unauthenticated(BadCredential, "the Authorization header has no token; send Authorization: Bearer <key or JWT>")
	}
	return token, checkToken(token)
}

// queryToken looks for access_token without parsing the rest of the query.
func queryToken(query string) (token string, err error) {
	found := false
	for len(query) > 0 {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		name, value, _ := strings.Cut(pair, "=")
		if name != urlParam {
			if unescaped, err := url.QueryUnescape(name); err != nil || unescaped != urlParam {
				continue
			}
		}
		if found {
			return "", unauthenticated(BadCredential, "access_token is there more than once")
		}
		found = true
		if token, err = url.QueryUnescape(value); err != nil {
			return "", unauthenticated(BadCredential, "access_token is not well escaped")
		}
		if token == "" {
			return "", unauthenticated(BadCredential, "access_token is empty; give it a key or JWT, or leave it out")
		}
		if err := checkToken(token); err != nil {
			return "", err
		}
	}
	return token, nil
}

// PathOf gives a request's path escaped as it came, so that it can be split at
// its slashes before it is decoded. [url.URL.EscapedPath] does not where a byte
// is not escaped that should be, such as those beyond ASCII: it escapes the
// decoded path then, in which an encoded slash is one like any other.
func PathOf(r *http.Request) string {
	if r.URL.RawPath != "" {
		return r.URL.RawPath
	}
	return r.URL.EscapedPath()
}

// checkToken lets only the characters of RFC 6750, section 2.1, through.
func checkToken(token string) error {
	if len(token) > MaxToken {
		return unauthenticated(BadCredential, "the token is longer than 8 KiB")
	}
	for i := range len(token) {
		c := token[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~+/=", c) >= 0:
		default:
			return unauthenticated(BadCredential, "the token has a character that no key or JWT has")
		}
	}
	return nil
}
