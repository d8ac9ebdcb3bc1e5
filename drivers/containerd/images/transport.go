package images

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// onlyRegistries refuses the answers of servers that are no registries, such as the
// login page of a proxy.
type onlyRegistries struct{ next http.RoundTripper }

func (o onlyRegistries) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := o.next.RoundTrip(r)
	if err != nil || answer.StatusCode/100 != 2 && answer.StatusCode != http.StatusNotFound {
		return answer, err
	}
	form, _, _ := strings.Cut(answer.Header.Get("Content-Type"), ";")
	page := form == "text/html" || form == "text/plain" && answer.StatusCode == http.StatusOK && strings.Contains(r.URL.Path, "/manifests/")
	if !page {
		return answer, nil
	}
	text := fmt.Sprintf("%s answers with a page of type %s (%s), as no registry does (check the name of the registry; a proxy may ask for a login)",
		r.URL.Host, form, answer.Status)
	return nil, errors.Join(&unusableError{text}, answer.Body.Close())
}
