package admin

import (
	"net/http"

	"crier/internal/access"
	"crier/internal/engine"
	"crier/internal/problem"
	"crier/internal/topic"
)

type topicPage struct {
	Topics []engine.TopicInfo `json:"topics"`
	Next   string             `json:"next,omitempty"`
}

// listTopics lists the topics that have messages, in byte order: those of the
// pattern, or all that one may manage.
func (a *Admin) listTopics(c *call) error {
	d, err := a.domain(c)
	if err != nil {
		return err
	}
	limit, err := c.limit()
	if err != nil {
		return err
	}
	patterns := c.who.patterns(d.Name())
	if s := c.query.Get("pattern"); s != "" {
		p, err := topic.ParsePattern(s)
		if err != nil {
			return problem.BadRequest("pattern: " + err.Error()).On("pattern")
		}
		if err := c.who.may(d.Name(), p); err != nil {
			return err
		}
		patterns = []topic.Pattern{p}
	}
	after := c.query.Get("after")
	if len(after) > topic.MaxBytes {
		return problem.BadRequest("after is longer than a topic can be, 512 bytes").On("after")
	}
	topics, err := d.Topics(c.Context(), topic.NewFilter(patterns...), after, limit+1)
	if err != nil {
		return err
	}
	page := topicPage{}
	page.Topics, page.Next = cut(topics, limit, func(t engine.TopicInfo) string { return t.Topic })
	if page.Topics == nil {
		page.Topics = []engine.TopicInfo{}
	}
	return c.answer(http.StatusOK, page)
}

// forgetTopic deletes the history of one topic; one that has none is no error.
func (a *Admin) forgetTopic(c *call) error {
	name := c.PathValue("topic")
	if err := topic.Check(name); err != nil {
		return problem.BadRequest(err.Error()).On("topic")
	}
	d, err := a.domain(c)
	if err != nil {
		return err
	}
	if err := c.who.may(d.Name(), topic.Exactly(name)); err != nil {
		return err
	}
	if err := d.Forget(c.Context(), name); err != nil {
		return err
	}
	a.Logger.Info("topic forgotten", "domain", d.Name(), "topic", access.LoggedTopic(name), "by", c.who.String())
	return c.noContent()
}
