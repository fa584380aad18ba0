// nginx in front, from the same files as the Rust tests use.

import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { start } from './process.mjs';
import { freePort, repository } from './site.mjs';

/** With nothing but `proxy_pass` and these lines, as Debian's comes: buffering on, HTTP/1.0, 60 s of patience. */
export const plainNginx = (t, url, lines = '') =>
  nginx(t, `server { listen 127.0.0.1:{port}; location / { proxy_pass ${url}; ${lines} } }`, 'http');

/**
 * By the file that we ship, with TLS and HTTP/2 in place of its plain port. It believes `X-Forwarded-For` of
 * whoever connects, as if the test's clients had those addresses.
 */
export async function tlsNginx(t, url) {
  const shipped = await readFile(join(repository, 'deploy/nginx/outboard.conf'), 'utf8');
  const listen = `listen 127.0.0.1:{port} ssl http2; ssl_certificate {folder}/site.pem; ssl_certificate_key {folder}/site.key;
    set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For;`;
  const site = replaced(replaced(shipped, '127.0.0.1:8000', url.replace('http://', '')), 'listen 80;', listen);
  return nginx(t, replaced(site, '$proxy_add_x_forwarded_for', '$remote_addr'), 'https');
}

function replaced(text, from, to) {
  if (!text.includes(from)) throw new Error(`the shipped file has no ${from}`);
  return text.replaceAll(from, () => to);
}

async function nginx(t, site, scheme) {
  const folder = await mkdtemp(join(tmpdir(), 'outboard-test-'));
  // Without this its workers, who are somebody else, cannot enter.
  await chmod(folder, 0o755);
  if (scheme === 'https') await certificate(folder);
  const port = await freePort();
  const template = await readFile(join(repository, 'tests/support/nginx.conf'), 'utf8');
  const conf = template.replace('{site}', () => site).replaceAll('{folder}', folder).replaceAll('{port}', port);
  const file = join(folder, 'nginx.conf');
  await writeFile(file, conf);
  // Its sockets are bound before it says which system it runs on.
  const server = await start('nginx', '/usr/sbin/nginx', ['-p', folder, '-c', file, '-e', 'stderr'], (line) => line.includes('getrlimit'));
  t.after(async () => {
    await server.kill();
    await rm(folder, { recursive: true, force: true });
  });
  return { url: `${scheme}://127.0.0.1:${port}`, log: () => server.log.join('\n') };
}

/** A certificate that nobody but the test trusts. */
const certificate = (folder) => promisify(execFile)('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1',
  '-nodes', '-days', '2', '-subj', '/CN=localhost', '-keyout', 'site.key', '-out', 'site.pem'], { cwd: folder });
