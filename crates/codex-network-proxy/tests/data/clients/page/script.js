// Tells in the page what this browser could do: its style, its image, requests that read and write, and a WebSocket. The part
// of the address after `#` is a name for the paths, by which the origin knows this browser.
'use strict';

async function request(url, options) {
  const answer = await fetch(url, options);
  return { status: answer.status, error: answer.headers.get('x-proxy-error'), text: await answer.text() };
}

function socket(url) {
  return new Promise(resolve => {
    const socket = new WebSocket(url);
    socket.onopen = () => resolve('open');
    socket.onerror = () => resolve('failed');
  });
}

async function tell() {
  const name = location.hash.slice(1), element = document.getElementById('told');
  const told = { color: getComputedStyle(element).color, image: document.images[0].naturalWidth };
  told.get = await request('/echo/' + name);
  told.post = await request('/echo/' + name, { method: 'POST', body: 'text' });
  socket('wss://' + location.host + '/socket/' + name).then(end => { told.socket = end; });
  // A browser without a window takes requests for work that is still to be done, and a socket for none.
  for (let tries = 0; told.socket === undefined && tries < 500; tries++) await fetch('/files/page/style.css', { cache: 'no-store' });
  told.hops = performance.getEntriesByName(new URL('/echo/' + name, location).href).map(entry => entry.nextHopProtocol);
  element.textContent = JSON.stringify(told);
}

addEventListener('load', () => tell().catch(error => {
  document.getElementById('told').textContent = JSON.stringify({ failed: String(error) });
}));
