package config_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"crier/internal/config"
)

func known(name string) bool { return name == "drain" || name == "listen" }

func TestReadFile(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       config.File
		says       string // the error
	}{
		{name: "empty", want: config.File{}},
		{name: "comments and blanks", text: "# drain = 1s\n\n \t\r\n  # more\n", want: config.File{}},
		{name: "values", text: "drain = 1s\nlisten=a:1\n listen =  b:2 \r\n", want: config.File{"drain": {"1s"}, "listen": {"a:1", "b:2"}}},
		{name: "a byte order mark", text: "\ufeffdrain = 1s", want: config.File{"drain": {"1s"}}},
		{name: "quotes", text: `drain = " 1s "` + "\n" + `listen = "a" b`, want: config.File{"drain": {" 1s "}, "listen": {`"a" b`}}},
		{name: "an equals sign in a value", text: "listen = a=b", want: config.File{"listen": {"a=b"}}},
		{name: "no value", text: "drain =", want: config.File{"drain": {""}}},
		{name: "unknown", text: "\ndrain = 1s\ndrian = 1s", says: `line 3: no setting is called "drian"`},
		{name: "no equals sign", text: "drain 1s", says: "line 1 is not 'name = value'"},
		{name: "no name", text: "= 1s", says: "line 1 is not 'name = value'"},
		{name: "a section", text: "[server]", says: "line 1"},
		{name: "too long", text: strings.Repeat("#\n", 1<<19) + "drain = 1s", says: "1048576 bytes"},
		{name: "just not too long", text: strings.Repeat("#\n", 1<<19-6) + "drain = 1s", want: config.File{"drain": {"1s"}}},
		{name: "a long line", text: "drain = " + strings.Repeat("x", 1<<17), want: config.File{"drain": {strings.Repeat("x", 1<<17)}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := config.ReadFile(strings.NewReader(tt.text), known)
			if tt.says != "" {
				if err == nil || !strings.Contains(err.Error(), tt.says) {
					t.Fatalf("error %v, want one that says %q", err, tt.says)
				}
				return
			}
			if err != nil || !maps.EqualFunc(got, tt.want, slices.Equal) {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

// FuzzReadFile: what is read has only settings that there are, and reads the
// same when it is written out again.
func FuzzReadFile(f *testing.F) {
	f.Add("# hello\ndrain = 1s\nlisten = \"a:1\"\nlisten = b:2\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := config.ReadFile(strings.NewReader(text), known)
		if err != nil {
			return
		}
		var b strings.Builder
		for name, values := range got {
			if !known(name) {
				t.Fatalf("setting %q", name)
			}
			for _, v := range values {
				b.WriteString(name + ` = "` + v + "\"\n")
			}
		}
		again, err := config.ReadFile(strings.NewReader(b.String()), known)
		if err != nil || !maps.EqualFunc(again, got, slices.Equal) {
			t.Fatalf("written out it reads %q, %v, first it was %q", again, err, got)
		}
	})
}
