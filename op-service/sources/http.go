package sources

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// maxHeaderBytes is how large the headers of an HTTP answer may be.
const maxHeaderBytes = 64 << 10

// httpTransport carries calls over HTTP/1.1: of an HTTP/2 connection neither headers nor control frames would be under
// the limits of this package. It follows no redirects: they would carry the configured headers to a place that nobody
// configured. It is safe for concurrent use.
type httpTransport struct {
	url     string
	headers http.Header
	limit   int64
	client  *http.Client
	base    *http.Transport
}

// newHTTPTransport makes a transport whose answers, decompressed, are limit bytes at most. Neither dialling nor a TLS
// handshake lasts longer than timeout, also when the call that began it is over.
func newHTTPTransport(url string, headers http.Header, timeout time.Duration, limit int64, maxConns int) *httpTransport {
	dialer := &net.Dialer{Timeout: timeout}
	base := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    timeout,
		MaxConnsPerHost:        maxConns,
		MaxIdleConnsPerHost:    maxConns,
		MaxResponseHeaderBytes: maxHeaderBytes,
		IdleConnTimeout:        90 * time.Second,
	}
	return &httpTransport{
		url: url, headers: headers, limit: limit, base: base,
		client: &http.Client{
			Transport:     base,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// call implements transport. The id of an answer does not matter: there is one to each request.
func (t *httpTransport) call(ctx context.Context, c call) (answer, error) {
	body, err := c.encode()
	if err != nil {
		return answer{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for key, values := range t.headers {
		request.Header[key] = values
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	// Not sent: it allows another try on a new connection where the source has closed an idle one.
	request.Header["Idempotency-Key"] = nil
	response, err := t.client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode > 299 {
		page, _ := io.ReadAll(io.LimitReader(response.Body, maxErrorText+1)) // as far as it comes
		return answer{}, &statusError{code: response.StatusCode, page: page}
	}
	data, err := io.ReadAll(&limitedReader{reader: response.Body, left: t.limit})
	if err != nil {
		return answer{}, err
	}
	_, got, err := decodeAnswer(data)
	if err != nil {
		return answer{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return got, nil
}

// close implements transport.
func (t *httpTransport) close() { t.base.CloseIdleConnections() }

// limitedReader fails with errTooLarge instead of passing on more than it has left.
type limitedReader struct {
	reader io.Reader
	left   int64
}

func (r *limitedReader) Read(p []byte) (int, error) {
	if r.left < 0 {
		return 0, errTooLarge
	}
	// One byte more than is left tells an answer that just fits from one that does not.
	if int64(len(p)) > r.left+1 {
		p = p[:r.left+1]
	}
	n, err := r.reader.Read(p)
	if r.left -= int64(n); r.left < 0 {
		return n - 1, errTooLarge
	}
	return n, err
}
