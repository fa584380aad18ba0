// Debian's Chromium, and a page that writes down what its EventSource tells it.

import { chromium } from 'playwright-core';
import { DEADLINE } from './process.mjs';

const FLAGS = ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];

/** One browser for a whole file of tests. */
export async function launch() {
  return chromium.launch({ executablePath: '/usr/bin/chromium', headless: true, args: FLAGS });
}

/** Opens `url` in a window of its own. */
export async function open(t, browser, url) {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(DEADLINE);
  await page.goto(url);
  return page;
}

/** Opens an EventSource in `page`; what it hears is kept there and read by the functions below. */
export async function listen(page, path) {
  await page.evaluate((path) => {
    window.heard = [];
    window.states = [];
    window.source = new EventSource(path);
    const keep = (event) => window.heard.push({ name: event.type, data: event.data, id: event.lastEventId });
    for (const name of ['message', 'outboard.gap', 'progress']) window.source.addEventListener(name, keep);
    window.source.onopen = () => window.states.push('open');
    window.source.onerror = () => window.states.push(['connecting', 'open', 'closed'][window.source.readyState]);
  }, path);
}

/** Waits until the EventSource has said `state` so many times. */
export const state = (page, wanted, times = 1) =>
  page.waitForFunction(([wanted, times]) => window.states.filter((state) => state === wanted).length >= times, [wanted, times]);

export const states = (page) => page.evaluate(() => window.states);

/** Waits for so many events and returns all of them. */
export async function heard(page, count) {
  await page.waitForFunction((count) => window.heard.length >= count, count).catch(async (error) => {
    throw new Error(`${error.message}; heard ${JSON.stringify(await page.evaluate(() => window.heard))}`);
  });
  return page.evaluate(() => window.heard);
}

export const data = (events) => events.map((event) => event.data);
