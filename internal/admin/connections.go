package admin

import (
	"net/http"
	"time"

	"crier/internal/message"
	"crier/internal/problem"
	"crier/internal/topic"
	"crier/internal/transport"
)

// connView is a connection as it is answered.
type connView struct {
	ID            string             `json:"id"`
	Transport     string             `json:"transport"`
	Domain        string             `json:"domain"`
	Remote        string             `json:"remote,omitempty"`   // address of the client
	Identity      string             `json:"identity,omitempty"` // whose it is, for people
	Opened        time.Time          `json:"opened"`
	Messages      uint64             `json:"messages"` // written to the client
	Bytes         uint64             `json:"bytes"`    // written to the client
	Received      uint64             `json:"received"` // messages that the client published
	Lag           uint64             `json:"lag"`      // of the subscription that is the furthest behind
	Subscriptions []subscriptionView `json:"subscriptions,omitempty"`
}

// subscriptionView is what one of a connection's subscriptions is at.
type subscriptionView struct {
	Name     string     `json:"name,omitempty"`
	Patterns []string   `json:"patterns"`
	Cursor   message.ID `json:"cursor"`
	Lag      uint64     `json:"lag"` // sequence numbers that the log is ahead
}

type connPage struct {
	Connections []connView `json:"connections"`
	Next        string     `json:"next,omitempty"`
}

func viewConn(c *transport.Conn, whole bool) connView {
	v := connView{
		ID: c.ID(), Transport: c.Transport, Domain: c.Domain, Identity: c.Name, Opened: c.Opened().UTC(),
		Messages: c.Messages.Load(), Bytes: c.Bytes.Load(), Received: c.Received.Load(),
	}
	if c.Remote.IsValid() {
		v.Remote = c.Remote.String()
	}
	for _, s := range c.Subscriptions() {
		v.Lag = max(v.Lag, s.Lag)
		if whole {
			v.Subscriptions = append(v.Subscriptions, subscriptionView(s))
		}
	}
	return v
}

// mayConn reports whether all that a connection listens to may be managed. One
// that listens to nothing, and so may publish anything, is for who may manage
// the whole domain.
func (s scope) mayConn(c *transport.Conn) bool {
	if s.may(c.Domain) == nil {
		return true
	}
	if len(s.patterns(c.Domain)) == 0 {
		return false
	}
	listens := false
	for _, sub := range c.Subscriptions() {
		for _, text := range sub.Patterns {
			p, err := topic.ParsePattern(text)
			if err != nil || s.may(c.Domain, p) != nil {
				return false
			}
			listens = true
		}
	}
	return listens
}

// listConnections lists connections of this node in the order of their ids.
func (a *Admin) listConnections(c *call) error {
	limit, err := c.limit()
	if err != nil {
		return err
	}
	domain, kind := c.query.Get("domain"), c.query.Get("transport")
	if domain != "" {
		if err := topic.CheckDomain(domain); err != nil {
			return problem.BadRequest(err.Error()).On("domain")
		}
		if err := c.who.domain(domain); err != nil {
			return err
		}
	}
	conns := a.Table.List(c.query.Get("after"), limit+1, func(conn *transport.Conn) bool {
		return (domain == "" || conn.Domain == domain) && (kind == "" || conn.Transport == kind) && c.who.mayConn(conn)
	})
	conns, next := cut(conns, limit, func(conn *transport.Conn) string { return conn.ID() })
	page := connPage{Connections: make([]connView, len(conns)), Next: next}
	for i, conn := range conns {
		page.Connections[i] = viewConn(conn, false)
	}
	return c.answer(http.StatusOK, page)
}

// connection finds the connection that the path names. One that is out of
// reach is answered as if there were none.
func (a *Admin) connection(c *call) (*transport.Conn, error) {
	conn := a.Table.Get(c.PathValue("id"))
	if conn == nil || !c.who.mayConn(conn) {
		return nil, problem.NotFound("there is no such connection (any more), or not for you; GET /v1/connections lists those there are")
	}
	return conn, nil
}

func (a *Admin) getConnection(c *call) error {
	conn, err := a.connection(c)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, viewConn(conn, true))
}

// closeConnection has a connection end; the client may come back, unless its
// key is revoked too.
func (a *Admin) closeConnection(c *call) error {
	conn, err := a.connection(c)
	if err != nil {
		return err
	}
	conn.End(transport.ErrKicked)
	a.Logger.Info("connection closed", "connection", conn.ID(), "domain", conn.Domain, "identity", conn.Name, "by", c.who.String())
	return c.noContent()
}
