package httpapi

import (
	"html/template"
	"net/http"
)

var frontPage = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Crier</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 3rem auto; padding: 0 1rem; color: #1c1c1c; background: #fdfdfb }
pre { background: #f1f0ea; padding: .8rem 1rem; overflow-x: auto; border-radius: 4px }
h1 { margin-bottom: 0 }
.version { color: #777; margin-top: 0 }
@media (prefers-color-scheme: dark) { body { color: #e6e6e6; background: #1b1b1a } pre { background: #2a2a28 } .version { color: #999 } }
</style>
<h1>Crier</h1>
<p class="version">{{.Version}}</p>
<p>A push server. A topic is a URL: <code>POST</code> to it to say something, <code>GET</code> it to listen.</p>
<p>Listen in one terminal:</p>
<pre>curl -N {{.Token}}-H 'Accept: text/event-stream' {{.Base}}/t/main/hello</pre>
<p>Say something in another:</p>
<pre>curl {{.Token}}-d 'hello, world' {{.Base}}/t/main/hello</pre>
<p>Read what was said before, as a page of JSON:</p>
<pre>curl {{.Token}}{{.Base}}/t/main/hello</pre>
{{if .Closed}}<p>This server is closed: everything needs a key (<code>crier key create</code>) or a JWT.</p>
{{else}}<p>This server is open: everybody who reaches it may publish and listen. The first key closes it (<code>crier key create</code>).</p>
{{end}}</html>
`))

// page is GET /: what this is, and lines that work when copied.
func (a *API) page(w http.ResponseWriter, r *http.Request) {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	view := struct {
		Version, Base, Token string
		Closed               bool
	}{Version: a.Version, Base: scheme + "://" + r.Host, Closed: !a.Access.Open()}
	if view.Closed {
		view.Token = `-H "Authorization: Bearer $CRIER_TOKEN" `
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	if err := frontPage.Execute(w, view); err != nil {
		a.Logger.Debug("page not written", "error", err)
	}
}
