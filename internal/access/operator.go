package access

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	operatorPrefix = "crier_operator_"
	operatorFile   = "admin-token"
	minOperator    = 16   // bytes of a token that is given
	maxOperator    = 1024 // and of the file
)

// OperatorToken is the secret that may do everything. It is not a key and
// does not close the server. The zero OperatorToken matches nothing.
type OperatorToken struct {
	hash digest
	set  bool
}

// NewOperatorToken is the token that the operator gave.
func NewOperatorToken(token string) (OperatorToken, error) {
	if len(token) < minOperator {
		return OperatorToken{}, fmt.Errorf("operator's token has %d bytes, it needs at least %d", len(token), minOperator)
	}
	if err := checkToken(token); err != nil {
		return OperatorToken{}, fmt.Errorf("operator's token: %w", err)
	}
	return OperatorToken{hash: digestOf(token), set: true}, nil
}

// Is reports whether the token is the operator's, in constant time.
func (o OperatorToken) Is(token string) bool { return o.set && o.hash.is(digestOf(token)) }

// String hides it from logs.
func (o OperatorToken) String() string { return "[operator's token]" }

// GoString hides it from logs.
func (o OperatorToken) GoString() string { return o.String() }

// LoadOperatorToken reads the token from the data directory, or makes it
// there, mode 0600, if there is none yet. made tells that, path where it is.
// A file that others may read is refused. The caller holds the directory's
// lock.
func LoadOperatorToken(dir string) (token OperatorToken, path string, made bool, err error) {
	path = filepath.Join(dir, operatorFile)
	text, err := ReadOperatorToken(dir)
	if errors.Is(err, fs.ErrNotExist) {
		text, made = operatorPrefix+rand.Text(), true
		err = writeSecret(dir, operatorFile, text+"\n")
	}
	if err != nil {
		return OperatorToken{}, path, false, err
	}
	token, err = NewOperatorToken(text)
	if err != nil {
		return OperatorToken{}, path, false, fmt.Errorf("%s: %w; delete the file to have a new one made", path, err)
	}
	return token, path, made, nil
}

// ReadOperatorToken reads the token's text from the data directory, for
// commands that send it. [fs.ErrNotExist] if there is none yet.
func ReadOperatorToken(dir string) (string, error) {
	path := filepath.Join(dir, operatorFile)
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("operator's token: %w", err)
	}
	if !privateMode(info.Mode()) {
		return "", fmt.Errorf("operator's token: others may read %s (mode %04o); take that from them with chmod 600, and make a new token if they may have read it", path, info.Mode().Perm())
	}
	if info.Size() > maxOperator {
		return "", fmt.Errorf("operator's token: %s is longer than %d bytes", path, maxOperator)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("operator's token: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// writeSecret makes a file that nobody else may read, whole or not at all.
func writeSecret(dir, name, text string) error {
	f, err := os.CreateTemp(dir, name+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("make %s: %w", name, err)
	}
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, name))
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		err = errors.Join(fmt.Errorf("make %s: %w", name, err), removeLeft(f.Name()))
	}
	return err
}

func removeLeft(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
