package main

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// indexed are the collections that Crier asks for documents by their id, again
// and again.
var indexed = []string{"messages", "registry"}

// index gives each database of a directory, until the context ends, the index
// that FerretDB's queries by id want: the one that it makes itself is of
// another expression, so that SQLite looks through all of a collection for one
// document.
func index(ctx context.Context, dir string) {
	done := map[string]bool{} // by file
	for ctx.Err() == nil {
		files, _ := filepath.Glob(filepath.Join(dir, "*.sqlite"))
		there := make(map[string]bool, len(files))
		for _, file := range files {
			there[file] = done[file] || indexFile(ctx, file)
		}
		done = there
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// indexFile makes the indexes of a database, and reports whether it has all.
// What cannot be done now is done another time.
func indexFile(ctx context.Context, file string) bool {
	db, err := sql.Open("sqlite", "file:"+file+"?mode=rw&_pragma=busy_timeout(1000)")
	if err != nil {
		return false
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, "SELECT name FROM sqlite_master WHERE type = 'table'")
	if err != nil {
		return false
	}
	var tables []string
	for rows.Next() {
		var name string
		if rows.Scan(&name) == nil {
			tables = append(tables, name)
		}
	}
	if rows.Close() != nil {
		return false
	}
	n := 0
	for _, table := range tables {
		for _, collection := range indexed {
			if strings.HasPrefix(table, collection+"_") {
				_, err := db.ExecContext(ctx, fmt.Sprintf(`CREATE INDEX IF NOT EXISTS %q ON %q (_ferretdb_sjson->'$._id')`, table+"_by_id", table))
				if err == nil {
					n++
				}
			}
		}
	}
	return n == len(indexed)
}
