// What a page with an EventSource lives through: Chromium, the real outboard, a backend that
// hands clients over.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { backend, handoff, wire } from './support/backend.mjs';
import { data, heard, launch, listen, open, state, states } from './support/browser.mjs';
import { outboard } from './support/outboard.mjs';

let browser;
before(async () => { browser = await launch(); });
after(() => browser.close());

// Browsers wait three seconds before they come back; the tests need not.
const SOON = { 'Outboard-Retry': '100' };

test('events arrive while the page is open, each before the next is published', async (t) => {
  const site = await backend(t, handoff('news', SOON));
  const proxy = await outboard(t, site.url);
  const page = await open(t, browser, proxy.url);
  await listen(page, '/events');
  await state(page, 'open');

  for (let number = 1; number <= 10; number += 1) {
    const [reply] = await proxy.publish('news', `event ${number}`);
    assert.match(reply, /^ok \S+ 1 accepted$/);
    const events = await heard(page, number);
    assert.equal(events.at(-1).data, `event ${number}`);
    assert.equal(events.at(-1).id, reply.split(' ')[1]);
  }
});

test('Chinese, several lines, blank lines and a name arrive as they were published', async (t) => {
  const site = await backend(t, handoff('news', SOON));
  const proxy = await outboard(t, site.url);
  const page = await open(t, browser, proxy.url);
  await listen(page, '/events');
  await state(page, 'open');

  await proxy.frames('channel: news\ndata: 你好，世界\ndata:\ndata:  第三行 🎉\n\n');
  await proxy.frames('channel: news\r\nevent: progress\r\ndata: 50\r\nid: my-own-7\r\n\r\n');

  const events = await heard(page, 2);
  assert.deepEqual(events.map(({ name, data }) => [name, data]), [
    ['message', '你好，世界\n\n 第三行 🎉'],
    ['progress', '50'],
  ]);
  assert.equal(events[1].id, 'my-own-7');
});

test('a browser that is cut off comes back with nothing lost and nothing doubled', async (t) => {
  const site = await backend(t, handoff('news', SOON));
  const proxy = await outboard(t, site.url);
  const line = await wire(t, proxy.address);
  const page = await open(t, browser, line.url);
  await listen(page, '/events');
  await state(page, 'open');
  const expected = [];
  const publish = async () => {
    expected.push(`event ${expected.length + 1}`);
    await proxy.publish('news', expected.at(-1));
  };

  // Where it was is the id of an event it has heard: before the first there is none to come back with.
  await publish();
  await heard(page, 1);
  for (let cut = 1; cut <= 5; cut += 1) {
    await publish();
    await publish();
    line.cut();
    await publish();
    await state(page, 'open', cut + 1);
    await publish();
  }

  assert.deepEqual(data(await heard(page, expected.length)), expected);
});

test('a closed channel ends the EventSource for good', async (t) => {
  const site = await backend(t, handoff('job-42', SOON));
  const proxy = await outboard(t, site.url);
  const line = await wire(t, proxy.address);
  const page = await open(t, browser, line.url);
  await listen(page, '/events');
  await state(page, 'open');

  await proxy.frames('channel: job-42\ndata: 100\nclose:\n\n');

  await state(page, 'closed');
  assert.deepEqual(data(await heard(page, 1)), ['100']);
  assert.equal(await page.evaluate(() => window.source.readyState), 2);
  assert.equal(line.streams.length, 2, 'one stream, and one request that was answered 204');
});

test('a restart of the backend does not touch the stream', async (t) => {
  const site = await backend(t, handoff('news', SOON));
  const proxy = await outboard(t, site.url);
  const page = await open(t, browser, proxy.url);
  await listen(page, '/events');
  await state(page, 'open');

  await site.stop();
  await proxy.publish('news', 'while it is down');
  await heard(page, 1);
  await site.start();
  await proxy.publish('news', 'when it is back');

  assert.deepEqual(data(await heard(page, 2)), ['while it is down', 'when it is back']);
  assert.deepEqual(await states(page), ['open'], 'opened once, and no error');
});

test('a page and its event source can have the same URL', async (t) => {
  const site = await backend(t, (request, response) => {
    if (request.headers.accept === 'text/event-stream') return handoff('news', SOON)(request, response);
    return response.setHeader('Content-Type', 'text/html').end('<title>the page</title>');
  });
  const proxy = await outboard(t, site.url);
  const page = await open(t, browser, `${proxy.url}/same`);
  assert.equal(await page.title(), 'the page');

  await listen(page, '');
  await state(page, 'open');
  await proxy.publish('news', 'from the same URL');

  assert.deepEqual(data(await heard(page, 1)), ['from the same URL']);
});

test('a backend that is down when the page connects is waited for', async (t) => {
  const site = await backend(t, handoff('news', SOON));
  const proxy = await outboard(t, site.url);
  const page = await open(t, browser, proxy.url);
  await site.stop();

  await listen(page, '/events');
  await state(page, 'connecting');
  await site.start();
  await proxy.publish('news', 'while nobody listened');

  // The browser comes back by itself; a 502 would have closed its EventSource for ever.
  assert.deepEqual(data(await heard(page, 1)), ['while nobody listened']);
  assert.ok(!(await states(page)).includes('closed'));
});

test('after a restart of outboard the page is told of the gap, and goes on', async (t) => {
  const site = await backend(t, handoff('news', SOON));
  const proxy = await outboard(t, site.url);
  const page = await open(t, browser, proxy.url);
  await listen(page, '/events');
  await state(page, 'open');
  const [before] = await proxy.publish('news', 'before');
  await heard(page, 1);

  await proxy.crashAndRestart();
  await state(page, 'open', 2);
  await proxy.publish('news', 'after');

  const events = await heard(page, 3);
  assert.deepEqual(events.map((event) => event.name), ['message', 'outboard.gap', 'message']);
  const gap = JSON.parse(events[1].data);
  assert.equal(gap.requested, before.split(' ')[1]);
  assert.ok(gap.reason, 'the gap says why');
  assert.equal(events[2].data, 'after');
});

test('two windows hear the same, and the publisher is told there are two', async (t) => {
  const site = await backend(t, handoff('news', SOON));
  const proxy = await outboard(t, site.url);
  const windows = [await open(t, browser, proxy.url), await open(t, browser, proxy.url)];
  for (const page of windows) {
    await listen(page, '/events');
    await state(page, 'open');
  }

  const [reply] = await proxy.publish('news', 'to all');

  assert.match(reply, /^ok \S+ 2 accepted$/);
  for (const page of windows) assert.deepEqual(data(await heard(page, 1)), ['to all']);
});

test('a stream the backend writes itself reaches the page as it is written', async (t) => {
  let own;
  const site = await backend(t, (_request, response) => {
    own = response;
    response.writeHead(200, { 'Content-Type': 'text/event-stream' }).write('data: one\n\n');
  });
  const proxy = await outboard(t, site.url);
  const page = await open(t, browser, proxy.url);
  await listen(page, '/stream');

  await heard(page, 1);
  own.write('data: two\n\n');

  assert.deepEqual(data(await heard(page, 2)), ['one', 'two']);
  const gone = new Promise((resolve) => { own.on('close', resolve); });
  await page.evaluate(() => window.source.close());
  await gone;
});
