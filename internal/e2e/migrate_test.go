package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"crier/internal/dialect/redistest"
)

// TestMigrationPages runs what the pages for those who come from elsewhere
// say, as it is written but for the ports, and wants what they say it prints.
func TestMigrationPages(t *testing.T) {
	t.Parallel()
	for _, page := range []string{"migrate-from-qri.md", "migrate-from-wspubsub.md"} {
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile("../../docs/" + page)
			if err != nil {
				t.Fatal(err)
			}
			ports := strings.NewReplacer("8080", freePort(t), "8081", freePort(t), "5679", freePort(t), "3000", freePort(t))
			blocks := regexp.MustCompile("(?ms)^( *)```(sh|text)\n(.*?)^ *```").FindAllStringSubmatch(string(text), -1)
			if len(blocks) < 2 || blocks[0][2] != "sh" || blocks[1][2] != "text" {
				t.Fatal("the page begins with no commands and what they print")
			}
			dir := t.TempDir()
			out := shell(t, dir, "export CRIER_LISTEN=127.0.0.1:"+ports.Replace("8080")+" CRIER_ADMIN_LISTEN=127.0.0.1:"+ports.Replace("8081")+
				" CRIER_DRAIN=0s CRIER_QRI_LISTEN=127.0.0.1:"+ports.Replace("5679")+" CRIER_ADMIN=http://127.0.0.1:"+ports.Replace("8081")+"\n"+ports.Replace(blocks[0][3]))
			if want := blocks[1][3]; out != want {
				t.Errorf("it printed\n%s\nthe page says\n%s", out, want)
			}
			for _, b := range blocks[2:] {
				if b[2] == "sh" {
					shell(t, dir, "export CRIER_ADMIN=http://127.0.0.1:1\n"+ports.Replace(b[3]))
				}
			}
		})
	}
}

// TestPushcartPage runs all commands of the page for those who come from
// Pushcart, one after the other.
func TestPushcartPage(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/migrate-from-pushcart.md")
	if err != nil {
		t.Fatal(err)
	}
	program(t, "redis-cli", nil, "redis-cli")
	redis := redistest.Addr(t)
	host, port, err := net.SplitHostPort(redis)
	if err != nil {
		t.Fatal(err)
	}
	places := strings.NewReplacer(
		"8080", freePort(t), "8081", freePort(t), "127.0.0.1:6379", redis, "redis-cli", "redis-cli -h "+host+" -p "+port,
		"mongodb://127.0.0.1:27017/pushcart", mongoDB.Find(t).Database(t),
	)
	var all strings.Builder
	for _, b := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```").FindAllStringSubmatch(string(text), -1) {
		all.WriteString(places.Replace(b[1]))
	}
	out := shell(t, t.TempDir(), places.Replace("export CRIER_ADMIN_LISTEN=127.0.0.1:8081 CRIER_ADMIN=http://127.0.0.1:8081 CRIER_DRAIN=0s CRIER_QRI_LISTEN=\n")+all.String())
	for _, want := range []string{`"hello":"world"`, `"hello":"again"`, `"said natively"`, `"hello":"Redis"`, "crier_pushcart_", `"hello":"MongoDB"`} {
		if !strings.Contains(out, want) {
			t.Errorf("the commands did not print %s:\n%s", want, out)
		}
	}
}

// shell runs commands in bash with crier in the path, all of which must
// succeed, and gives what they printed.
func shell(t *testing.T, dir, commands string) string {
	t.Helper()
	bash := program(t, "bash", nil, "bash")
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(path, filepath.Join(bin, "crier")); err != nil {
		t.Fatal(err)
	}
	// What is left in the background ends with the shell.
	cmd := exec.Command(bash, "-c", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\nset -e\n"+commands)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "crier.log"))
		t.Fatalf("%v\n%s\n%s\n%s", err, out, said.String(), log)
	}
	return string(out)
}

// freePort is one that nobody listens on now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}
