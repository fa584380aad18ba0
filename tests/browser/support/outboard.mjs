// The real outboard, as an operator would start it.

import { mkdtemp, writeFile, chmod, rm } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { repository } from './site.mjs';
import { start } from './process.mjs';

export const program = process.env.OUTBOARD_PROGRAM ?? join(repository, 'target/debug/outboard');

/** A folder for one outboard; its socket's path is known before it starts. */
export async function prepare() {
  const folder = await mkdtemp(join(tmpdir(), 'outboard-test-'));
  await chmod(folder, 0o755);
  return { folder, socket: join(folder, 'publish.sock') };
}

/** Starts outboard in front of `backend` (a URL), with more tables of configuration. */
export async function outboard(t, backend, { config = '', place } = {}) {
  place ??= await prepare();
  let running = await launch(place, backend, config, '127.0.0.1:0');
  const address = running.fact;
  t.after(async () => {
    await running.kill();
    await rm(place.folder, { recursive: true, force: true });
  });
  return {
    url: `http://${address}`,
    address,
    socket: place.socket,
    log: () => running.log.join('\n'),
    frames: (text) => frames(place.socket, text),
    async publish(channel, data) {
      const lines = data.split('\n').map((line) => `data: ${line}\n`).join('');
      return frames(place.socket, `channel: ${channel}\n${lines}\n`);
    },
    async crashAndRestart() {
      await running.kill();
      running = await launch(place, backend, config, address);
    },
  };
}

async function launch({ folder, socket }, backend, config, listen) {
  const file = join(folder, 'outboard.toml');
  await writeFile(file, `listen = ["${listen}"]

[backend]
url = "${backend}"

[publish]
socket = "${socket}"
mode = "0666"

${config}
`);
  const listening = (line) =>
    line.includes('listening') && (/address="?([0-9.]+:[0-9]+)/.exec(line.replace(/\x1b\[[0-9;]*m/g, '')) ?? [])[1];
  return start('outboard', program, ['run', '--config', file], listening);
}

/** Writes frames to a publish socket; every reply line. */
function frames(socket, text) {
  return new Promise((resolve, reject) => {
    let replies = '';
    const connection = createConnection(socket, () => connection.end(text));
    connection.setEncoding('utf8');
    connection.on('data', (piece) => { replies += piece; });
    connection.on('error', reject);
    connection.on('close', () => resolve(replies.trimEnd().split('\n')));
  });
}
