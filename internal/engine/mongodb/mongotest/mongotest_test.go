package mongotest_test

import (
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"crier/internal/engine/mongodb/mongotest"
)

func connect(t *testing.T, url string) *mongo.Collection {
	t.Helper()
	c, err := mongo.Connect(options.Client().ApplyURI(url).SetRetryWrites(false).SetServerSelectionTimeout(5 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Disconnect(t.Context()) })
	return c.Database("test").Collection("things")
}

// TestKilled: what was written is there when a FerretDB that was killed is
// started again.
func TestKilled(t *testing.T) {
	s := mongotest.Ferret(t)
	things := connect(t, s.URL)
	for i := range 10 {
		if _, err := things.InsertOne(t.Context(), bson.D{{Key: "_id", Value: i}}); err != nil {
			t.Fatal(err)
		}
	}
	s.Kill()
	s.Start(t)
	if n, err := connect(t, s.URL).CountDocuments(t.Context(), bson.D{}); err != nil || n != 10 {
		t.Errorf("%d documents, %v", n, err)
	}
}

// TestLose: a request whose answer is lost is done, and others get theirs.
func TestLose(t *testing.T) {
	s := mongotest.Ferret(t)
	p := mongotest.NewProxy(t, s)
	things := connect(t, p.URL)
	p.Lose(1, "lost")
	if _, err := things.InsertOne(t.Context(), bson.D{{Key: "_id", Value: "kept"}}); err != nil || p.Lost() {
		t.Fatal(err, p.Lost())
	}
	if _, err := things.InsertOne(t.Context(), bson.D{{Key: "_id", Value: "lost"}}); err == nil || !p.Lost() {
		t.Fatal(err, p.Lost())
	}
	if n, err := things.CountDocuments(t.Context(), bson.D{}); err != nil || n != 2 {
		t.Errorf("%d documents, %v", n, err)
	}
}
