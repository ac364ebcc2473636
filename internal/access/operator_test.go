package access_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"crier/internal/access"
)

func TestOperatorToken(t *testing.T) {
	dir := t.TempDir()
	if _, err := access.ReadOperatorToken(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	token, path, made, err := access.LoadOperatorToken(dir)
	if err != nil || !made || path != filepath.Join(dir, "admin-token") {
		t.Fatalf("%s, made %v, %v", path, made, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	text, err := access.ReadOperatorToken(dir)
	if err != nil || len(text) < 32 || !token.Is(text) {
		t.Fatalf("%v: what is read is not the token", err)
	}
	again, _, made, err := access.LoadOperatorToken(dir)
	if err != nil || made || !again.Is(text) {
		t.Errorf("made %v again, %v", made, err)
	}
	if _, _, _, err := access.LoadOperatorToken(filepath.Join(dir, "none")); err == nil {
		t.Error("made a token in a directory that is not there")
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("left over: %v, %v", files, err)
	}
	for _, wrong := range []string{"", text + "x", text[1:], strings.ToUpper(text)} {
		if token.Is(wrong) {
			t.Errorf("%q is the operator's token", wrong)
		}
	}
	if (access.OperatorToken{}).Is("") {
		t.Error("the zero token is the empty one")
	}
	if shown := fmt.Sprintf("%v %+v %#v %s", token, token, token, token); strings.Contains(shown, text) || strings.Contains(shown, "hash") {
		t.Errorf("shown as %s", shown)
	}
	a := start(t, access.Config{Operator: token})
	mustBe(t, a, request(text), access.KindOperator)
}

func TestOperatorTokenFileRefused(t *testing.T) {
	for _, tt := range []struct {
		name, content string
		mode          fs.FileMode
		part          string
	}{
		{"others may read", "0123456789abcdef", 0o644, "others may read"},
		{"short", "0123456789abcde\n", 0o600, "15 bytes, it needs at least 16"},
		{"empty", "", 0o600, "delete the file"},
		{"long", strings.Repeat("x", 1025), 0o600, "longer than 1024"},
		{"two words", "0123456789 abcdef", 0o600, "character"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "admin-token")
			if err := os.WriteFile(path, []byte(tt.content), tt.mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tt.mode); err != nil { // whatever the umask
				t.Fatal(err)
			}
			_, _, _, err := access.LoadOperatorToken(dir)
			if err == nil || !strings.Contains(err.Error(), tt.part) || tt.content != "" && strings.Contains(err.Error(), tt.content) {
				t.Errorf("error %v, want one with %q", err, tt.part)
			}
		})
	}
}
