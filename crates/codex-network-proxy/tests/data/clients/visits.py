"""Makes each visit `METHOD URL` that it is given with one of Python's HTTP clients, and tells in a line of JSON what came of it.

    visits.py CLIENT METHOD URL METHOD URL ...

A client is used as its own documentation says, and finds the proxy and whom to trust in the environment. Every line has
`status`, `error` (the field `x-proxy-error`), `sha256` and `bytes` of the body, and `text`, its beginning; `version` where
the client knows which version of HTTP was spoken. What fails is told as `failed`.
"""

import hashlib
import json
import sys

LIMIT = 30
# For a body that must not be held in memory.
PIECE = 65536


class Body:
    def __init__(self):
        self.sum, self.bytes, self.text = hashlib.sha256(), 0, b""

    def add(self, piece):
        self.sum.update(piece)
        self.bytes += len(piece)
        self.text += piece[: max(0, 4000 - len(self.text))]

    def tell(self, status, error, version=None):
        text = self.text.decode(errors="replace")
        return dict(
            status=status, error=error, version=version, bytes=self.bytes, sha256=self.sum.hexdigest(), text=text
        )


def urllib(visits):
    import urllib.error
    import urllib.request

    for method, url in visits:
        data = b"text" if method == "POST" else None
        request = urllib.request.Request(url, data=data, method=method)
        try:
            answer = urllib.request.urlopen(request, timeout=LIMIT)
        except urllib.error.HTTPError as error:
            answer = error
        body = Body()
        for piece in iter(lambda: answer.read(PIECE), b""):
            body.add(piece)
        yield body.tell(answer.status, answer.headers["x-proxy-error"], "1.1")


def requests(visits):
    import requests

    with requests.Session() as session:
        for method, url in visits:
            data = "text" if method == "POST" else None
            with session.request(method, url, data=data, stream=True, timeout=LIMIT) as answer:
                body = Body()
                for piece in answer.iter_content(PIECE):
                    body.add(piece)
            yield body.tell(answer.status_code, answer.headers.get("x-proxy-error"), "1.1")


def httpx(visits, http2=False):
    import importlib.util
    import os

    # Without socksio httpx stops at the sight of a SOCKS proxy, whatever the URL.
    if importlib.util.find_spec("socksio") is None:
        os.environ.pop("ALL_PROXY", None)
        os.environ.pop("all_proxy", None)
    import httpx

    with httpx.Client(http2=http2, timeout=LIMIT) as client:
        for method, url in visits:
            content = "text" if method == "POST" else None
            with client.stream(method, url, content=content) as answer:
                body = Body()
                for piece in answer.iter_bytes():
                    body.add(piece)
            version = answer.http_version.removeprefix("HTTP/").removesuffix(".0")
            yield body.tell(answer.status_code, answer.headers.get("x-proxy-error"), version)


def httpx_http2(visits):
    import h2  # noqa: F401, which httpx needs, and would miss only later

    return httpx(visits, http2=True)


def aiohttp(visits):
    import asyncio

    import aiohttp

    async def fetch():
        told = []
        limit = aiohttp.ClientTimeout(total=LIMIT)
        async with aiohttp.ClientSession(trust_env=True, timeout=limit) as session:
            for method, url in visits:
                data = "text" if method == "POST" else None
                async with session.request(method, url, data=data) as answer:
                    body = Body()
                    async for piece in answer.content.iter_chunked(PIECE):
                        body.add(piece)
                    told.append(body.tell(answer.status, answer.headers.get("x-proxy-error"), "1.1"))
        return told

    return asyncio.run(fetch())


def main():
    client = globals()[sys.argv[1]]
    words = sys.argv[2:]
    try:
        for told in client(list(zip(words[::2], words[1::2]))):
            print(json.dumps(told), flush=True)
    except ModuleNotFoundError as error:
        print(json.dumps(dict(missing=str(error))))
    except Exception as error:
        print(json.dumps(dict(failed=f"{type(error).__name__}: {error}")))


main()
