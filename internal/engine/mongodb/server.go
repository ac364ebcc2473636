package mongodb

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"crier/internal/engine"
)

// serverInfo is what the server says of itself.
type serverInfo struct {
	ferret     bool
	replicated bool
	version    string
}

// ask finds out what server it is.
func (e *Engine) ask(ctx context.Context) (serverInfo, error) {
	var info serverInfo
	err := e.call(ctx, func(ctx context.Context) error {
		var build struct {
			Version string   `bson:"version"`
			Ferret1 string   `bson:"ferretdbVersion"`
			Ferret2 bson.Raw `bson:"ferretdb"` // as later ones say it
		}
		if err := e.db.Client().Database("admin").RunCommand(ctx, bson.D{{Key: "buildInfo", Value: 1}}).Decode(&build); err != nil {
			return err
		}
		var hello struct {
			SetName string `bson:"setName"`
			Msg     string `bson:"msg"`
			Writes  bool   `bson:"isWritablePrimary"`
		}
		if err := e.db.Client().Database("admin").RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&hello); err != nil {
			return err
		}
		info = serverInfo{
			ferret:     build.Ferret1 != "" || build.Ferret2 != nil,
			replicated: hello.SetName != "" || hello.Msg == "isdbgrid",
			version:    build.Version,
		}
		return nil
	})
	if err != nil {
		return info, fmt.Errorf("ask the server what it is: %w", err)
	}
	major, _, _ := strings.Cut(info.version, ".")
	if n, err := strconv.Atoi(major); err == nil && n < 5 {
		return info, fmt.Errorf("the server is MongoDB %s, it must be 5 or later", info.version)
	}
	return info, nil
}

// run names the server's present life: another one may have taken back what
// was not synced.
func (e *Engine) run(ctx context.Context) (string, error) {
	if e.cfg.Run != nil {
		return e.cfg.Run(), nil
	}
	name := ""
	err := e.call(ctx, func(ctx context.Context) error {
		admin := e.db.Client().Database("admin")
		var hello struct {
			Election bson.ObjectID `bson:"electionId"`
			Topology struct {
				Process bson.ObjectID `bson:"processId"`
			} `bson:"topologyVersion"`
		}
		if err := admin.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&hello); err != nil {
			return err
		}
		if !hello.Topology.Process.IsZero() {
			name = hello.Topology.Process.Hex() + "/" + hello.Election.Hex()
			return nil
		}
		var status struct {
			PID    int64     `bson:"pid"`
			Uptime int64     `bson:"uptimeMillis"`
			Now    time.Time `bson:"localTime"`
		}
		if err := admin.RunCommand(ctx, bson.D{{Key: "serverStatus", Value: 1}}).Decode(&status); err != nil {
			return err
		}
		name = fmt.Sprintf("%d@%d", status.PID, status.Now.Add(-time.Duration(status.Uptime)*time.Millisecond).Unix())
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("ask for the server's run: %w", err)
	}
	return name, nil
}

// sameRun compares names of runs; a start that was computed may be off by some
// seconds.
func sameRun(a, b string) bool {
	pa, sa, oka := strings.Cut(a, "@")
	pb, sb, okb := strings.Cut(b, "@")
	if !oka || !okb || pa != pb {
		return a == b
	}
	na, _ := strconv.ParseInt(sa, 10, 64)
	nb, _ := strconv.ParseInt(sb, 10, 64)
	return max(na, nb)-min(na, nb) <= 5
}

// claims lists what durabilities logs can have: what the server keeps, as it
// is documented, or what the operator vouches for. A FerretDB takes no notice
// of what is asked for a write, and nobody can read how its backend is set.
func claims(info serverInfo, vouched engine.Durability) []engine.Durability {
	switch {
	case vouched == engine.Fsync, vouched == "" && !info.ferret:
		return []engine.Durability{engine.Fsync, engine.Async}
	case vouched == engine.Async:
		return []engine.Durability{engine.Async}
	}
	return []engine.Durability{engine.Memory}
}

// Strongest is the most that a log of this engine can claim.
func (e *Engine) Strongest() engine.Durability { return e.claims[0] }

func (e *Engine) checkDurability(d engine.Durability) error {
	if slices.Contains(e.claims, d) {
		return nil
	}
	if e.info.ferret && e.cfg.Durability == "" {
		return fmt.Errorf("%w: %q: the server is FerretDB, which does not say how durable it is; if you know, say so with --mongodb-durability", engine.ErrDurability, d)
	}
	return fmt.Errorf("%w: %q: logs in this MongoDB can have %v", engine.ErrDurability, d, e.claims)
}

func (e *Engine) logger() *slog.Logger {
	if e.cfg.Logger != nil {
		return e.cfg.Logger
	}
	return slog.New(slog.DiscardHandler)
}
