package seglog

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// The endings of the names in a log's directory.
const (
	logEnd     = ".log"
	sideEnd    = ".idx"
	damagedEnd = ".damaged"
	tempEnd    = ".tmp"
)

func logName(dir string, number uint64) string  { return fileName(dir, number, logEnd) }
func sideName(dir string, number uint64) string { return fileName(dir, number, sideEnd) }

func fileName(dir string, number uint64, end string) string {
	return path.Join(dir, fmt.Sprintf("%016x%s", number, end))
}

// parseName reads a name that fileName made: a number and one of the endings.
func parseName(name string) (number uint64, end string, ok bool) {
	digits, rest, _ := strings.Cut(name, ".")
	if len(digits) != 16 || strings.ToLower(digits) != digits {
		return 0, "", false
	}
	number, err := strconv.ParseUint(digits, 16, 64)
	if err != nil || number == 0 {
		return 0, "", false
	}
	switch end = "." + rest; end {
	case logEnd, sideEnd, damagedEnd, sideEnd + tempEnd:
		return number, end, true
	}
	return 0, "", false
}
