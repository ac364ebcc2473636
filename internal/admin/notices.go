package admin

import (
	"errors"
	"net/http"
	"time"

	"crier/internal/dialect/qri/notice"
	"crier/internal/engine"
	"crier/internal/hub"
	"crier/internal/problem"
	"crier/internal/topic"
)

// noticeView is a notice as it is answered.
type noticeView struct {
	Type    string    `json:"type"`
	Message string    `json:"message"`
	Set     time.Time `json:"set"`
}

type noticePage struct {
	Notices []noticeView `json:"notices"`
	Next    string       `json:"next,omitempty"`
}

// noticeRequest is the body of PUT /v1/notices/{type}.
type noticeRequest struct {
	Message *string `json:"message"`
}

// mayNotice refuses who may not manage the topics of notices.
func (s scope) mayNotice() error {
	p, err := topic.ParsePattern(notice.Topics + "/*")
	if err != nil {
		return err
	}
	return s.may(hub.Main, p)
}

// noticeProblem maps the errors of notices.
func noticeProblem(err error) error {
	switch {
	case errors.Is(err, notice.ErrInvalid):
		return problem.BadRequest(err.Error())
	case errors.Is(err, notice.ErrFull):
		return problem.Conflict(err.Error())
	case errors.Is(err, engine.ErrNotFound):
		return problem.NotFound("no such notice is set; GET /v1/notices lists those that are")
	}
	return err
}

// noNotices answers where there is no board of notices.
func (a *Admin) noNotices(c *call) error {
	if err := c.who.mayNotice(); err != nil {
		return err
	}
	if a.Notices == nil {
		return problem.NotFound("this server has no notices")
	}
	return nil
}

func (a *Admin) listNotices(c *call) error {
	if err := a.noNotices(c); err != nil {
		return err
	}
	limit, err := c.limit()
	if err != nil {
		return err
	}
	after, page := c.query.Get("after"), noticePage{Notices: []noticeView{}}
	for _, n := range a.Notices.Current() {
		if n.Type > after && len(page.Notices) <= limit {
			page.Notices = append(page.Notices, noticeView(n))
		}
	}
	page.Notices, page.Next = cut(page.Notices, limit, func(n noticeView) string { return n.Type })
	return c.answer(http.StatusOK, page)
}

func (a *Admin) getNotice(c *call) error {
	if err := a.noNotices(c); err != nil {
		return err
	}
	n, err := a.Notices.Get(c.Context(), c.PathValue("type"))
	if err != nil {
		return noticeProblem(err)
	}
	return c.answer(http.StatusOK, noticeView(n))
}

// setNotice sets a notice, or another text for it; every QRI listener is told.
func (a *Admin) setNotice(c *call) error {
	if err := a.noNotices(c); err != nil {
		return err
	}
	var body noticeRequest
	if err := c.decode(&body); err != nil {
		return err
	}
	if body.Message == nil {
		return problem.BadRequest("message is missing: the text of the notice").On("message")
	}
	n, err := a.Notices.Set(c.Context(), c.PathValue("type"), *body.Message)
	if err != nil {
		return noticeProblem(err)
	}
	a.Logger.Info("notice set over the operator's listener", "type", n.Type, "by", c.who.String())
	return c.answer(http.StatusOK, noticeView(n))
}

// deleteNotice takes a notice away, and tells every QRI listener, also if it
// was not set.
func (a *Admin) deleteNotice(c *call) error {
	if err := a.noNotices(c); err != nil {
		return err
	}
	if err := a.Notices.Delete(c.Context(), c.PathValue("type")); err != nil {
		return noticeProblem(err)
	}
	a.Logger.Info("notice deleted over the operator's listener", "type", c.PathValue("type"), "by", c.who.String())
	return c.noContent()
}
