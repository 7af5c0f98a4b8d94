// Makes each visit `METHOD URL` that it is given with one of Node's HTTP clients, and tells in a line of JSON what came of
// it, as visits.py does:
//
//     node visits.js CLIENT METHOD URL METHOD URL ...
//
// `https` and `http2` are Node's own modules over a socket that CONNECT opened, as proxy agents use them; `fetch` is
// Node's with its own support for HTTPS_PROXY, or the package undici's where Node has none yet. All of them find whom to
// trust in the environment.
'use strict';
const crypto = require('crypto'), http = require('http'), http2 = require('http2'), https = require('https'), tls = require('tls');

const LIMIT = 30_000;

class Body {
  sum = crypto.createHash('sha256');
  bytes = 0;
  text = '';
  add(piece) {
    this.sum.update(piece);
    this.bytes += piece.length;
    if (this.text.length < 4000) this.text += Buffer.from(piece).toString();
  }
  tell(status, error, version, trailers) {
    return { status, error, version, trailers, bytes: this.bytes, sha256: this.sum.digest('hex'), text: this.text };
  }
}

// A socket to the origin of a URL through the proxy.
function tunnel(url) {
  const proxy = new URL(process.env.HTTPS_PROXY), authority = url.hostname + ':443';
  return new Promise((resolve, reject) => {
    const request = http.request({
      host: proxy.hostname, port: proxy.port, method: 'CONNECT', path: authority, headers: { host: authority },
    });
    request.on('connect', (response, socket) => {
      if (response.statusCode === 200) return resolve(socket);
      reject(new Error('CONNECT: ' + response.statusCode));
    });
    request.on('error', reject).end();
  });
}

async function withHttps(method, url) {
  const socket = await tunnel(url);
  return new Promise((resolve, reject) => {
    const options = { socket, servername: url.hostname, method, agent: false, headers: { te: 'trailers', connection: 'te' } };
    const request = https.request(url, options, response => {
      const body = new Body();
      response.on('data', piece => body.add(piece));
      response.on('end', () => resolve(
        body.tell(response.statusCode, response.headers['x-proxy-error'], response.httpVersion, response.trailers)));
      response.on('error', reject);
    });
    request.on('error', reject).end(method === 'POST' ? 'text' : undefined);
  });
}

// Offers nothing but HTTP/2.
async function withHttp2(method, url) {
  const socket = await tunnel(url);
  return new Promise((resolve, reject) => {
    const createConnection = () => tls.connect({ socket, servername: url.hostname, ALPNProtocols: ['h2'] });
    const session = http2.connect(url.origin, { createConnection });
    const body = new Body();
    let headers, trailers = {};
    session.on('error', reject);
    const stream = session.request({ ':method': method, ':path': url.pathname, te: 'trailers' }, { endStream: method !== 'POST' });
    stream.on('response', answer => { headers = answer; });
    stream.on('trailers', fields => { trailers = { ...fields }; });
    stream.on('data', piece => body.add(piece));
    stream.on('end', () => {
      session.close();
      resolve(body.tell(headers[':status'], headers['x-proxy-error'], '2', trailers));
    });
    stream.on('error', reject);
    if (method === 'POST') stream.end('text');
  });
}

// Both speak HTTP/1.1 through a proxy.
async function fetched(fetch, method, url, options) {
  const body = method === 'POST' ? 'text' : undefined;
  const answer = await fetch(url, { method, body, signal: AbortSignal.timeout(LIMIT), ...options });
  const read = new Body();
  if (answer.body) for await (const piece of answer.body) read.add(piece);
  return read.tell(answer.status, answer.headers.get('x-proxy-error') ?? undefined, '1.1');
}

function withFetch() {
  const isOld = Number(process.versions.node.split('.')[0]) < 24;
  if (!isOld) return (method, url) => fetched(fetch, method, url);
  try {
    const undici = require('undici'), dispatcher = new undici.EnvHttpProxyAgent();
    return (method, url) => fetched(undici.fetch, method, url, { dispatcher });
  } catch {
    return { missing: 'fetch reads HTTPS_PROXY since Node 24, and the package undici is not installed' };
  }
}

const CLIENTS = { https: () => withHttps, http2: () => withHttp2, fetch: withFetch };

async function main() {
  const [client, ...words] = process.argv.slice(2), visit = CLIENTS[client]();
  if (visit.missing) return console.log(JSON.stringify(visit));
  for (let place = 0; place + 1 < words.length; place += 2) {
    console.log(JSON.stringify(await visit(words[place], new URL(words[place + 1]))));
  }
}

main().then(() => process.exit(0), error => {
  const why = [error.name, error.code, error.message, error.cause?.code, error.cause?.message];
  console.log(JSON.stringify({ failed: why.filter(Boolean).join(' ') }));
  process.exit(0);
});
