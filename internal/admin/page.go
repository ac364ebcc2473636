package admin

import "net/http"

// page says what this is and nothing of what is in it, since it is there for
// everybody who reaches the listener.
const page = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Crier: operator's listener</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 3rem auto; padding: 0 1rem; color: #1c1c1c; background: #fdfdfb }
pre { background: #f1f0ea; padding: .8rem 1rem; overflow-x: auto; border-radius: 4px }
li { margin: .3rem 0 }
@media (prefers-color-scheme: dark) { body { color: #e6e6e6; background: #1b1b1a } a { color: #9cc4ff } pre { background: #2a2a28 } }
</style>
<h1>Crier</h1>
<p>This is the operator's listener of a push server. Messages are published and heard elsewhere, on its public listener.</p>
<ul>
<li><a href="/readyz">/readyz</a> whether it can do its work, and if not why</li>
<li><a href="/livez">/livez</a> whether the process lives</li>
<li><a href="/metrics">/metrics</a> for Prometheus</li>
<li>/v1/ the management API: status, domains, topics, keys, apps, clients, connections; /v1/openapi.json describes it</li>
<li>/debug/pprof/ profiles of the process</li>
</ul>
<p>The last two want the operator's token, which is in the file <code>admin-token</code> of the data directory unless it was given; a key that grants manage reaches what its patterns contain.</p>
<pre>curl -H "Authorization: Bearer $CRIER_ADMIN_TOKEN" http://127.0.0.1:8081/v1/status</pre>
</html>
`

func (a *Admin) frontPage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write([]byte(page))
}
