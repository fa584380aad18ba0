// The page's side: what R2 had, and a count of who listens.
import { $, offerWire, say } from './demo.js';

const url = '/events/ticker';
const events = new EventSource(url);
let arrived = 0;

events.onopen = () => say('ticker-state', 'live', 'listening');
events.onerror = () => say('ticker-state', 'waiting', 'the connection broke; the browser comes back by itself');
events.onmessage = (event) => {
    arrived += 1;
    $('ticker-value').textContent = event.data;
};
events.addEventListener('listeners', (event) => ($('ticker-listeners').textContent = event.data));

setInterval(() => {
    $('ticker-rate').textContent = arrived;
    arrived = 0;
}, 1000);
offerWire(() => url);
