package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// versionCmd is crier version.
type versionCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Run prints what this is.
func (c *versionCmd) Run(std *streams) error {
	v := struct {
		Version  string `json:"version"`
		Revision string `json:"revision,omitempty"`
		Go       string `json:"go"`
		Platform string `json:"platform"`
	}{version(), revision(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
	if c.JSON {
		return printLine(std.out, v)
	}
	of := ""
	if v.Revision != "" {
		of = " (" + v.Revision + ")"
	}
	_, err := fmt.Fprintf(std.out, "crier %s%s, %s, %s\n", v.Version, of, v.Go, v.Platform)
	return err
}

// version is what the build says of itself.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// revision is the commit that was built, if the build knows it.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	commit, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+"
		}
	}
	return commit + dirty
}
