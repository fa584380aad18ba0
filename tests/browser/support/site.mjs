// The legacy site of tests/site under a real Apache, from the same files as the Rust tests use.

import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { start } from './process.mjs';

export const repository = resolve(import.meta.dirname ?? new URL('.', import.meta.url).pathname, '../../..');

/** Starts Apache with scripts that publish to `socket`; with more lines of configuration, and more `files` (name and text). */
export async function legacySite(t, socket, { more = '', files = {} } = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'outboard-test-'));
  await chmod(folder, 0o755);
  await copySite(join(folder, 'www'), socket);
  for (const [name, text] of Object.entries(files)) {
    await writeFile(join(folder, 'www', name), text.replaceAll('{folder}', folder), { mode: 0o755 });
  }
  // Where its scripts, who are somebody else, may keep things.
  await mkdir(join(folder, 'kept'));
  await chmod(join(folder, 'kept'), 0o777);
  const port = await freePort();
  const templates = ['apache.conf', 'apache_site.conf'].map((name) => readFile(join(repository, 'tests/support', name), 'utf8'));
  const conf = [...await Promise.all(templates), more].join('\n').replaceAll('{folder}', folder).replaceAll('{port}', port);
  await writeFile(join(folder, 'apache.conf'), conf);
  // Apache opens its log by name, which a pipe allows and node's own sockets do not.
  const piped = ['-c', '"$0" "$@" 2>&1 | cat', '/usr/sbin/apache2'];
  const apache = await start('apache2', 'sh', [...piped, '-D', 'FOREGROUND', '-f', join(folder, 'apache.conf')],
    (line) => line.includes('resuming normal operations'));
  t.after(async () => {
    await apache.kill();
    await rm(folder, { recursive: true, force: true });
  });
  const go = join(folder, 'www', 'go');
  await promisify(execFile)('mkfifo', ['-m', '666', go]);
  return { url: `http://127.0.0.1:${port}`, kept: join(folder, 'kept'), openGate: () => writeFile(go, 'go\n') };
}

async function copySite(target, socket) {
  await mkdir(target);
  const readme = await readFile(join(repository, 'README.md'), 'utf8');
  const snippet = (language) => new RegExp(`\n## Publish[^]*?\n\`\`\`${language}\n([^]*?)\`\`\``).exec(readme)[1];
  const source = join(repository, 'tests/site');
  for (const name of await readdir(source)) {
    const script = (await readFile(join(source, name), 'utf8'))
      .replace(/^.*README: (\w+)$/m, (_line, language) => snippet(language))
      .replaceAll('/run/outboard/publish.sock', socket);
    await writeFile(join(target, name), script, { mode: 0o755 });
  }
}

/** A port that nobody listens on now. */
export function freePort() {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}
