// The overview: one connection to the ticker, shown as it travels.
import { $, watchWire } from './demo.js';

const quiet = matchMedia('(prefers-reduced-motion: reduce)').matches;
let numbers = 0;

watchWire('/events/ticker', $('wire-lines'), (line) => {
    if (!line.startsWith('data:')) return;
    numbers += 1;
    // The picture moves with the facts: a dot for every fifth event.
    if (quiet || numbers % 5 !== 1) return;
    for (const dot of document.querySelectorAll('animateMotion')) dot.beginElement();
});
