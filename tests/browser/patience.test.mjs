// Scripts that try a client's patience: one that is silent for long, and one that fails for good.
//
// The short forms run with every `tests/run`. The long ones have everything at its default and are commands,
// which add to tests/RESULTS.md: `tests/browser/silent-script 130`, `tests/browser/failing-script 1000 6`.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { EventSource } from 'eventsource';
import { backend } from './support/backend.mjs';
import { launch, open } from './support/browser.mjs';
import { plainNginx } from './support/nginx.mjs';
import { outboard, prepare } from './support/outboard.mjs';
import { number, report } from './support/results.mjs';
import { legacySite } from './support/site.mjs';

/** Silent for so many seconds, before it has begun its answer (`?mute`) or behind its head (`?head`). */
const SILENT = (seconds) => `#!/bin/sh
echo run >>"{folder}/kept/$QUERY_STRING"
[ "$QUERY_STRING" = mute ] || printf 'Content-Type: text/event-stream\\n\\n'
sleep ${seconds}
[ "$QUERY_STRING" = head ] || printf 'Content-Type: text/event-stream\\n\\n'
for number in 1 2 3 4 5; do printf 'data: %s\\n\\n' "$number"; done
# The page closes its stream with the fifth; it is no fault of anybody's that the script ends.
sleep 1
`;

test('a script that is silent for long runs once behind nginx, and its page hears all of it without a cut', async (t) => {
  const seconds = number('OUTBOARD_SILENCE', 4);
  const long = 'OUTBOARD_SILENCE' in process.env;
  const place = await prepare();
  // Debian's Apache waits so long for a script.
  const site = await legacySite(t, place.socket, { more: 'Timeout 300', files: { 'silent.sh': SILENT(seconds) } });
  const config = long ? '' : '[stream]\nopen_after = "1s"\nkeep_alive = "500ms"\n';
  const proxy = await outboard(t, site.url, { place, config });
  const nginx = await plainNginx(t, proxy.url, long ? '' : 'proxy_read_timeout 2s;');
  const browser = await launch();
  t.after(() => browser.close());
  const page = await open(t, browser, `${nginx.url}/index.html`);

  const hear = (kind) => page.evaluate((kind) => new Promise((resolve) => {
    const seen = { events: [], cuts: 0, opened: [] };
    const begun = performance.now();
    const source = new EventSource(`/silent.sh?${kind}`);
    source.onopen = () => seen.opened.push((performance.now() - begun) / 1000);
    source.onerror = () => {
      seen.cuts += 1;
      if (source.readyState === 2 || seen.cuts > 5) resolve(seen);
    };
    source.onmessage = ({ data }) => {
      seen.events.push(data);
      if (seen.events.length < 5) return;
      source.close();
      resolve(seen);
    };
  }), kind);
  const [mute, head] = await Promise.all([hear('mute'), hear('head')]);

  for (const [kind, seen] of Object.entries({ mute, head })) {
    const runs = (await readFile(join(site.kept, kind), 'utf8')).trim().split('\n').length;
    const when = kind === 'mute' ? 'before its head' : 'behind its head';
    if (long) {
      report(`A silent script behind nginx with its defaults, ${when}`, [
        `silent for ${seconds} s, then 5 events; Chromium's EventSource, nginx, outboard with its defaults, Apache with mod_cgid`,
        `${runs} run, ${seen.events.length} events, ${seen.cuts} cuts; the stream was open after ${seen.opened[0]?.toFixed(1)} s`,
      ]);
    }
    assert.deepEqual({ events: seen.events, cuts: seen.cuts, runs }, { events: [...'12345'], cuts: 0, runs: 1 }, kind);
    assert.ok(seen.opened[0] < seconds, `${kind} was open after ${seen.opened}`);
  }
});

test('a script that fails for good is asked more and more rarely, however many pages are open', async (t) => {
  const tabs = number('OUTBOARD_TABS', 50);
  const long = 'OUTBOARD_TABS' in process.env;
  const seconds = number('OUTBOARD_MINUTES', 0.2) * 60;
  // Without a back-off each tab of the short form would come 20 times a second.
  const config = long ? '' : '[stream]\nretry = "50ms"\n';
  const asked = [];
  const begun = performance.now();
  const site = await backend(t, (_request, response) => {
    asked.push((performance.now() - begun) / 1000);
    response.writeHead(500, { 'Content-Type': 'text/html' }).end('<h1>Internal Server Error</h1>');
  });
  const proxy = await outboard(t, site.url, { config });

  // A client that keeps the WHATWG's rules: it waits as long as `retry:` says, and an error of HTTP ends it for good.
  let ended = 0;
  const open = Array.from({ length: tabs }, () => {
    const source = new EventSource(`${proxy.url}/broken.cgi`);
    source.onerror = () => { if (source.readyState === EventSource.CLOSED) ended += 1; };
    return source;
  });
  await pause(seconds * 1000);
  open.forEach((source) => source.close());

  const within = (from, to) => asked.filter((moment) => moment >= from && moment < to).length / (to - from);
  const limit = long ? tabs / 40 : tabs / 2;
  const window = long ? 10 : 3;
  const windows = Array.from({ length: Math.floor(seconds / window) }, (_, index) => within(index * window, (index + 1) * window));
  const low = (windows.findLastIndex((rate) => rate > limit) + 1) * window;
  if (long) {
    const minutes = Array.from({ length: Math.floor(seconds / 60) }, (_, minute) => within(minute * 60, minute * 60 + 60).toFixed(1));
    report(`A script that fails for good, with ${tabs} tabs open`, [
      `${tabs} EventSource clients that keep to \`retry:\` (npm's eventsource), outboard with its defaults, a backend that answers 500`,
      `requests per second at the backend, minute by minute: ${minutes.join(', ')}`,
      `${limit} a second or fewer in every 10 s from second ${low} on; ${asked.length} requests in all, ${ended} clients ended for good`,
    ]);
  }
  assert.equal(ended, 0, 'no client was lost');
  assert.ok(asked.length >= tabs, 'each has asked');
  assert.ok(low <= (long ? 300 : seconds - window), `${windows}`);
});
