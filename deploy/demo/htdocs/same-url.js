// The page's side: it listens at its own address.
import { $, offerWire, say } from './demo.js';

const session = document.documentElement.dataset.session;
const url = `${location.pathname}?events=1&session_id=${session}`;
const events = new EventSource(url);

function add(text) {
    const step = document.createElement('li');
    step.textContent = text;
    $('result').append(step);
}

events.onopen = () => say('same-url-state', 'live', 'listening');
events.onmessage = (event) => add(event.data);
events.addEventListener('done', (event) => {
    add(event.data);
    say('same-url-state', 'waiting', 'finished; the browser asks once more …');
});
events.onerror = () => {
    if (events.readyState === EventSource.CLOSED) say('same-url-state', 'ended', 'The stream has ended for good: 204');
};
offerWire(() => url);
