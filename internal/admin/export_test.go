package admin

import "reflect"

// RouteView is a route as tests see it.
type RouteView struct {
	Method, Path string
	Query        []string
}

// Routes lists the management API and the paths beside it that openapi.json
// describes.
func (a *Admin) Routes() []RouteView {
	views := []RouteView{{"GET", "/livez", nil}, {"GET", "/readyz", nil}, {"GET", "/metrics", nil}}
	for _, rt := range a.routes() {
		views = append(views, RouteView{rt.method, rt.path, rt.query})
	}
	return views
}

// Views are the types of requests and answers, by the names that openapi.json
// has for them. Settings that are patched are raw in Go and so are not
// compared any deeper.
func Views() map[string]reflect.Type {
	return map[string]reflect.Type{
		"Check":           reflect.TypeFor[checkView](),
		"Ready":           reflect.TypeFor[readyView](),
		"Status":          reflect.TypeFor[statusView](),
		"Settings":        reflect.TypeFor[settingsView](),
		"Epoch":           reflect.TypeFor[epochView](),
		"Domain":          reflect.TypeFor[domainView](),
		"DomainPage":      reflect.TypeFor[domainPage](),
		"CreateDomain":    reflect.TypeFor[createRequest](),
		"PatchDomain":     reflect.TypeFor[patchRequest](),
		"NewEpoch":        reflect.TypeFor[begunView](),
		"TopicPage":       reflect.TypeFor[topicPage](),
		"Key":             reflect.TypeFor[keyView](),
		"KeyPage":         reflect.TypeFor[keyPage](),
		"CreateKey":       reflect.TypeFor[keyRequest](),
		"Notice":          reflect.TypeFor[noticeView](),
		"NoticePage":      reflect.TypeFor[noticePage](),
		"SetNotice":       reflect.TypeFor[noticeRequest](),
		"PubSubKey":       reflect.TypeFor[pubsubKeyView](),
		"PubSubKeyPage":   reflect.TypeFor[pubsubKeyPage](),
		"CreatePubSubKey": reflect.TypeFor[pubsubKeyRequest](),
		"Connection":      reflect.TypeFor[connView](),
		"Subscription":    reflect.TypeFor[subscriptionView](),
		"ConnectionPage":  reflect.TypeFor[connPage](),
		"App":             reflect.TypeFor[appView](),
		"AppPage":         reflect.TypeFor[appPage](),
		"CreateApp":       reflect.TypeFor[appRequest](),
		"Client":          reflect.TypeFor[clientView](),
		"ClientPage":      reflect.TypeFor[clientPage](),
		"CreateClient":    reflect.TypeFor[clientRequest](),
	}
}

// What tests need to know of bounds.
const (
	MaxAttempts   = maxAttempts
	MaxClients    = maxClients
	AttemptWindow = attemptWindow
	CheckFresh    = checkFresh
)
