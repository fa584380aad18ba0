// The page's side: start the job, listen to it.
import { $, fact, offerWire, say } from './demo.js';

let url = null;
const showWire = offerWire(() => url);

function listen(job) {
    url = `/cgi-bin/progress.cgi?job=${job}`;
    const events = new EventSource(url);
    showWire();
    let finished = false;

    events.onopen = () => finished || say('progress-state', 'live', 'listening');
    events.onmessage = (event) => show(event.data);
    events.addEventListener('done', (event) => {
        finished = true;
        show(event.data);
        say('progress-state', 'waiting', 'finished; the browser asks once more …');
    });
    events.onerror = () => {
        if (events.readyState !== EventSource.CLOSED) return;
        say('progress-state', 'ended', finished ? 'The stream has ended for good: 204' : 'There is no such job any more');
        $('progress-start').disabled = false;
    };
}

function show(percent) {
    $('progress-bar').value = Number(percent);
    $('progress-percent').textContent = percent;
}

$('progress-start').onclick = async () => {
    $('progress-start').disabled = true;
    $('progress-facts').replaceChildren();
    show('0');

    const asked = performance.now();
    const answer = await fetch('/cgi-bin/progress.cgi', { method: 'POST' });
    const job = (await answer.text()).trim();
    const took = Math.max(1, Math.round(performance.now() - asked));

    // From here on a reload finds the job again.
    history.replaceState(null, '', `?job=${job}`);
    listen(job);

    const { scripts, jobs } = await (await fetch('/server-status')).json();
    fact('progress-facts', `The CGI script answered and ended within ${took} ms.`);
    fact('progress-facts', `The site's server now runs ${scripts} scripts, and ${jobs} background jobs (the ticker is one).`, scripts === 0);
};

const job = new URLSearchParams(location.search).get('job');
if (job) {
    $('progress-start').disabled = true;
    fact('progress-facts', 'The page was loaded again. It did not ask how far the job is: it was told.');
    listen(job);
}
