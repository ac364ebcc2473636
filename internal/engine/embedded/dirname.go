package embedded

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
)

// A domain's directory is named after it, so that people find it, and after
// which life of the domain it is, so that what belongs to a domain that was
// dropped and made again is never taken for the new one's:
//
//	d-NAME@LIFE
//
// NAME is the domain with each upper-case letter as "+" and the lower-case
// one, because some file systems don't tell them apart; LIFE is 8 random hex
// digits. The "d-" keeps names like "..", "con" or ".x" from meaning something.
const dirPrefix = "d-"

func newDirName(domain string) string {
	var life [4]byte
	_, _ = rand.Read(life[:]) // never fails (crypto/rand.Read)
	return dirPrefix + escapeDomain(domain) + "@" + hex.EncodeToString(life[:])
}

func escapeDomain(domain string) string {
	var b strings.Builder
	for i := range len(domain) {
		c := domain[i]
		if 'A' <= c && c <= 'Z' {
			b.WriteByte('+')
			c += 'a' - 'A'
		}
		b.WriteByte(c)
	}
	return b.String()
}

// domainOf is the reverse of newDirName; ok is false for names that are none
// of ours.
func domainOf(dir string) (domain string, ok bool) {
	name, ok := strings.CutPrefix(dir, dirPrefix)
	if !ok {
		return "", false
	}
	name, life, ok := strings.Cut(name, "@")
	if !ok || len(life) != 8 || name == "" {
		return "", false
	}
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c == '+' {
			if i++; i == len(name) || name[i] < 'a' || 'z' < name[i] {
				return "", false
			}
			c = name[i] - ('a' - 'A')
		}
		b.WriteByte(c)
	}
	return b.String(), true
}
