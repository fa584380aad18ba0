// Clients that people use, against a backend of theirs: directly, and behind outboard. Both times they have
// to see the same. The official MCP client POSTs with `Accept: application/json, text/event-stream`; the
// other two read event streams by `fetch`, which unlike EventSource tells its page a failure's own status.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { CallToolResultSchema } from '@modelcontextprotocol/sdk/types.js';
import { createEventSource } from 'eventsource-client';
import { backend } from './support/backend.mjs';
import { launch, open } from './support/browser.mjs';
import { outboard } from './support/outboard.mjs';

let browser;
before(async () => { browser = await launch(); });
after(() => browser.close());

// ---- the backend -----------------------------------------------------------------------------

const STREAM = { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' };
const json = (response, status, value, headers = {}) =>
  response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(value));

/** Writes `events` with a second before each, and ends. */
async function slowly(response, events, before = 0) {
  await pause(before);
  response.writeHead(200, STREAM).flushHeaders();
  for (const event of events) {
    await pause(1000);
    response.write(event);
  }
  response.end();
}

const TOO_MANY = { error: 'too many', wait: 7 };
const BROKEN = { error: 'broken', trace: [1, 2, 3] };
const SLOW = ['id: 1\ndata: one\n\n', 'event: named\nid: 2\ndata: two\ndata: lines\n\n', ': comment\n\ndata: 三\n\n'];

/** What is asked by path alone, for the clients of `fetch`. */
function plain(request, response) {
  request.resume();
  switch (request.url) {
    case '/429': return json(response, 429, TOO_MANY, { 'Retry-After': '7' });
    case '/500': return json(response, 500, BROKEN);
    case '/202': return response.writeHead(202).end();
    case '/json': return json(response, 200, { fine: true });
    case '/slow': return slowly(response, SLOW);
    case '/late': return slowly(response, SLOW, 2500);
    default: return response.writeHead(404).end();
  }
}

/** A server of the Model Context Protocol, as small as its client lets it be. */
function mcp({ listen = (_request, response) => response.writeHead(405, { Allow: 'POST, DELETE' }).end() } = {}) {
  const tools = {
    'too many': (_id, response) => json(response, 429, TOO_MANY, { 'Retry-After': '7' }),
    broken: (_id, response) => json(response, 500, BROKEN),
    down: (_id, response) => response.writeHead(503, { 'Retry-After': '120' }).end('closed'),
    json: (id, response) => json(response, 200, result(id, 'as JSON')),
    'hangs up': (_id, response) => response.destroy(),
    slow: (id, response, token) => slowly(response, [
      ...[1, 2].map((progress) => message({ method: 'notifications/progress', params: { progressToken: token, progress, total: 3 } })),
      message(result(id, 'after seconds')),
    ]),
    late: (id, response) => slowly(response, [message(result(id, 'begun late'))], 2500),
    // It ends before it has answered; the client asks for the rest with the id that it has.
    'cut off': (id, response) => response.writeHead(200, STREAM).end(`id: place-${id}\nretry: 50\ndata:\n\n`),
  };
  return async (request, response) => {
    if (request.method === 'DELETE') return response.writeHead(200).end();
    if (request.method === 'GET') {
      const place = /^place-(\d+)$/.exec(request.headers['last-event-id'] ?? '');
      if (place) return slowly(response, [message(result(Number(place[1]), 'the rest'))]);
      return listen(request, response);
    }
    let text = '';
    for await (const piece of request) text += piece;
    const { id, method, params } = JSON.parse(text);
    if (method === 'initialize') {
      const { protocolVersion } = params;
      return json(response, 200, { jsonrpc: '2.0', id, result: { protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 'small', version: '1' } } },
        { 'Mcp-Session-Id': 'a-session' });
    }
    if (method === 'tools/call') return tools[params.name](id, response, params._meta?.progressToken);
    return response.writeHead(202).end();
  };
}

const result = (id, text) => ({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text }] } });
const message = (value) => `event: message\ndata: ${JSON.stringify({ jsonrpc: '2.0', ...value })}\n\n`;

// ---- the comparison --------------------------------------------------------------------------

// Early enough to be seen: what comes later than this finds its stream already open.
const CONFIG = '[stream]\nopen_after = "1s"\nkeep_alive = "500ms"\n';

/** What `client` sees of a backend that answers with `answer`, directly and behind outboard. */
async function both(t, answer, client, config = CONFIG) {
  const way = async (inFront) => {
    const site = await backend(t, answer);
    const seen = await client(await inFront(site));
    return { seen, asked: site.requests.map(({ method, url }) => `${method} ${url}`).sort() };
  };
  const [behind, directly] = await Promise.all([
    way(async (site) => (await outboard(t, site.url, { config })).url),
    way(async (site) => site.url),
  ]);
  assert.deepEqual(behind, directly);
  return behind;
}

/** The type alone: outboard says of a stream that it is UTF-8, as each is. */
const essence = (type) => type?.split(';')[0];

/** What tells a client something about an answer. */
function outer({ status, statusText, headers }) {
  const lines = [['content-type', essence(headers.get('content-type'))],
    ...['retry-after', 'mcp-session-id', 'allow'].map((name) => [name, headers.get(name)])];
  return { status, statusText, ...Object.fromEntries(lines.filter(([, value]) => value)) };
}

/** An MCP client that is connected; `seen` fills with what it hears of. */
async function connected(url, options = {}) {
  const seen = { answers: [], errors: [], heard: [] };
  const transport = new StreamableHTTPClientTransport(new URL('/mcp', url), {
    ...options,
    fetch: async (address, init) => {
      const response = await fetch(address, init);
      // Streams that it listens to for as long as it lives are told of by what arrives on them.
      if (init.method !== 'GET') seen.answers.push(outer(response));
      return response;
    },
  });
  const client = new Client({ name: 'test', version: '1' });
  client.onerror = (error) => seen.errors.push(error.message);
  client.fallbackNotificationHandler = async (notification) => { seen.heard.push(notification.params); };
  await client.connect(transport);
  return { client, transport, seen };
}

async function call(client, seen, name, options = {}) {
  try {
    const { content } = await client.callTool({ name }, CallToolResultSchema, options);
    seen.heard.push(content[0].text);
  } catch (error) {
    seen.heard.push({ code: error.code, message: error.message });
  }
}

// ---- the official MCP client -----------------------------------------------------------------

test('the MCP client sees the status, Retry-After and JSON of its own requests', async (t) => {
  const { seen } = await both(t, mcp(), async (url) => {
    const { client, transport, seen } = await connected(url);
    for (const name of ['too many', 'broken', 'down', 'json']) await call(client, seen, name);
    await transport.terminateSession();
    await client.close();
    return seen;
  });

  const type = 'application/json';
  assert.deepEqual(seen.answers.map(({ status }) => status), [200, 202, 429, 500, 503, 200, 200]);
  assert.deepEqual(seen.answers[2], { status: 429, statusText: 'Too Many Requests', 'content-type': type, 'retry-after': '7' });
  assert.equal(seen.answers[4]['retry-after'], '120');
  assert.deepEqual(seen.heard.map((heard) => heard.code ?? heard), [429, 500, 503, 'as JSON']);
  assert.match(seen.heard[0].message, /"wait":7/);
  assert.match(seen.heard[1].message, /"trace":\[1,2,3\]/);
});

test('the MCP client hears progress as it is made, and the answer of a stream that begins late', async (t) => {
  const { seen } = await both(t, mcp(), async (url) => {
    const { client, seen } = await connected(url);
    const moments = [];
    const onprogress = ({ progress }) => { seen.heard.push(progress); moments.push(Date.now()); };
    await call(client, seen, 'slow', { onprogress });
    // Each when it was written, a second after the one before: not both with the end.
    assert.ok(moments[1] - moments[0] > 500 && Date.now() - moments[1] > 500, `${moments} ${Date.now()}`);
    await call(client, seen, 'late');
    await client.close();
    return seen;
  });

  assert.deepEqual(seen.heard, [1, 2, 'after seconds', 'begun late']);
  assert.deepEqual(seen.errors, []);
});

test('the MCP client asks for the rest of a stream that was cut off, with the id that it has', async (t) => {
  const { seen, asked } = await both(t, mcp(), async (url) => {
    const { client, seen } = await connected(url);
    await call(client, seen, 'cut off');
    await client.close();
    return seen;
  });

  assert.deepEqual(seen.heard, ['the rest']);
  assert.equal(asked.filter((request) => request === 'GET /mcp').length, 2, 'its own stream, and the rest');
});

test('the MCP client hears what the server says by itself, after seconds of silence', async (t) => {
  const said = message({ method: 'notifications/said', params: { words: 'by itself' } });
  const listen = async (_request, response) => {
    await slowly(response, [': still there\n\n', ': still there\n\n', said], 1500);
  };
  const { seen } = await both(t, mcp({ listen }), async (url) => {
    const { client, seen } = await connected(url);
    for (let wait = 0; seen.heard.length === 0 && wait < 200; wait += 1) await pause(50);
    await client.close();
    return seen;
  });

  assert.deepEqual(seen.heard, [{ words: 'by itself' }]);
});

test('a stream that the MCP client listens to and that fails is asked for again, or fails as directly if the route says so', async (t) => {
  const failing = (_request, response) => json(response, 503, BROKEN, { 'Retry-After': '1' });
  const route = '[[event_route]]\npath = "/mcp"\non_failure = "pass"\n';
  const told = await both(t, mcp({ listen: failing }), async (url) => {
    const { client, seen } = await connected(url);
    for (let wait = 0; seen.errors.length === 0 && wait < 200; wait += 1) await pause(50);
    await client.close();
    return seen;
  }, route);
  assert.match(told.seen.errors[0], /Failed to open SSE stream/);

  // Without such a route a GET for an event stream alone is an EventSource's, which an error would end for good.
  let failures = 1;
  const said = message({ method: 'notifications/said', params: { words: 'well again' } });
  const site = await backend(t, mcp({ listen: (request, response) => {
    if (failures-- > 0) return failing(request, response);
    return response.writeHead(200, STREAM).write(said);
  } }));
  const { url } = await outboard(t, site.url);
  const { client, seen } = await connected(url);
  for (let wait = 0; seen.heard.length === 0 && wait < 200; wait += 1) await pause(50);
  await client.close();
  assert.deepEqual(seen.heard, [{ words: 'well again' }]);
  assert.deepEqual(seen.errors, []);
});

// ---- clients of fetch ------------------------------------------------------------------------

const ANSWERS = ['/429', '/500', '/202', '/json', '/slow', '/late'];

/** What `eventsource-client` sees of `path`, asked once. */
async function eventSourceClient(url, path, init) {
  const seen = { events: [] };
  await new Promise((resolve) => {
    const source = createEventSource({
      ...init,
      url: url + path,
      fetch: async (...request) => {
        const response = await fetch(...request);
        seen.answer = outer(response);
        if (!response.ok) seen.text = await response.clone().text();
        return response;
      },
      onMessage: ({ id, event, data }) => seen.events.push({ id, event, data }),
      onDisconnect: () => { source.close(); resolve(); },
    });
  });
  return seen;
}

test('eventsource-client sees of its POSTs what it sees directly', async (t) => {
  const init = { method: 'POST', body: '{}', headers: { Accept: 'application/json, text/event-stream' } };
  const { seen, asked } = await both(t, plain, async (url) =>
    Promise.all(ANSWERS.map((path) => eventSourceClient(url, path, init))));

  assert.deepEqual(seen.map(({ answer }) => answer.status), [429, 500, 202, 200, 200, 200]);
  assert.equal(seen[0].answer['retry-after'], '7');
  assert.deepEqual(JSON.parse(seen[1].text), BROKEN);
  assert.deepEqual(seen[4].events.map(({ id, event, data }) => [id, event, data]), [
    ['1', undefined, 'one'], ['2', 'named', 'two\nlines'], [undefined, undefined, '三'],
  ]);
  assert.deepEqual(seen[5].events, seen[4].events);
  assert.equal(asked.length, ANSWERS.length, 'nothing is asked twice');
});

test('eventsource-client gets the same events by GET, from scripts that begin at once and late', async (t) => {
  const { seen, asked } = await both(t, plain, async (url) => {
    const read = ['/slow', '/late'].map((path) => eventSourceClient(url, path, {}));
    return (await Promise.all(read)).map(({ events }) => events);
  });

  assert.deepEqual(seen.map((events) => events.length), [3, 3]);
  assert.deepEqual(asked, ['GET /late', 'GET /slow'], 'each script has run once');
});

test('fetch-event-source in Chromium sees of its POSTs what it sees directly', async (t) => {
  const folder = new URL('node_modules/@microsoft/fetch-event-source/lib/esm/', import.meta.url);
  const answer = async (request, response) => {
    const module = /^\/esm\/(\w+)/.exec(request.url);
    if (!module) return plain(request, response);
    response.setHeader('Content-Type', 'text/javascript');
    return response.end(await readFile(new URL(`${module[1]}.js`, folder)));
  };
  const { seen } = await both(t, answer, async (url) => {
    const page = await open(t, browser, url);
    return page.evaluate(async (paths) => {
      const { fetchEventSource } = await import('/esm/index');
      const ask = async (path) => {
        const seen = { events: [] };
        await fetchEventSource(path, {
          method: 'POST',
          headers: { Accept: 'application/json, text/event-stream' },
          async onopen(response) {
            const { status, headers } = response;
            const type = headers.get('content-type')?.split(';')[0];
            Object.assign(seen, { status, type, wait: headers.get('retry-after') });
            if (type !== 'text/event-stream') seen.text = await response.text();
            if (seen.text !== undefined) throw new Error('no stream');
          },
          onmessage: ({ id, event, data }) => seen.events.push({ id, event, data }),
          // Its own habit is to try again; that it was told the truth is what matters here.
          onerror: (error) => { throw error; },
        }).catch((error) => { seen.error = error.message; });
        return seen;
      };
      return Promise.all(paths.map(ask));
    }, ANSWERS);
  });

  assert.deepEqual(seen.map(({ status }) => status), [429, 500, 202, 200, 200, 200]);
  assert.equal(seen[0].wait, '7');
  assert.deepEqual(JSON.parse(seen[1].text), BROKEN);
  // This client makes an event of the blank line behind a comment, which is why ours have none.
  assert.deepEqual(seen[5].events.map(({ data }) => data), ['one', 'two\nlines', '', '三']);
});
