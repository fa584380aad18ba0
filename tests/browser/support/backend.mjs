// A backend in this process that can be stopped and started again, and a wire that can be cut.

import { createServer } from 'node:http';
import { createServer as createListener, connect } from 'node:net';

const PAGE = '<!DOCTYPE html><meta charset="utf-8"><title>test</title><body></body>';

/** Serves an empty page at `/`, no icon, and what `answer` writes elsewhere. */
export async function backend(t, answer = () => {}) {
  let port = 0;
  let server;
  const requests = [];
  const run = () => new Promise((resolve) => {
    server = createServer((request, response) => {
      requests.push(request);
      if (request.url === '/') response.setHeader('Content-Type', 'text/html').end(PAGE);
      else if (request.url === '/favicon.ico') response.writeHead(404).end();
      else answer(request, response);
    }).listen(port, '127.0.0.1', () => {
      port = server.address().port;
      resolve();
    });
  });
  const stop = () => new Promise((resolve) => {
    server.close(resolve);
    server.closeAllConnections();
  });
  await run();
  t.after(stop);
  return { url: `http://127.0.0.1:${port}`, requests, start: run, stop };
}

/** Answers every request with a handoff to `channel`. */
export function handoff(channel, headers = {}) {
  return (_request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Outboard-Channel': channel, ...headers }).end();
  };
}

/** A wire to `address` that counts requests for event streams and can be cut. */
export async function wire(t, address) {
  const [host, port] = address.split(':');
  const open = new Set();
  const streams = [];
  const server = createListener((client) => {
    const upstream = connect(Number(port), host);
    open.add(client);
    client.on('data', (bytes) => {
      if (bytes.includes('text/event-stream')) streams.push(bytes.toString());
    });
    for (const [from, to] of [[client, upstream], [upstream, client]]) {
      from.pipe(to);
      from.on('error', () => to.destroy());
      from.on('close', () => { to.destroy(); open.delete(client); });
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = () => open.forEach((client) => client.resetAndDestroy());
  t.after(() => { server.close(); cut(); });
  return { url: `http://127.0.0.1:${server.address().port}`, cut, streams };
}
