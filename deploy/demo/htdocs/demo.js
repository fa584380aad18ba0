// What all pages share: the panels that show real files, and the view of the wire.

export const $ = (id) => document.getElementById(id);

/// Shows a state: its word for the style sheet, and a sentence.
export function say(id, is, text) {
    $(id).dataset.is = is;
    $(id).textContent = text;
}

/// Adds a line with a tick to a list of facts.
export function fact(id, text, good = true) {
    const item = document.createElement('li');
    item.className = good ? '' : 'no';
    const words = document.createElement('span');
    words.textContent = text;
    item.append(words);
    $(id).append(item);
}

// ---- files ----------------------------------------------------------------------------------

const WORDS = {
    sh: /\b(?:if|then|else|elif|fi|for|in|do|done|while|case|esac|exit|printf|read|nohup|sleep|echo)\b/,
    js: /\b(?:import|from|export|const|let|function|return|if|else|for|of|async|await|new)\b/,
};

function pattern(file) {
    const language = file.endsWith('.js') ? 'js' : 'sh';
    const comment = language === 'js' ? /\/\/[^\n]*/ : /(?<=^|\s)#[^\n]*/;
    const text = /'[^']*'|"(?:\\.|[^"\\])*"|`(?:\\.|[^`\\])*`/;
    const variable = language === 'js' ? /\$(?=\()/ : /\$(?:\{[^}]*\}|\w+|[$#@?!])|\$(?=\()/;
    const parts = [`(?<c>${comment.source})`, `(?<s>${text.source})`, `(?<v>${variable.source})`, `(?<k>${WORDS[language].source})`];
    return new RegExp(parts.join('|'), 'gm');
}

/// The text as nodes, its comments, strings, variables and words marked. No markup is ever parsed.
function marked(text, file) {
    const nodes = [];
    let from = 0;
    for (const match of text.matchAll(pattern(file))) {
        const kind = Object.keys(match.groups).find((name) => match.groups[name] !== undefined);
        const span = document.createElement('span');
        span.className = kind;
        span.textContent = match[0];
        nodes.push(text.slice(from, match.index), span);
        from = match.index + match[0].length;
    }
    nodes.push(text.slice(from));
    return nodes;
}

async function copy(button, text) {
    try {
        await navigator.clipboard.writeText(text);
    } catch {
        // No clipboard without a secure context: leave the text selected instead.
        getSelection().selectAllChildren(button.closest('.code').querySelector('pre'));
    }
    button.textContent = 'Copied';
    setTimeout(() => (button.textContent = 'Copy'), 1500);
}

/// Fills `<div class="code" data-files="a.cgi b.sh">` with tabs of the site's real files, or gives
/// a panel that has its text already a copy button.
function fillPanel(panel) {
    const header = document.createElement('header');
    const tabs = document.createElement('div');
    tabs.className = 'tabs';
    const copyButton = document.createElement('button');
    copyButton.className = 'copy';
    copyButton.textContent = 'Copy';
    copyButton.onclick = () => copy(copyButton, panel.querySelector('pre').textContent);
    header.append(tabs, copyButton);
    panel.prepend(header);

    const written = panel.querySelector('pre');
    if (written) {
        const name = document.createElement('span');
        name.className = 'title';
        name.textContent = panel.dataset.title ?? '';
        tabs.append(name);
        written.replaceChildren(...marked(written.textContent.trim(), panel.dataset.title ?? 'sh'));
        return;
    }

    const pre = document.createElement('pre');
    pre.tabIndex = 0;
    panel.append(pre);
    const show = async (file, tab) => {
        for (const other of tabs.children) other.setAttribute('aria-selected', other === tab);
        const path = file === 'second terminal' ? 'terminal.cgi' : `source.cgi?file=${encodeURIComponent(file)}`;
        const answer = await fetch(`/cgi-bin/${path}`);
        pre.replaceChildren(...marked((await answer.text()).trimEnd(), file));
        pre.scrollTo(0, 0);
    };
    for (const file of panel.dataset.files.split(',')) {
        const tab = document.createElement('button');
        tab.textContent = file;
        tab.dataset.file = file;
        tab.onclick = () => show(file, tab);
        tabs.append(tab);
    }
    tabs.firstChild.click();
}

document.querySelectorAll('.code').forEach(fillPanel);

// On a narrow screen the name of this page may be out of sight.
const here = document.querySelector('nav [aria-current]');
if (here) here.parentElement.scrollLeft = here.offsetLeft - 16;

// ---- the wire -------------------------------------------------------------------------------

const KEPT_LINES = 240;

/// Reads an event stream as bytes and shows its lines as they come. `each` hears every line.
export function watchWire(url, view, each = () => {}) {
    const stop = new AbortController();
    const show = (text, kind) => {
        const line = document.createElement('span');
        const colon = text.indexOf(':');
        if (kind || colon === 0) line.className = kind ?? 'c';
        if (!kind && colon > 0) {
            const field = document.createElement('span');
            field.className = 'f';
            field.textContent = text.slice(0, colon);
            line.append(field, text.slice(colon));
        } else {
            line.textContent = text;
        }
        line.append('\n');
        const atEnd = view.scrollHeight - view.scrollTop - view.clientHeight < 40;
        view.append(line);
        while (view.childElementCount > KEPT_LINES) view.firstElementChild.remove();
        if (atEnd) view.scrollTop = view.scrollHeight;
    };

    (async () => {
        try {
            show(`GET ${url}`, 'h');
            const answer = await fetch(url, { headers: { Accept: 'text/event-stream' }, signal: stop.signal });
            show(`${answer.status} ${answer.headers.get('content-type') ?? ''}`, 'h');
            if (!answer.body) return;
            const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
            let rest = '';
            for (;;) {
                const { done, value } = await reader.read();
                if (done) break;
                const lines = (rest + value).split('\n');
                rest = lines.pop();
                for (const line of lines) {
                    show(line);
                    each(line);
                }
            }
            show('the stream has ended', 'h');
        } catch (error) {
            if (error.name !== 'AbortError') show(`the connection broke: ${error.message}`, 'h');
        }
    })();
    return () => stop.abort();
}

/// A scene's wire: closed until asked for, since it is a second connection. `url` says of what; where there
/// is no stream yet, the wire opens once the page calls what this returns.
export function offerWire(url) {
    const button = $('wire-toggle');
    let wanted = false;
    let stop = null;
    const open = () => {
        stop?.();
        stop = null;
        if (wanted && url()) {
            $('wire-lines').replaceChildren();
            stop = watchWire(url(), $('wire-lines'));
        } else if (wanted) {
            $('wire-lines').textContent = 'There is no stream yet. It is shown as soon as it begins.';
        }
        button.textContent = wanted ? 'Close it' : 'Open a second connection';
    };
    button.onclick = () => {
        wanted = !wanted;
        open();
    };
    return open;
}
