// Asks every `HOST PORT` after the authority's file for a page, and says for each whether its certificate is accepted.
'use strict';
const fs = require('fs');
const tls = require('tls');
const [authority, ...pairs] = process.argv.slice(2);
const ca = fs.readFileSync(authority);

function ask(host, port) {
  return new Promise((resolve) => {
    const place = host.includes(':') ? '::1' : '127.0.0.1';
    const isAddress = require('net').isIP(host) !== 0;
    const socket = tls.connect({ host: place, port, ca, servername: isAddress ? undefined : host });
    let answer = '';
    socket.on('secureConnect', () => socket.write('GET / HTTP/1.0\r\n\r\n'));
    socket.on('data', (data) => { answer += data; });
    socket.on('end', () => resolve(`${host} ${answer.endsWith('\r\n\r\nok') ? 'accepted' : 'answered ' + answer}`));
    socket.on('error', (error) => resolve(`${host} refused: ${error.code} ${error.message}`));
  });
}

(async () => {
  for (let place = 0; place < pairs.length; place += 2) {
    console.log(await ask(pairs[place], Number(pairs[place + 1])));
  }
})();
