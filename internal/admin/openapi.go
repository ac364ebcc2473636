package admin

import (
	_ "embed"
	"net/http"
)

// openAPI describes both listeners; a test holds it to the routes and to what
// they answer.
//
//go:embed openapi.json
var openAPI []byte

func (a *Admin) getOpenAPI(c *call) error {
	c.w.Header().Set("Content-Type", "application/vnd.oai.openapi+json;version=3.1")
	c.w.WriteHeader(http.StatusOK)
	if c.Method != http.MethodHead {
		_, _ = c.w.Write(openAPI) // a client that is gone is nobody to tell
	}
	return nil
}
