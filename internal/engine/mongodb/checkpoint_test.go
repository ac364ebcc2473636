package mongodb_test

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"crier/internal/engine"
	"crier/internal/engine/enginetest"
	"crier/internal/engine/mongodb"
	"crier/internal/message"
	"crier/internal/topic"
)

// database looks into the database beside the engine.
func database(t *testing.T, url string) *mongo.Database {
	t.Helper()
	client, err := mongo.Connect(options.Client().ApplyURI(url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Disconnect(t.Context()) })
	return client.Database(url[strings.LastIndex(url, "/")+1:])
}

func open(t *testing.T, url string, now func() time.Time) *mongodb.Engine {
	t.Helper()
	e, err := mongodb.Open(t.Context(), mongodb.Config{URL: url, Durability: engine.Fsync, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// answers are what a log says of itself.
func answers(t *testing.T, l engine.Log) string {
	t.Helper()
	s, err := l.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	said := []string{fmt.Sprintf("%+v", s)}
	for _, p := range []string{"a", "b", "c", "**", "never"} {
		f := topic.NewFilter(pattern(t, p))
		for after := uint64(0); ; {
			page, err := l.Read(t.Context(), engine.Query{After: after, Filter: f})
			if err != nil {
				t.Fatal(err)
			}
			said = append(said, fmt.Sprintf("%s after %d: %+v", p, after, page))
			if page.Next <= after {
				break
			}
			after = page.Next
		}
		complete, err := l.Complete(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		said = append(said, fmt.Sprintf("%s is complete after %d", p, complete))
	}
	return strings.Join(said, "\n")
}

func pattern(t *testing.T, s string) topic.Pattern {
	t.Helper()
	p, err := topic.ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestCheckpoint: what is old is deleted behind a checkpoint, and a log that
// is opened by it says the same as the one that lived through it all; another
// that was asleep meanwhile, too.
func TestCheckpoint(t *testing.T) {
	t.Parallel()
	url := shared.Find(t).Database(t)
	clock := enginetest.NewClock()
	l, err := open(t, url, clock.Now).Log(t.Context(), "main", engine.Fsync)
	if err != nil {
		t.Fatal(err)
	}
	asleep, err := open(t, url, clock.Now).Log(t.Context(), "main", engine.Fsync)
	if err != nil {
		t.Fatal(err)
	}
	for round := range 400 {
		var ds []message.Draft
		for _, name := range []string{"a", "b", "c"} {
			ds = append(ds, message.Draft{Topic: name, Data: []byte(fmt.Sprint(round))})
		}
		if _, err := l.Append(t.Context(), engine.Block{Drafts: ds, Key: engine.Key{Hash: [16]byte{byte(round), byte(round >> 8), 1}}}); err != nil {
			t.Fatal(err)
		}
		if round%3 == 0 {
			if err := l.Forget(t.Context(), []string{"a", "b"}[round%2]); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Trim(t.Context(), engine.Retention{Bytes: 40}); err != nil {
			t.Fatal(err)
		}
		if round%100 == 99 {
			clock.Advance(20 * time.Minute)
		}
	}
	want := answers(t, l)
	fresh, err := open(t, url, clock.Now).Log(t.Context(), "main", engine.Fsync)
	if err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]engine.Log{"opened anew": fresh, "asleep meanwhile": asleep} {
		if got := answers(t, other); got != want {
			t.Errorf("the log that was %s says\n%s\nwant\n%s", name, got, want)
		}
	}
	n, err := database(t, url).Collection("messages").CountDocuments(t.Context(), bson.D{})
	if err != nil || n > 700 {
		t.Errorf("%d documents are left of more than 900 (%v)", n, err)
	}
	if r, err := asleep.Append(t.Context(), engine.Block{Drafts: []message.Draft{{Topic: "a", Data: []byte("x")}}}); err != nil || r.First.Seq != 1201 {
		t.Errorf("an append: %+v, %v", r, err)
	}
}

// TestRegistryForgets: what was replaced long ago is deleted, and nothing
// comes back by it.
func TestRegistryForgets(t *testing.T) {
	t.Parallel()
	url := shared.Find(t).Database(t)
	clock := enginetest.NewClock()
	r := open(t, url, clock.Now).Registry()
	other := open(t, url, clock.Now).Registry()
	ctx := t.Context()
	for i := range 100 {
		name := fmt.Sprintf("%024x", i%5)
		if i%7 == 0 {
			if err := r.Delete(ctx, "app", name, engine.AnyVersion, nil); err != nil && i > 5 {
				t.Log(err) // deleted before
			}
		}
		if _, err := r.Put(ctx, "app", name, []byte(fmt.Sprintf(`{"n":%d}`, i)), engine.AnyVersion, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Acquire(ctx, "lease", "me", time.Hour); err != nil {
			t.Fatal(err)
		}
		if i%10 == 9 {
			clock.Advance(16 * time.Minute)
		}
	}
	if err := r.Delete(ctx, "app", fmt.Sprintf("%024x", 4), engine.AnyVersion, nil); err != nil {
		t.Fatal(err)
	}
	clock.Advance(16 * time.Minute)
	for range 10 {
		if _, err := r.Put(ctx, "key", "k", nil, engine.AnyVersion, nil); err != nil {
			t.Fatal(err)
		}
	}
	want, err := r.List(ctx, "app", "", 0)
	if err != nil || len(want) != 4 {
		t.Fatalf("%v, %v", want, err)
	}
	fresh := open(t, url, clock.Now).Registry()
	for name, o := range map[string]engine.Registry{"opened anew": fresh, "asleep meanwhile": other} {
		if got, err := o.List(ctx, "app", "", 0); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("the registry that was %s has %v, %v, want %v", name, got, err, want)
		}
	}
	db := database(t, url)
	if n, err := db.Collection("registry").CountDocuments(ctx, bson.D{}); err != nil || n > 60 {
		t.Errorf("%d facts are left of more than 200 (%v)", n, err)
	}
	var apps []struct {
		ID    bson.ObjectID `bson:"_id"`
		Data  []byte        `bson:"data"`
		Value bson.M        `bson:"value"`
	}
	cur, err := db.Collection("apps").Find(ctx, bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	if err := cur.All(ctx, &apps); err != nil || len(apps) != 4 {
		t.Fatalf("apps: %v, %v", apps, err)
	}
	for _, a := range apps {
		e, err := r.Get(ctx, "app", a.ID.Hex())
		if err != nil || string(e.Value) != string(a.Data) || string(a.Data) != fmt.Sprintf(`{"n":%v}`, a.Value["n"]) {
			t.Errorf("app %s: %s, %v; the registry says %s (%v)", a.ID.Hex(), a.Data, a.Value, e.Value, err)
		}
	}
}

// TestShownFollows: when all changes are made, the collections say what the
// registry says, whoever was the last to write.
func TestShownFollows(t *testing.T) {
	t.Parallel()
	url := shared.Find(t).Database(t)
	regs := []engine.Registry{open(t, url, time.Now).Registry(), open(t, url, time.Now).Registry()}
	names := []string{fmt.Sprintf("%024x", 1), fmt.Sprintf("%024x", 2)}
	var tasks sync.WaitGroup
	for w := range 6 {
		tasks.Go(func() {
			r := regs[w%2]
			for i := range 25 {
				name := names[(w+i)%2]
				if (w+i)%3 == 0 {
					if err := r.Delete(t.Context(), "app", name, engine.AnyVersion, nil); err != nil && !errors.Is(err, engine.ErrNotFound) {
						t.Error(err)
					}
					continue
				}
				if _, err := r.Put(t.Context(), "app", name, []byte(fmt.Sprintf(`{"w":%d,"i":%d}`, w, i)), engine.AnyVersion, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	tasks.Wait()
	want := map[string]string{}
	entries, err := regs[0].List(t.Context(), "app", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		want[e.Name] = string(e.Value)
	}
	var docs []struct {
		ID   bson.ObjectID `bson:"_id"`
		Data []byte        `bson:"data"`
	}
	cur, err := database(t, url).Collection("apps").Find(t.Context(), bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	if err := cur.All(t.Context(), &docs); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, d := range docs {
		got[d.ID.Hex()] = string(d.Data)
	}
	if !maps.Equal(got, want) {
		t.Errorf("the collection has %v, the registry %v", got, want)
	}
}

// TestDataGoSoon: what is trimmed or deleted is taken out of the database.
func TestDataGoSoon(t *testing.T) {
	t.Parallel()
	url := shared.Find(t).Database(t)
	l := logOf(t, open(t, url, time.Now))
	for i := range 40 {
		if _, err := l.Append(t.Context(), engine.Block{Drafts: []message.Draft{{Topic: "a", Data: []byte(fmt.Sprint("first ", i))}, {Topic: "b", Data: []byte("second")}}}); err != nil {
			t.Fatal(err)
		}
	}
	messages := database(t, url).Collection("messages")
	await := func(what string, want int64, filter bson.D) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; {
			n, err := messages.CountDocuments(t.Context(), filter)
			if err != nil {
				t.Fatal(err)
			}
			if n == want {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%d documents have %s, want %d", n, what, want)
			}
		}
	}
	some := bson.D{{Key: "$exists", Value: true}}
	await("messages", 40, bson.D{{Key: "messages", Value: some}})
	if err := l.Trim(t.Context(), engine.Retention{Bytes: 45}); err != nil { // three blocks of 15 to 16 bytes, less one
		t.Fatal(err)
	}
	await("messages", 3, bson.D{{Key: "messages", Value: some}})
	await("an index", 40, bson.D{{Key: "index", Value: some}})
	if err := l.Forget(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	await("data of the topic that was deleted", 0, bson.D{{Key: "messages.1.data", Value: some}})
	await("data of the other topic", 3, bson.D{{Key: "messages.0.data", Value: some}})
	if got := strings.Join(all(t, l), ","); got != "first 38,first 39" {
		t.Errorf("%s is left", got)
	}
}
