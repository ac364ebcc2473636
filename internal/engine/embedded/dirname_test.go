package embedded

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestDirName(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		domain := rapid.StringMatching(`[A-Za-z0-9._-]{1,64}`).Draw(t, "domain")
		dir := newDirName(domain)
		if got, ok := domainOf(dir); !ok || got != domain {
			t.Fatalf("%q is read as %q, %v", dir, got, ok)
		}
		if strings.ToLower(dir) != dir || len(dir) > 200 || strings.ContainsAny(dir, `/\:*?"<>|`) {
			t.Fatalf("%q is not a name for every file system", dir)
		}
	})
	for _, name := range []string{"", "main", "d-", "d-main", "d-main@12", "d-@12345678", "d-+@12345678", "d-+A@12345678", "trash"} {
		if domain, ok := domainOf(name); ok {
			t.Errorf("%q is taken for domain %q", name, domain)
		}
	}
	a, b := escapeDomain("Main"), escapeDomain("main")
	if strings.EqualFold(a, b) {
		t.Errorf("%q and %q are one on some file systems", a, b)
	}
}
