// The results of long runs.

import { execFileSync } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { repository } from './site.mjs';

/** Prints a result, and adds it to `tests/RESULTS.md` if `OUTBOARD_RESULTS` is set. */
export function report(title, lines) {
  const text = lines.map((line) => `- ${line}\n`).join('');
  console.log(`${title}\n${text}`);
  if (!process.env.OUTBOARD_RESULTS) return;
  const git = (...words) => execFileSync('git', words, { cwd: repository, encoding: 'utf8' }).trim();
  const changed = git('status', '--porcelain', '--', 'src', 'Cargo.lock') ? ', changed' : '';
  const day = new Date().toISOString().slice(0, 10);
  appendFileSync(join(repository, 'tests/RESULTS.md'), `\n## ${title}\n\n${day}, commit ${git('rev-parse', '--short', 'HEAD')}${changed}\n\n${text}`);
}

/** The number in a variable, for the long runs. */
export const number = (variable, usual) => Number(process.env[variable] ?? usual);
