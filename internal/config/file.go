package config

import (
	"fmt"
	"io"
	"strings"
)

// maxFile bounds a configuration file.
const maxFile = 1 << 20

// File is a configuration file: values by setting, in their order.
type File map[string][]string

// ReadFile reads lines of "name = value". Blank lines and those that begin
// with # say nothing; a name that comes again adds a value. A value may stand
// in double quotes. Names that known does not know are an error that names
// the line.
func ReadFile(r io.Reader, known func(name string) bool) (File, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("it is longer than the limit of %d bytes", maxFile)
	}
	f := File{}
	n := 0
	for line := range strings.Lines(strings.TrimPrefix(string(text), "\ufeff")) { // some editors begin with it
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || name == "" {
			return nil, fmt.Errorf("line %d is not 'name = value'", n)
		}
		if !known(name) {
			return nil, fmt.Errorf("line %d: no setting is called %.100q; crier serve --help lists them", n, name)
		}
		if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
			value = value[1 : len(value)-1]
		}
		f[name] = append(f[name], value)
	}
	return f, nil
}
