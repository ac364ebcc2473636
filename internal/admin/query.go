package admin

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"crier/internal/problem"
)

// Limits of a page of any list.
const (
	defaultPage = 100
	maxPage     = 1000
)

// readQuery reads a query that may hold the given parameters, each at most
// once.
func readQuery(raw string, takes []string) (url.Values, error) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return nil, problem.BadRequest("the query cannot be read: " + err.Error())
	}
	for name, values := range query {
		if !slices.Contains(takes, name) {
			what := "nothing"
			if len(takes) > 0 {
				what = strings.Join(takes, ", ")
			}
			return nil, problem.BadRequest(fmt.Sprintf("the query has %.40q; this path takes %s", name, what)).On(clip(name, 40))
		}
		if len(values) > 1 {
			return nil, problem.BadRequest(fmt.Sprintf("%s is there %d times; give it once", name, len(values))).On(name)
		}
	}
	return query, nil
}

// limit reads the size of a page.
func (c *call) limit() (int, error) {
	s := c.query.Get("limit")
	if s == "" {
		return defaultPage, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxPage {
		return 0, problem.BadRequest(fmt.Sprintf("limit is a number from 1 to %d, got %.40q", maxPage, s)).On("limit")
	}
	return n, nil
}

// cut takes what is more than limit off a list that was read one too long,
// and gives the name after which the next page begins; "": this is the last.
func cut[T any](list []T, limit int, name func(T) string) (page []T, next string) {
	if len(list) <= limit {
		return list, ""
	}
	return list[:limit], name(list[limit-1])
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
