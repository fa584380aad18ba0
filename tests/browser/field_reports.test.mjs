// The field reports, lived through in Chromium: Apache with mod_cgid and its scripts behind
// outboard, and the pages' own EventSource code.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { data, heard, launch, listen, open, state } from './support/browser.mjs';
import { outboard, prepare } from './support/outboard.mjs';
import { legacySite } from './support/site.mjs';

let browser;
before(async () => { browser = await launch(); });
after(() => browser.close());

async function legacy(t, config = '') {
  const place = await prepare();
  const site = await legacySite(t, place.socket);
  return { ...(await outboard(t, site.url, { place, config })), openGate: site.openGate };
}

const appended = (page, text) => page.waitForFunction((text) => document.body.innerText.includes(text), text);

test('R0: every open page hears the voice from the background', async (t) => {
  const site = await legacy(t);
  const page = await open(t, browser, `${site.url}/index.html`);
  await listen(page, '/timer-sse.tcl');

  assert.deepEqual(data(await heard(page, 2)), ['Hi There!', 'Start time is: 12:00']);
  await fetch(`${site.url}/tick.tcl?12:05`);

  assert.equal((await heard(page, 3)).at(-1).data, 'A voice from the background says: it is now 12:05!');
});

test('R1: a job reports to the page that started it, and the page stops by itself', async (t) => {
  const site = await legacy(t);
  const page = await open(t, browser, `${site.url}/job.sh`);

  await appended(page, 'finish 2: ... (over two lines)');
  await site.openGate();
  await appended(page, 'finish 4: ...');

  // No `__CLOSE_SSE__` in the page's script: the closed channel stops it.
  await page.waitForFunction(() => window.sse.readyState === 2);
  const items = await page.locator('li').allInnerTexts();
  assert.deepEqual(items, ['finish 1: ... (Gustaf)', 'finish 2: ... (over two lines)', 'finish 3: ... (完成)', 'finish 4: ...']);
});

test('R2: a number grows ten times on the stream that the page names', async (t) => {
  const site = await legacy(t, `[[event_route]]
path = "/events"
channels = ["{query.stream}"]
auth = "none"
replay = "live"
`);
  const page = await open(t, browser, `${site.url}/index.html`);
  await listen(page, '/events?stream=messages');
  await state(page, 'open');

  for (let number = 0; number < 10; number += 1) await site.publish('messages', `${number}`);

  assert.deepEqual(data(await heard(page, 10)), [...'0123456789']);
});

test('R3: a progress bar is driven by a program that writes its stream itself', async (t) => {
  const site = await legacy(t);
  const page = await open(t, browser, `${site.url}/find_fix_tables.pl`);
  await page.evaluate(() => {
    document.body.innerHTML = '<progress max="100"></progress><p id="Result3">Processing</p>';
    const source = new EventSource('./find_fix_tables.pl?action=test_progress');
    source.onmessage = (event) => { document.querySelector('progress').value = Number(event.data); };
    source.onerror = () => { source.close(); document.querySelector('#Result3').innerText = 'Completed'; };
  });
  const bar = (value) => page.waitForFunction((value) => document.querySelector('progress').value === value, value);

  await bar(1);
  await site.openGate();
  await bar(100);
  await appended(page, 'Completed');
});

test('R4: a template that ends is run again by the browser, and its Chinese arrives', async (t) => {
  const site = await legacy(t);
  const page = await open(t, browser, `${site.url}/index.html`);
  await listen(page, '/outputMessages.py');

  const events = await heard(page, 10);

  assert.equal(events[0].data, '10:00:01 你好 \nEnd of this message ');
  assert.deepEqual(data(events.slice(0, 5)), data(events.slice(5, 10)));
});

test('R4: a message for one logged-in user is seen by that user only', async (t) => {
  const site = await legacy(t);
  const pages = {};
  for (const user of ['alice', 'bob']) {
    pages[user] = await open(t, browser, `${site.url}/index.html`);
    await pages[user].evaluate((user) => { document.cookie = `user=${user}`; }, user);
    await listen(pages[user], '/inbox.php');
    await state(pages[user], 'open');
  }

  await site.publish('user-alice', 'for alice');
  await site.publish('user-bob', 'for bob');

  assert.deepEqual(data(await heard(pages.alice, 1)), ['for alice']);
  assert.deepEqual(data(await heard(pages.bob, 1)), ['for bob']);
});
