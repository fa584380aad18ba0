// A site whose TLS ends in front of it, in Chromium: nginx with HTTP/2, then Apache, with outboard between
// them and without it. Both times it has to be the same. What the site hears of its clients without a
// browser is in tests/who_asks.rs, with the same configuration.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { launch } from './support/browser.mjs';
import { tlsNginx } from './support/nginx.mjs';
import { outboard, prepare } from './support/outboard.mjs';
import { DEADLINE } from './support/process.mjs';
import { legacySite, repository } from './support/site.mjs';

let browser;
before(async () => { browser = await launch(); });
after(() => browser.close());

const read = (path) => readFile(join(repository, 'tests', path), 'utf8');
const INSIDE = '#!/bin/sh\nprintf \'Content-Type: text/plain\\n\\n\'\necho "$REMOTE_ADDR $HTTPS"\n';

/** nginx in front of the site: with outboard between them, or without. */
async function chain(t, withOutboard) {
  const place = await prepare();
  const files = {
    'account.php': await read('browser/account/account.php'),
    '.user.ini': await read('browser/account/user.ini'),
    'inside.sh': INSIDE,
  };
  const site = await legacySite(t, place.socket, { more: await read('support/behind_tls.conf'), files });
  const config = '[proxy]\ntrusted_proxies = ["127.0.0.1"]\n';
  return tlsNginx(t, withOutboard ? (await outboard(t, site.url, { place, config })).url : site.url);
}

/** A window of somebody at `address`. */
async function visitor(t, address) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, extraHTTPHeaders: { 'X-Forwarded-For': address } });
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(DEADLINE);
  return { context, page };
}

/** What `visit` sees with outboard and without it; the port of nginx, which differs, is left out. */
async function both(t, visit) {
  const seen = await Promise.all([true, false].map(async (withOutboard) => {
    const nginx = await chain(t, withOutboard);
    const text = JSON.stringify(await visit(nginx.url));
    return JSON.parse(text.replaceAll(new URL(nginx.url).host, 'HOST'));
  }));
  assert.deepEqual(seen[0], seen[1], 'with outboard, and without');
  return seen[0];
}

const shown = async (page) => JSON.parse(await page.locator('#seen').innerText());

async function logIn(page, url, user) {
  await page.goto(`${url}/account.php`);
  await page.locator('input[name=user]').fill(user);
  await page.locator('#in').click();
  await page.waitForURL('**/account.php?welcome');
}

test('a site that sends everybody to https does not loop, and knows address, scheme and host', async (t) => {
  const seen = await both(t, async (url) => {
    const { page } = await visitor(t, '192.0.2.7');
    const redirects = [];
    page.on('response', (response) => { if (response.status() >= 300) redirects.push(response.url()); });
    await page.goto(`${url}/account.php`);
    const protocol = await page.evaluate(() => performance.getEntriesByType('navigation')[0].nextHopProtocol);
    return { protocol, seen: await shown(page), address: page.url(), redirects };
  });

  assert.deepEqual(seen, { protocol: 'h2', seen: [null, '192.0.2.7', 'on', 'HOST', ''], address: 'https://HOST/account.php', redirects: [] });
});

test('a log in by a form redirects, and its cookie is kept and sent', async (t) => {
  const seen = await both(t, async (url) => {
    const { context, page } = await visitor(t, '192.0.2.7');
    const answers = [];
    page.on('response', async (response) => answers.push([response.request().method(), response.status(), response.headers().location]));
    await logIn(page, url, 'Jörg & Søn');
    const [cookie] = await context.cookies();
    await page.reload();
    return { answers, seen: await shown(page), address: page.url(), cookie: [cookie.name, cookie.secure, cookie.httpOnly, cookie.sameSite] };
  });

  assert.deepEqual(seen.answers, [['GET', 200, null], ['POST', 303, 'https://HOST/account.php?welcome'], ['GET', 200, null], ['GET', 200, null]]);
  assert.deepEqual(seen.seen, ['Jörg & Søn', '192.0.2.7', 'on', 'HOST', 'welcome']);
  assert.deepEqual(seen.cookie, ['PHPSESSID', true, true, 'Lax']);
});

test('a folder for some addresses lets in whom it let in, and nobody else', async (t) => {
  const seen = await both(t, async (url) => Promise.all(['192.0.2.8', '198.51.100.1'].map(async (address) => {
    const { page } = await visitor(t, address);
    const response = await page.goto(`${url}/inside.sh`);
    return [response.status(), response.ok() ? await response.text() : ''];
  })));

  assert.deepEqual(seen, [[200, '192.0.2.8 on\n'], [403, '']]);
});

test('a form with a file of 5 MB arrives as it was sent', async (t) => {
  const bytes = Buffer.alloc(5_000_000);
  for (let index = 0; index < bytes.length; index += 1) bytes[index] = (index * 7919) >> 5;
  const seen = await both(t, async (url) => {
    const { page } = await visitor(t, '192.0.2.7');
    await logIn(page, url, 'anna');
    await page.locator('input[name=note]').fill('Grüße, 你好');
    await page.locator('input[name=file]').setInputFiles({ name: 'Übung.bin', mimeType: 'application/octet-stream', buffer: bytes });
    await page.locator('#send').click();
    await page.waitForURL('**/account.php');
    return shown(page);
  });

  assert.deepEqual(seen, [0, 'Übung.bin', bytes.length, createHash('sha256').update(bytes).digest('hex'), 'Grüße, 你好']);
});

test('an event stream arrives event by event with the log in of its page, and a stranger is refused', async (t) => {
  const hear = (page) => page.evaluate(() => new Promise((resolve) => {
    const seen = { events: [], states: [], paused: true };
    let last = performance.now();
    const source = new EventSource('/account.php?stream');
    source.onopen = () => seen.states.push('open');
    source.onmessage = ({ data }) => {
      // Each when it was written, not all of them with the end.
      if (seen.events.length > 0) seen.paused &&= performance.now() - last > 150;
      last = performance.now();
      seen.events.push(data);
    };
    source.onerror = () => {
      seen.states.push(['connecting', 'open', 'closed'][source.readyState]);
      source.close();
      resolve(seen);
    };
  }));
  const seen = await both(t, async (url) => {
    const { page } = await visitor(t, '192.0.2.7');
    await page.goto(`${url}/account.php`);
    const stranger = await hear(page);
    await logIn(page, url, 'anna');
    return { stranger, anna: await hear(page) };
  });

  assert.deepEqual(seen.stranger, { events: [], states: ['closed'], paused: true });
  assert.deepEqual(seen.anna, { events: ['1 for anna', '2 for anna', '3 for anna'], states: ['open', 'connecting'], paused: true });
});
