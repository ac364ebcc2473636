package strict

// header is what a name of a header means to a publish.
type header uint8

const (
	unknownHeader header = iota
	hostHeader
	lengthHeader
	authorizationHeader
	contentTypeHeader
	typeHeader
	ttlHeader
	keyHeader
	connectionHeader
	idleHeader // nothing
)

// known tells what a header is, whatever the case of its letters.
func known(name []byte) header {
	for i := range headers {
		if h := &headers[i]; len(h.name) == len(name) && equalFold(name, h.name) {
			return h.is
		}
	}
	return unknownHeader
}

// equalFold compares with a name in lower case, of the same length.
func equalFold(p []byte, lower string) bool {
	for i, c := range p {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// Headers that say nothing about a publish are those that clients send by
// themselves. What browsers and proxies add is not among them: Crier decides by
// those who may come in.
var headers = [...]struct {
	name string
	is   header
}{
	{"host", hostHeader},
	{"content-length", lengthHeader},
	{"content-type", contentTypeHeader},
	{"authorization", authorizationHeader},
	{"user-agent", idleHeader},
	{"accept", idleHeader},
	{"accept-encoding", idleHeader},
	{"connection", connectionHeader},
	{"crier-type", typeHeader},
	{"crier-ttl", ttlHeader},
	{"idempotency-key", keyHeader},
	{"accept-language", idleHeader},
	{"accept-charset", idleHeader},
	{"traceparent", idleHeader},
	{"tracestate", idleHeader},
	{"x-request-id", idleHeader},
	{"cache-control", idleHeader},
	{"pragma", idleHeader},
}
