// The page's side: it never says which channel it wants. The script knows who is asking.
import { $, offerWire, say } from './demo.js';

const NAMES = { anna: 'Anna', ben: 'Ben', mei: '美玲' };
const url = '/cgi-bin/inbox.cgi';
const post = (script, fields) => fetch(`/cgi-bin/${script}.cgi`, { method: 'POST', body: new URLSearchParams(fields) });
let events = null;

function listen() {
    events?.close();
    const source = (events = new EventSource(url));
    source.onopen = () => say('inbox-state', 'live', 'listening');
    source.onmessage = (event) => {
        const [from, ...lines] = event.data.split('\n');
        add(NAMES[from] ?? from, lines.join('\n'));
    };
    source.onerror = async () => {
        if (source.readyState !== EventSource.CLOSED) {
            say('inbox-state', 'waiting', 'the stream was ended; the browser asks again …');
            return;
        }
        say('inbox-state', 'ended', 'The stream has ended for good: 403');
        // Perhaps somebody has logged out in another tab, or logged in there as somebody else.
        const user = await whoami();
        if (source !== events) return;
        show(user);
        $('inbox').replaceChildren();
        if (user) listen();
    };
}

function add(from, text) {
    const item = document.createElement('li');
    const name = document.createElement('b');
    name.textContent = from;
    item.append(name, text);
    $('inbox').prepend(item);
}

const whoami = async () => (await (await fetch('/cgi-bin/whoami.cgi')).text()).trim();

function show(user) {
    $('me').textContent = NAMES[user] ?? 'nobody';
    $('login').hidden = user !== '';
    $('logged-in').hidden = user === '';
}

for (const button of document.querySelectorAll('[data-user]')) {
    button.onclick = async () => {
        $('inbox').replaceChildren();
        show((await (await post('login', { user: button.dataset.user })).text()).trim());
        listen();
    };
}

$('logout').onclick = async () => {
    await post('logout', {});
    show('');
    $('inbox').replaceChildren();
};

$('send-form').onsubmit = async (submit) => {
    submit.preventDefault();
    const answer = await post('send', { to: $('send-to').value, text: $('send-text').value });
    const reply = (await answer.text()).trim();
    $('send-reply').textContent = reply;
    const receivers = /^ok \S+ (\d+)/.exec(reply)?.[1];
    const to = NAMES[$('send-to').value];
    if (receivers === '0') $('send-meaning').textContent = `Nobody listens as ${to} now. Log in as ${to}: the message is waiting.`;
    else if (receivers) $('send-meaning').textContent = `${receivers} of ${to}’s browser windows got it.`;
    else $('send-meaning').textContent = 'Nothing was sent.';
    if (receivers) $('send-text').value = '';
};

$('stranger').onclick = async () => {
    const answer = await fetch(url, { credentials: 'omit', headers: { Accept: 'text/event-stream' } });
    $('stranger-result').textContent = `${answer.status} ${(await answer.text()).trim()}`;
};

const user = await whoami();
show(user);
if (user) listen();
offerWire(() => url);
