package config_test

import (
	"reflect"
	"testing"

	"crier/internal/config"
)

func TestAncestors(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  map[string]string
		want []config.Ancestor
	}{
		{"none", map[string]string{"OTHER": "x", "REDIS_URI": ""}, nil},
		{"redis", map[string]string{"REDIS_URI": "redis://db"}, []config.Ancestor{
			{Setting: "redis", Values: []string{"redis://db"}, Names: []string{"REDIS_URI"}},
		}},
		{"one port", map[string]string{"SERVER_PORT": "9000"}, []config.Ancestor{
			{Setting: "listen", Values: []string{"127.0.0.1:9000"}, Names: []string{"SERVER_PORT"}},
		}},
		{"host", map[string]string{"SERVER_HOST": "::1"}, []config.Ancestor{
			{Setting: "listen", Values: []string{"[::1]:8080"}, Names: []string{"SERVER_HOST"}},
		}},
		{"two ports", map[string]string{"SERVER_HOST": "h", "SERVER_WS_PORT": "1", "SERVER_API_PORT": "2", "SERVER_API_PREFIX": "/api"}, []config.Ancestor{
			{Setting: "realizehit-prefix", Values: []string{"/api"}, Names: []string{"SERVER_API_PREFIX"}},
			{Setting: "listen", Values: []string{"h:1", "h:2"}, Names: []string{"SERVER_HOST", "SERVER_WS_PORT", "SERVER_API_PORT"}},
		}},
		{"one of two ports", map[string]string{"SERVER_WS_PORT": "1"}, []config.Ancestor{
			{Setting: "listen", Values: []string{"127.0.0.1:1", "127.0.0.1:8080"}, Names: []string{"SERVER_WS_PORT"}},
		}},
		{"pushcart", map[string]string{"PORT": "9000", "AUTH_TOKEN": "t", "REDIS_URI": "redis://db", "MONGODB_URI": "mongodb://db"}, []config.Ancestor{
			{Setting: "redis", Values: []string{"redis://db"}, Names: []string{"REDIS_URI"}},
			{Setting: "mongodb", Values: []string{"mongodb://db"}, Names: []string{"MONGODB_URI"}},
			{Setting: "auth-token", Values: []string{"t"}, Names: []string{"AUTH_TOKEN"}},
			{Setting: "listen", Values: []string{"127.0.0.1:9000"}, Names: []string{"PORT"}},
		}},
		{"a pushcart and a realizehit", map[string]string{"PORT": "9000", "SERVER_PORT": "9001"}, []config.Ancestor{
			{Setting: "listen", Values: []string{"127.0.0.1:9001", "127.0.0.1:9000"}, Names: []string{"SERVER_PORT", "PORT"}},
		}},
	} {
		got := config.Ancestors(func(name string) (string, bool) { v, ok := tt.env[name]; return v, ok })
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}
