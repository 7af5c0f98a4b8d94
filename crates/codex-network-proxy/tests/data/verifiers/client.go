// Asks every `HOST PORT` after the authority's file for a page, and says for each whether its certificate is accepted.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

func main() {
	authority, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		panic("the authority's file holds no certificate")
	}
	for pairs := os.Args[2:]; len(pairs) > 1; pairs = pairs[2:] {
		fmt.Println(pairs[0], ask(pairs[0], pairs[1], roots))
	}
}

func ask(host, port string, roots *x509.CertPool) string {
	place := "127.0.0.1"
	if strings.Contains(host, ":") {
		place = "::1"
	}
	dialer := &net.Dialer{Timeout: 20 * time.Second}
	config := &tls.Config{RootCAs: roots, ServerName: host}
	connection, err := tls.DialWithDialer(dialer, "tcp", net.JoinHostPort(place, port), config)
	if err != nil {
		return "refused: " + err.Error()
	}
	defer connection.Close()
	if _, err := io.WriteString(connection, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return "failed: " + err.Error()
	}
	answer, err := io.ReadAll(connection)
	if err != nil {
		return "failed: " + err.Error()
	}
	if !strings.HasSuffix(string(answer), "\r\n\r\nok") {
		return "answered " + string(answer)
	}
	return "accepted"
}
