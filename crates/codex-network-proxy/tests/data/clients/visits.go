// Makes each visit `METHOD URL` that it is given with Go's net/http, and tells in a line of JSON what came of it, as
// visits.py does. The first argument is the version of HTTP, `1.1` or `2`. Both the proxy and whom to trust are found in
// the environment.
package main

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

type told struct {
	Status   int               `json:"status"`
	Error    string            `json:"error,omitempty"`
	Version  string            `json:"version"`
	Trailers map[string]string `json:"trailers"`
	Bytes    int64             `json:"bytes"`
	Sum      string            `json:"sha256"`
	Text     string            `json:"text"`
}

func main() {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	if os.Args[1] == "1.1" {
		// What net/http says to do in order to have no HTTP/2.
		transport.ForceAttemptHTTP2 = false
		transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	client := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	lines := json.NewEncoder(os.Stdout)
	for visits := os.Args[2:]; len(visits) > 1; visits = visits[2:] {
		answer, err := visit(client, visits[0], visits[1])
		if err != nil {
			_ = lines.Encode(map[string]string{"failed": err.Error()})
			return
		}
		_ = lines.Encode(answer)
	}
}

func visit(client *http.Client, method, url string) (*told, error) {
	var body io.Reader
	if method == "POST" {
		body = strings.NewReader("text")
	}
	request, err := http.NewRequest(method, url, body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Te", "trailers")
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	sum, text := sha256.New(), &beginning{}
	length, err := io.Copy(io.MultiWriter(sum, text), answer.Body)
	if err != nil {
		return nil, err
	}
	trailers := map[string]string{}
	for name := range answer.Trailer {
		trailers[strings.ToLower(name)] = answer.Trailer.Get(name)
	}
	version := fmt.Sprintf("%d.%d", answer.ProtoMajor, answer.ProtoMinor)
	return &told{
		Status:   answer.StatusCode,
		Error:    answer.Header.Get("x-proxy-error"),
		Version:  strings.TrimSuffix(version, ".0"),
		Trailers: trailers,
		Bytes:    length,
		Sum:      hex.EncodeToString(sum.Sum(nil)),
		Text:     string(text.bytes),
	}, nil
}

// Keeps the first bytes that are written to it.
type beginning struct{ bytes []byte }

func (b *beginning) Write(piece []byte) (int, error) {
	if room := 4000 - len(b.bytes); room > 0 {
		if room > len(piece) {
			room = len(piece)
		}
		b.bytes = append(b.bytes, piece[:room]...)
	}
	return len(piece), nil
}
