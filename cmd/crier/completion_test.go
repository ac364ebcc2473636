package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// candidates are the words of what __complete prints.
func candidates(out string) []string {
	var words []string
	for line := range strings.Lines(out) {
		word, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		words = append(words, word)
	}
	return words
}

func TestComplete(t *testing.T) {
	for _, tt := range []struct {
		line string // what follows crier; the last word is being completed
		want string // some of them with "…"
	}{
		{"", "serve publish subscribe key notice addapp addclient app client domain bench version completion"},
		{"s", "serve subscribe"},
		{"_", ""},
		{"key ", "create list revoke"},
		{"key create --", "--admin --admin-token … --publish"},
		{"key create --man", "--manage"},
		{"key create --publish a --pub", "--publish"}, // may come again
		{"key create --manage --man", ""},             // may not
		{"key create --publish ", ""},                 // a pattern: who knows
		{"key create --manage --name x --ex", "--expires"},
		{"domain set --durability ", "async default fsync memory"},
		{"domain set --durability f", "fsync"},
		{"domain set --durability=", "--durability=async --durability=default --durability=fsync --durability=memory"},
		{"domain set --durability = ", "async default fsync memory"}, // as bash takes it apart
		{"domain set --durability = m", "memory"},
		{"domain delete -", "--yes …"},
		{"completion ", "bash fish zsh"},
		{"completion bash ", ""},
		{"publish topic --file ", ":files"},
		{"publish --file=", ":files"},
		{"publish -- --", ""},
		{"serve --durab", "--durability"},
		{"serve --log-level=", "--log-level=debug --log-level=error --log-level=info --log-level=warn"},
		{"bench fanout --transport ", "ndjson sse ws"},
		{"nonsense --what ever ", ""},
	} {
		t.Run(tt.line, func(t *testing.T) {
			words := strings.Split(tt.line, " ")
			got := candidates(call{t: t}.ok(append([]string{"__complete", "--"}, words...)...))
			wants := strings.Fields(tt.want)
			some := slices.Contains(wants, "…")
			wants = slices.DeleteFunc(wants, func(s string) bool { return s == "…" })
			for _, want := range wants {
				if !slices.Contains(got, want) {
					t.Errorf("%q is not among %q", want, got)
				}
			}
			if !some && len(got) != len(wants) {
				t.Errorf("got %q, want %q", got, wants)
			}
		})
	}
}

// In a bash the script makes words of it.
func TestCompletionBash(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("there is no bash: %v", err)
		}
		t.Skipf("there is no bash: %v", err)
	}
	dir := t.TempDir()
	for _, name := range []string{"one file.txt", "other"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ words, want string }{
		{`crier ""`, "serve|publish|subscribe|key|notice|addapp|addclient|app|client|domain|bench|version|completion"},
		{`crier su`, "subscribe"},
		{`crier domain set --durability = f`, "fsync"},
		{`crier key create --exp`, "--expires"},
		{`crier publish a --file "o"`, "one file.txt|other"},
		{`crier publish a ""`, ""},
	} {
		t.Run(tt.words, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), bash, "--norc", "-c", `source <(crier completion bash) && complete -p crier >/dev/null &&
				COMP_WORDS=(`+tt.words+`) && COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) && _crier && printf '%s|' "${COMPREPLY[@]}"`)
			cmd.Dir = dir
			cmd.Env = environment("PATH=" + filepath.Dir(binary) + ":" + os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			got := strings.Split(strings.Trim(string(out), "|"), "|")
			want := strings.Split(tt.want, "|")
			if strings.HasPrefix(tt.want, "one") {
				slices.Sort(got) // the shell lists files as they come
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}
