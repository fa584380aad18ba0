// A server process: started in the foreground, read line by line, ended with the test.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

export const DEADLINE = 20_000;

/**
 * Starts a program in a process group of its own and waits for a line that `ready` makes
 * something of. `kill` ends it with its children as a crash would, `stop` asks it to end.
 */
export async function start(name, program, args, ready, options = {}) {
  const child = spawn(program, args, { detached: true, stdio: ['ignore', 'pipe', 'pipe'], ...options });
  const log = [];
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const fact = await new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`${name} is not ready:\n${log.join('\n')}`)), DEADLINE);
    const settle = (settled, value) => { clearTimeout(late); settled(value); };
    child.once('error', (error) => settle(reject, new Error(`cannot start ${name}: ${error.message}; tests/run installs it`)));
    child.once('exit', () => settle(reject, new Error(`${name} ended:\n${log.join('\n')}`)));
    for (const output of [child.stdout, child.stderr]) {
      createInterface({ input: output }).on('line', (line) => {
        log.push(line);
        const found = ready(line);
        if (found) settle(resolve, found);
      });
    }
  });
  const kill = async () => {
    try { process.kill(-child.pid, 'SIGKILL'); } catch { /* it has ended by itself */ }
    await ended;
  };
  const stop = async () => {
    child.kill('SIGTERM');
    return ended;
  };
  return { fact, log, kill, stop };
}
