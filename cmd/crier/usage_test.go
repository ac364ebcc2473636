package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestUsage(t *testing.T) {
	for _, tt := range []struct {
		args string
		code int
		want string // in stderr, or in stdout if the code is 0
	}{
		{"", 0, "Usage: crier <command>"},
		{"--help", 0, "subscribe"},
		{"publish --help", 0, "--content-type=TYPE"},
		{"subscribe --help", 0, "http://127.0.0.1:8080"},
		{"version", 0, "crier "},
		{"version --json", 0, `"platform"`},
		{"completion fish", 0, "complete -c crier"},

		{"bogus", 2, "unexpected argument bogus"},
		{"publish", 2, `expected "<topic>`},
		{"publish a b c", 2, "unexpected argument c"},
		{"publish a b --nope", 2, "unknown flag --nope"},
		{"publish a b --nope", 2, "try: crier publish --help"},
		{"publish a b --batch 0", 2, "--batch 0 is outside 1 to 1000"},
		{"publish a b --file usage_test.go", 2, "given twice"},
		{"publish a --file nowhere", 2, "nowhere"},
		{"publish a b --ttl tomorrow", 2, "no duration such as"},
		{"publish a b --server localhost:8080", 2, "want http://HOST:PORT"},
		{"publish a b --server 127.0.0.1:8080", 2, "want http://HOST:PORT"},
		{"serve --listen 127.0.0.1:abc", 2, `--listen: "127.0.0.1:abc"`},
		{"serve --admin-listen 127.0.0.1:99999", 2, `--admin-listen: "127.0.0.1:99999"`},
		{"bench publish --domains 2 --server http://127.0.0.1:1", 1, "--admin"},
		{"bench publish --duration 0s", 2, "--duration"},
		{"bench publish --size 0", 2, "--size"},
		{"bench publish --connections 0", 2, "--connections"},
		{"bench fanout --subscribers 0", 2, "--subscribers"},
		{"subscribe", 2, `expected "<pattern>`},
		{"subscribe a --limit -1", 2, "--limit"},
		{"key", 2, "expected one of"},
		{"key create", 2, "at least one of --publish, --subscribe, --manage"},
		{"key create --publish a//b", 2, "segment 2 is empty"},
		{"key create --manage --expires soon", 2, `--expires "soon"`},
		{"key list --admin nowhere", 2, "--admin"},
		{"key revoke", 2, `expected "<id>`},
		{"key revoke crier_ABC_DEF", 2, "secret"},
		{"domain set a", 2, "nothing to set"},
		{"domain set a --retention-age soon", 2, "--retention-age"},
		{"domain set a --retention-bytes much", 2, "--retention-bytes"},
		{"domain set a --durability paper", 2, "--durability"},
		{"completion tcsh", 2, `must be one of "bash","zsh","fish"`},
		{"bench publish --durability async --server http://127.0.0.1:1", 2, "started"},
		{"bench fanout --transport pigeon", 2, "--transport"},
		{"bench idle --pid 1", 2, "--server"},
		{"bench idle --together", 2, "--reference"},
		{"bench unicast --topics 3", 2, "--topics"},
		{"bench publish --reference --domains 2", 2, "--domains"},
		{"bench publish --rounds -1", 2, "--rounds"},
		{"bench fanout --reference --via ws", 2, "--via"},

		{"key list --admin http://192.0.2.1:x", 2, "--admin"},
		{"domain delete main", 1, "cannot be deleted"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			o := call{t: t}.run(strings.Fields(tt.args)...)
			text := o.err
			if tt.code == 0 {
				text = o.out
			} else if o.out != "" {
				t.Errorf("stdout has %q", o.out)
			}
			if o.code != tt.code || !strings.Contains(text, tt.want) {
				t.Errorf("exit code %d, want %d with %q:\n%s", o.code, tt.code, tt.want, text)
			}
		})
	}
}

// Where nobody listens the error says what was being done and what to try.
func TestNobodyThere(t *testing.T) {
	t.Parallel() // it waits for most of its time
	c := call{t: t, dir: t.TempDir(), env: []string{"CRIER_SERVER=http://127.0.0.1:1", "CRIER_ADMIN=http://127.0.0.1:1"}}
	for args, wants := range map[string][]string{
		"publish a b":  {"publish to main/a", "refused", "trying again in", "crier serve starts a server"},
		"key list":     {"no server answers at http://127.0.0.1:1", "no data directory", "crier serve"},
		"domain list":  {"no data directory"},
		"key revoke X": {"no data directory"},
		"subscribe a --until-latest --server http://nowhere.invalid:1": {"nowhere.invalid"},
	} {
		t.Run(args, func(t *testing.T) {
			c := c
			c.t = t
			o := c.run(strings.Fields(args)...)
			for _, want := range wants {
				if o.code != 1 || !strings.Contains(o.err, want) {
					t.Errorf("exit code %d, want 1 with %q:\n%s", o.code, want, o.err)
				}
			}
		})
	}
}

// What is wrong in a configuration file, or in a name of the environment, is
// told with where it stands: nobody wrote the flag that is named.
func TestBadSettings(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		env        []string
		want       []string
	}{
		{"a value", "heartbeat = 15", nil, []string{"--heartbeat", "is set in the configuration file", "crier.conf"}},
		{"a value that is out of bounds", "max-message = 1GiB", nil, []string{"--max-message", "is set in the configuration file", "crier.conf"}},
		{"a file that is not there", "tls-cert = nowhere.pem\ntls-key = nowhere.key", nil, []string{"nowhere.pem", "--tls-cert is set in the configuration file"}},
		{"one setting twice", "heartbeat = 1s\nheartbeat = 2s", nil, []string{"crier.conf", "heartbeat is set 2 times"}},
		{"a list with blanks", "origins = https://a.example, https://b.example/", nil, []string{`"https://b.example/"`}},
		{"a name of a system before", "", []string{"PORT=abc"}, []string{"--listen", `"127.0.0.1:abc"`, "--listen is taken from PORT"}},
		{"stronger than the file", "heartbeat = 15", []string{"CRIER_HEARTBEAT=16"}, []string{"CRIER_HEARTBEAT"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "crier.conf"), []byte(tt.file), 0o600); err != nil {
				t.Fatal(err)
			}
			o := call{t: t, dir: dir, env: tt.env}.run("serve", "--config", "crier.conf", "--admin-listen", "127.0.0.1:0", "--qri-listen", "")
			for _, want := range tt.want {
				if o.code == 0 || !strings.Contains(o.err, want) {
					t.Errorf("exit code %d, want no success, and %q:\n%s", o.code, want, o.err)
				}
			}
			if len(tt.env) > 0 && strings.Contains(o.err, "configuration file") {
				t.Errorf("the file is blamed:\n%s", o.err)
			}
		})
	}
}

// A data directory that cannot be used is refused once, in one breath, with
// what to do.
func TestBadDataDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "broken"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "broken", "registry.db"), []byte("no registry"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ data, want string }{
		{"", "--data-dir is empty"},
		{"file", "make the data directory"},
		{"broken", "restore a backup"},
	} {
		t.Run(tt.data, func(t *testing.T) {
			o := call{t: t, dir: dir}.run("serve", "--data-dir", tt.data, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--qri-listen", "")
			if o.code == 0 || !strings.Contains(o.err, tt.want) || strings.Count(o.err, "data directory "+dir) > 1 {
				t.Errorf("exit code %d, want no success, %q, and the directory once:\n%s", o.code, tt.want, o.err)
			}
		})
	}
}
