package client_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"crier/client"
)

func page(ids []string, next, gap string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		var envelopes []string
		for _, id := range ids {
			envelopes = append(envelopes, fmt.Sprintf(`{"id":%q,"topic":"a","contentType":"text/plain","data":"x"}`, id))
		}
		fmt.Fprintf(w, `{"messages":[%s],"next":%q%s}`, strings.Join(envelopes, ","), next, gap)
	}
}

const aGap = `,"gap":{"after":"00","resumed":"04","reason":"deleted"}`

func TestPage(t *testing.T) {
	s := record(t, problem(503), page([]string{"05", "07"}, "08", aGap))
	got, err := dial(t, s.URL).Page(t.Context(), client.PageOptions{Topics: []string{"a", "b/*"}, Since: "last:2", Limit: 7, Wait: 1500 * time.Millisecond})
	want := client.Page{
		Messages: []client.Message{{ID: "05", Topic: "a", ContentType: "text/plain", Data: []byte("x")}, {ID: "07", Topic: "a", ContentType: "text/plain", Data: []byte("x")}},
		Next:     "08", Gap: &client.Gap{After: "00", Resumed: "04", Reason: client.Deleted},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	reqs := s.requests()
	if len(reqs) != 2 || reqs[1].uri != "/t/main?limit=7&since=last%3A2&topic=a&topic=b%2F%2A&wait=2" || reqs[1].header.Get("Accept") != "application/json" {
		t.Errorf("requests %+v", reqs)
	}
}

func bounds(latest string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Crier-Latest", latest)
		w.Header().Set("Crier-Earliest", "04")
	}
}

func TestHistory(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answers []http.HandlerFunc
		want    string
		uris    []string
	}{
		{
			"to the head", []http.HandlerFunc{bounds("09"), page([]string{"05"}, "06", aGap), page(nil, "07", ""), page([]string{"08", "09"}, "09", "")},
			"gap 05 08 09 ", []string{"/t/main/a", "/t/main/a?limit=1000", "/t/main/a?limit=1000&since=06", "/t/main/a?limit=1000&since=07"},
		},
		{
			"what is newer than the call", []http.HandlerFunc{bounds("06"), page([]string{"05", "06", "07"}, "07", "")},
			"05 06 ", []string{"/t/main/a", "/t/main/a?limit=1000"},
		},
		{
			"a log that fell back", []http.HandlerFunc{bounds("09"), page(nil, "02", ""), page(nil, "02", "")},
			"", []string{"/t/main/a", "/t/main/a?limit=1000", "/t/main/a?limit=1000&since=02"},
		},
		{"refused", []http.HandlerFunc{bounds("09"), page([]string{"05"}, "06", ""), problem(403)}, "05 error 403 ", nil},
		{"refused at once", []http.HandlerFunc{problem(404)}, "error 404 ", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := record(t, tt.answers...)
			var got strings.Builder
			for m, err := range dial(t, s.URL).History(t.Context(), client.PageOptions{Topics: []string{"a"}}) {
				if _, ok := errors.AsType[*client.Gap](err); ok {
					got.WriteString("gap ")
				} else if p, ok := errors.AsType[*client.Problem](err); ok {
					fmt.Fprintf(&got, "error %d ", p.Status)
				} else {
					got.WriteString(m.ID + " ")
				}
			}
			if got.String() != tt.want {
				t.Errorf("got %q, want %q", got.String(), tt.want)
			}
			for i, uri := range tt.uris {
				if reqs := s.requests(); len(reqs) != len(tt.uris) || reqs[i].uri != uri {
					t.Fatalf("requests %+v, want %q", reqs, tt.uris)
				}
			}
		})
	}
}

func TestBounds(t *testing.T) {
	s := record(t, bounds("09"), func(http.ResponseWriter, *http.Request) {})
	c := dial(t, s.URL)
	if b, err := c.Bounds(t.Context(), "", "a"); err != nil || b != (client.Bounds{Latest: "09", Earliest: "04"}) {
		t.Errorf("%+v, %v", b, err)
	}
	if _, err := c.Bounds(t.Context(), "", "a"); err == nil || !strings.Contains(err.Error(), "no Crier-Latest") {
		t.Errorf("error %v", err)
	}
}

func TestForget(t *testing.T) {
	s := record(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, problem(403))
	c := dial(t, s.URL)
	if err := c.Forget(t.Context(), "d", "a/b"); err != nil {
		t.Error(err)
	}
	if r := s.requests()[0]; r.method != "DELETE" || r.uri != "/t/d/a/b" {
		t.Errorf("%+v", r)
	}
	if err := c.Forget(t.Context(), "d", "a"); err == nil || err.Error() != "delete the history of d/a: 403: because" {
		t.Errorf("error %v", err)
	}
}

func TestPageErrors(t *testing.T) {
	s := record(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"messages":[]}`) })
	if _, err := dial(t, s.URL).Page(t.Context(), client.PageOptions{Topics: []string{"a"}}); err == nil || !strings.Contains(err.Error(), "without next") {
		t.Errorf("error %v", err)
	}
	if _, err := dial(t, s.URL).Page(t.Context(), client.PageOptions{}); err == nil || !strings.Contains(err.Error(), "no topic") {
		t.Errorf("error %v", err)
	}
}
