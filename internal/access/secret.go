package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"hash/crc32"
	"strings"
)

// The parts of a key's secret: "crier_", the id, "_", the random part, and a
// CRC-32 over all before it. All of it is base32 without padding, so that a
// double click selects the whole and no character is mistaken for another.
const (
	secretPrefix = "crier_"
	idLen        = 12 // 60 random bits
	randomLen    = 26 // 130 random bits
	sumLen       = 7  // 32 bits
	secretLen    = len(secretPrefix) + idLen + 1 + randomLen + sumLen
)

const base32Letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

// newSecret draws a key's id and its secret.
func newSecret() (id, secret string) {
	id = rand.Text()[:idLen]
	body := secretPrefix + id + "_" + rand.Text()[:randomLen]
	return id, body + checksum(body)
}

// checksum shows a slip of the hand; it is not a protection.
func checksum(s string) string {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], crc32.ChecksumIEEE([]byte(s)))
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:])
}

// looksLikeKey reports whether a token means to be a key.
func looksLikeKey(token string) bool {
	return strings.HasPrefix(token, secretPrefix) && !strings.HasPrefix(token, operatorPrefix)
}

// keyID gives the public id in a key's secret, if it is well formed.
func keyID(secret string) (string, bool) {
	if len(secret) != secretLen || !strings.HasPrefix(secret, secretPrefix) {
		return "", false
	}
	body, sum := secret[:secretLen-sumLen], secret[secretLen-sumLen:]
	id, random, _ := strings.Cut(body[len(secretPrefix):], "_")
	if len(id) != idLen || !isBase32(id) || !isBase32(random) || checksum(body) != sum {
		return "", false
	}
	return id, true
}

func isBase32(s string) bool { return strings.Trim(s, base32Letters) == "" }

// LoggedTopic gives a topic as it may stand in a log. One of QRI,
// qri/<peer>/<checksum>, is a capability: who knows it may listen there.
func LoggedTopic(topicName string) string {
	const root = "qri/"
	if rest, ok := strings.CutPrefix(topicName, root); ok {
		if peer, _, more := strings.Cut(rest, "/"); more {
			return root + peer + "/…"
		}
	}
	return topicName
}

// digest is what is kept of a secret.
type digest [sha256.Size]byte

func digestOf(secret string) digest { return sha256.Sum256([]byte(secret)) }

// is compares in constant time.
func (d digest) is(other digest) bool { return subtle.ConstantTimeCompare(d[:], other[:]) == 1 }
