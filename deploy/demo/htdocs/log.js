// The page's side: every event is a line, and stays text.
import { $, offerWire, say } from './demo.js';

let url = null;
const showWire = offerWire(() => url);

function listen(job) {
    url = `/cgi-bin/log.cgi?job=${job}`;
    const events = new EventSource(url);
    showWire();
    let finished = false;

    events.onopen = () => finished || say('log-state', 'live', 'listening');
    events.onmessage = (event) => add(event.data, event.data.startsWith('warning') ? 'warning' : '');
    events.addEventListener('report', (event) => {
        finished = true;
        add(event.data, 'report');
        say('log-state', 'waiting', 'finished; the browser asks once more …');
    });
    events.onerror = () => {
        if (events.readyState !== EventSource.CLOSED) return;
        say('log-state', 'ended', finished ? 'The stream has ended for good: 204' : 'There is no such job any more');
        $('log-start').disabled = false;
    };
}

function add(text, kind) {
    const line = document.createElement('li');
    line.className = kind;
    line.textContent = text;
    $('log-lines').append(line);
    $('log-lines').scrollTop = $('log-lines').scrollHeight;
}

$('log-start').onclick = async () => {
    $('log-start').disabled = true;
    $('log-lines').replaceChildren();
    const answer = await fetch('/cgi-bin/log.cgi', { method: 'POST' });
    const job = (await answer.text()).trim();
    history.replaceState(null, '', `?job=${job}`);
    listen(job);
};

const job = new URLSearchParams(location.search).get('job');
if (job) {
    $('log-start').disabled = true;
    listen(job);
}
