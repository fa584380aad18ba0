// The demo, as a visitor sees it: `outboard demo`, and Chromium on its pages.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { launch, open } from './support/browser.mjs';
import { program } from './support/outboard.mjs';
import { start } from './support/process.mjs';
import { freePort } from './support/site.mjs';

let browser;
let demo;
let url;

before(async () => {
  browser = await launch();
  const address = `127.0.0.1:${await freePort()}`;
  demo = await start('outboard demo', program, ['demo', '--listen', address], (line) => line.includes(`http://${address}`));
  url = `http://${address}`;
});

after(async () => {
  await browser.close();
  assert.equal(await demo.stop(), 0, 'the demo ends in good order');
});

/** Waits until an element's text fits. */
const shows = (page, id, pattern) =>
  page.waitForFunction(([id, pattern]) => new RegExp(pattern).test(document.getElementById(id).textContent), [id, pattern]);

/** Opens a page of the demo; a script error on it fails the test. */
async function visit(t, path, viewport) {
  const page = await open(t, browser, 'about:blank');
  page.on('pageerror', (error) => assert.fail(`${path}: ${error.message}`));
  page.on('request', (request) => {
    const { protocol, origin } = new URL(request.url());
    if (protocol !== 'data:') assert.equal(origin, url, 'nothing is fetched from elsewhere');
  });
  if (viewport) await page.setViewportSize(viewport);
  await page.goto(url + path);
  return page;
}

test('the overview shows what travels, and the scripts that do it', async (t) => {
  const page = await visit(t, '/');

  await shows(page, 'wire-lines', '200 text/event-stream');
  await shows(page, 'wire-lines', 'data: \\d+');
  await page.waitForFunction(() => document.querySelector('.code pre').textContent.includes('publish ticker'));
});

test('a job drives a progress bar to its end, and the browser stops for good', async (t) => {
  const page = await visit(t, '/progress.html');

  await page.click('#progress-start');
  await shows(page, 'progress-state', 'listening');
  await page.waitForFunction(() => document.getElementById('progress-bar').value >= 20);
  await page.reload();
  // The newest number comes at once: it does not begin at 0 again.
  await page.waitForFunction(() => document.getElementById('progress-bar').value >= 20);

  await shows(page, 'progress-percent', '^100$');
  await shows(page, 'progress-state', 'ended for good: 204');
});

test('a log arrives line by line, in every writing, and comes again after a reload', async (t) => {
  const page = await visit(t, '/log.html');

  await page.click('#log-start');
  await shows(page, 'log-lines', '王小明，北京市朝阳区');
  await shows(page, 'log-state', 'ended for good: 204');
  const lines = await page.locator('#log-lines li').allInnerTexts();
  await page.reload();
  await page.waitForFunction((count) => document.querySelectorAll('#log-lines li').length === count, lines.length);

  assert.deepEqual(await page.locator('#log-lines li').allInnerTexts(), lines);
  assert.ok(lines.some((line) => line.includes('<script>alert("only text")</script> & so is this')));
  assert.match(lines.at(-1), /rows +new\n─+\n客户/);
});

test('a ticker is seen by all who look, and counts them', async (t) => {
  const pages = [await visit(t, '/ticker.html'), await visit(t, '/ticker.html')];
  for (const page of pages) await shows(page, 'ticker-value', '^\\d+$');

  const count = (page) => page.evaluate(() => Number(document.getElementById('ticker-listeners').textContent));
  await pages[0].waitForFunction(() => Number(document.getElementById('ticker-listeners').textContent) >= 2);
  const before = await count(pages[0]);
  await pages[1].close();

  await pages[0].waitForFunction((before) => Number(document.getElementById('ticker-listeners').textContent) < before, before);
});

test('a message reaches the user it is for, and nobody else', async (t) => {
  const anna = await visit(t, '/messages.html');
  const ben = await visit(t, '/messages.html');
  await anna.click('[data-user=anna]');
  await ben.click('[data-user=ben]');
  for (const page of [anna, ben]) await shows(page, 'inbox-state', 'listening');

  const send = async (to, text) => {
    await anna.selectOption('#send-to', to);
    await anna.fill('#send-text', text);
    await anna.click('#send-form button');
  };
  await send('ben', '你好 <b>Ben</b>');
  await shows(ben, 'inbox', 'Anna你好 <b>Ben</b>');
  await send('anna', 'note to self');
  await shows(anna, 'inbox', 'note to self');

  assert.equal(await ben.locator('#inbox li').count(), 1);
  await anna.click('#stranger');
  await shows(anna, 'stranger-result', '^403 ');
  await anna.click('#logout');
  await shows(anna, 'inbox-state', 'ended for good: 403');
});

test('the inbox keeps its newest messages, and a log-out in one tab is seen in the other', async (t) => {
  const first = await visit(t, '/messages.html');
  await first.click('[data-user=mei]');
  await shows(first, 'inbox-state', 'listening');
  await first.selectOption('#send-to', 'mei');
  await first.fill('#send-text', 'kept for later');
  await first.click('#send-form button');
  await shows(first, 'inbox', 'kept for later');
  await first.reload();
  await shows(first, 'inbox', 'kept for later');
  const second = await first.context().newPage();
  await second.goto(`${url}/messages.html`);
  await shows(second, 'inbox', 'kept for later');
  await shows(second, 'me', '美玲');

  await first.click('#logout');

  await shows(second, 'me', 'nobody');
  await second.waitForFunction(() => document.getElementById('logged-in').hidden);
});

test('the lines of the README leave no stream open for a page that nobody sees', async (t) => {
  const readme = await readFile(new URL('../../README.md', import.meta.url), 'utf8');
  const code = /```js\n([^`]*)```/.exec(readme)[1].replace('progress.cgi', '/events/ticker');
  assert.match(code, /last_event_id=/);
  const page = await visit(t, '/ticker.html');
  const hide = (hidden) => page.evaluate((hidden) => {
    Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  }, hidden);
  await page.evaluate(`(() => {
    window.shown = [];
    const show = (data) => window.shown.push(data);
    ${code}
    window.stream = () => source;
  })()`);

  await page.waitForFunction(() => window.shown.length > 0);
  await hide(true);
  const before = await page.evaluate(() => [window.stream(), window.shown.length]);
  await hide(false);
  await page.waitForFunction((count) => window.shown.length > count, before[1]);

  assert.equal(before[0], null);
  assert.match(await page.evaluate(() => window.stream().url), /last_event_id=[0-9a-z]+-\d+$/);
});

test('a wire that was opened before its stream begins shows it', async (t) => {
  const page = await visit(t, '/progress.html');

  await page.click('#wire-toggle');
  await shows(page, 'wire-lines', 'no stream yet');
  await page.click('#progress-start');

  await shows(page, 'wire-lines', 'data: \\d+');
});

test('the picture has its arrow heads at every width', async (t) => {
  for (const width of [390, 1280]) {
    const page = await visit(t, '/', { width, height: 900 });

    const drawn = await page.evaluate(() => [...document.querySelectorAll('marker')]
      .every((marker) => marker.closest('svg').checkVisibility() && document.querySelectorAll(`#${marker.id}`).length === 1));

    assert.ok(drawn, `at ${width}`);
    await page.close();
  }
});

test('no tab stands under the button beside it', async (t) => {
  for (const width of [390, 1280]) {
    for (const path of ['/', '/progress.html', '/log.html', '/ticker.html', '/messages.html', '/cgi-bin/same-url.cgi']) {
      const page = await visit(t, path, { width, height: 900 });

      const covered = await page.evaluate(() => [...document.querySelectorAll('.code header')].flatMap((header) => {
        const copy = header.querySelector('.copy').getBoundingClientRect();
        return [...header.querySelectorAll('.tabs > *')].filter((tab) => {
          const box = tab.getBoundingClientRect();
          return box.right > copy.left && box.left < copy.right && box.bottom > copy.top && box.top < copy.bottom;
        }).map((tab) => tab.textContent);
      }));

      assert.deepEqual(covered, [], `${path} at ${width}`);
      await page.close();
    }
  }
});

test('a page and its event source are one script', async (t) => {
  const page = await visit(t, '/cgi-bin/same-url.cgi');

  await shows(page, 'same-url-state', 'ended for good: 204');

  const steps = await page.locator('#result li').allInnerTexts();
  assert.equal(steps.length, 5);
  assert.match(steps[0], /^finish 1/);
  assert.equal(steps[4], 'all steps are finished');
});

test('every page fits on a telephone', async (t) => {
  for (const path of ['/', '/progress.html', '/log.html', '/ticker.html', '/messages.html', '/cgi-bin/same-url.cgi']) {
    const page = await visit(t, path, { width: 360, height: 700 });

    const [content, width] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);

    assert.ok(content <= width, `${path} is ${content} wide`);
    await page.close();
  }
});
