package config_test

import "testing"

func TestEngine(t *testing.T) {
	for _, tt := range []struct {
		engine, mongodb, durability string
		url                         string
		ok                          bool
	}{
		{"embedded", "", "", "", true},
		{"memory", "", "", "", true},
		{"mongodb://a/b", "", "async", "mongodb://a/b", true},
		{"embedded", "mongodb://a", "", "mongodb://a", true},
		{"embedded", "mongodb+srv://a", "fsync", "mongodb+srv://a", true},
		{"mongodb://a", "mongodb://a", "", "mongodb://a", true},
		{"mongodb://a", "mongodb://b", "", "", false},
		{"memory", "mongodb://b", "", "", false},
		{"embedded", "http://b", "", "", false},
		{"redis://a", "", "", "", false},
		{"other", "", "", "", false},
		{"embedded", "", "fsync", "", false},
		{"embedded", "mongodb://a", "strong", "", false},
	} {
		s := good()
		s.Engine, s.MongoDB, s.MongoDBDurability = tt.engine, tt.mongodb, tt.durability
		err := s.Validate()
		if (err == nil) != tt.ok {
			t.Errorf("%+v: %v", tt, err)
		}
		if tt.ok && s.MongoDBURL() != tt.url {
			t.Errorf("%+v: the address is %q", tt, s.MongoDBURL())
		}
	}
}
