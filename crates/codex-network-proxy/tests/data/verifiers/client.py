"""Asks every `HOST PORT` after the authority's file for a page, and says for each whether its certificate is accepted."""

import socket
import ssl
import sys

context = ssl.create_default_context(cafile=sys.argv[1])
# What Python does by itself since 3.13.
context.verify_flags |= ssl.VERIFY_X509_STRICT
assert context.check_hostname and context.verify_mode == ssl.CERT_REQUIRED
for host, port in zip(sys.argv[2::2], sys.argv[3::2]):
    place = "::1" if ":" in host else "127.0.0.1"
    try:
        with socket.create_connection((place, int(port)), timeout=20) as plain:
            with context.wrap_socket(plain, server_hostname=host) as secure:
                secure.sendall(b"GET / HTTP/1.0\r\n\r\n")
                answer = b"".join(iter(lambda: secure.recv(4096), b""))
        assert answer.endswith(b"\r\n\r\nok"), answer
        print(host, "accepted")
    except (ssl.SSLError, ssl.CertificateError) as error:
        print(host, "refused:", error)
