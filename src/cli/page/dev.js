'use strict';
// The page is a client as anybody would write one: a form that posts, and EventSource. Nothing on it
// is drawn before it has really come back through log and gateway.

const byId = (id) => document.getElementById(id);
const wallMs = () => performance.timeOrigin + performance.now();
const clock = (ms) => new Date(ms).toLocaleTimeString('en-GB');
const EVENTS_SHOWN = 8;

function addRow(list, cells) {
  const row = document.createElement('li');
  for (const cell of cells) {
    const span = document.createElement('span');
    if (cell instanceof Node) span.append(cell); else span.textContent = cell;
    row.append(span);
  }
  list.prepend(row);
  while (list.children.length > EVENTS_SHOWN) list.lastChild.remove();
}

function showWay(times) {
  for (const [id, ms] of Object.entries(times)) {
    const element = byId(id);
    element.classList.toggle('passed', ms !== null);
    element.querySelector('.time').textContent = ms === null ? '…' : `${Math.max(0, Math.round(ms))}\u202fms`;
  }
}

// The stations' times of one event; those of an event of an earlier run are not known any more.
async function traceOf(key, version) {
  const response = await fetch(`/trace?key=${encodeURIComponent(key)}&version=${version}`);
  return response.ok ? response.json() : null;
}

let source = null;
let sourceKey = null;
let watchedSinceMs = 0;

async function receive(message) {
  const receivedMs = wallMs();
  const event = JSON.parse(message.data);
  const text = event.text !== undefined ? event.text : event.data !== undefined ? JSON.stringify(event.data) : '';
  if (event.version === 0) return;
  // A stream begins with the state as it is; the event behind that may be an old one.
  const trace = await traceOf(event.key, event.version);
  let way = 'as it was';
  if (trace && trace.committed_ms > 0 && trace.begun_ms >= watchedSinceMs) {
    const start = trace.begun_ms;
    const browser = receivedMs - start;
    showWay({ 'at-commit': trace.committed_ms - start, 'at-log': trace.logged_ms > 0 ? trace.logged_ms - start : browser, 'at-browser': browser });
    way = `${Math.max(0, Math.round(browser))}\u202fms`;
  }
  const kind = document.createElement('em');
  kind.textContent = event.type;
  const what = document.createElement('span');
  what.append(kind, ` ${text}`);
  addRow(byId('events'), [clock(receivedMs), what, way]);
}

function watch(key) {
  if (key === sourceKey) return;
  if (source) source.close();
  sourceKey = key;
  watchedSinceMs = Math.floor(wallMs());
  const path = `/items/${encodeURIComponent(key)}/stream`;
  source = new EventSource(path);
  const say = (text) => { byId('live').replaceChildren(`${text} `, Object.assign(document.createElement('code'), { textContent: path })); };
  say('connecting to');
  source.onopen = () => say('live on');
  source.onerror = () => say(source.readyState === EventSource.CLOSED ? 'closed:' : 'reconnecting to');
  source.onmessage = receive;
  showLines();
}

byId('publish').onsubmit = async (submitted) => {
  submitted.preventDefault();
  const key = byId('key').value.trim();
  const problem = byId('problem');
  problem.hidden = true;
  watch(key);
  showWay({ 'at-commit': null, 'at-log': null, 'at-browser': null });
  try {
    const query = new URLSearchParams({ key, type: byId('type').value.trim() });
    const response = await fetch(`/publish?${query}`, { method: 'POST', body: JSON.stringify({ text: byId('text').value }) });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
  } catch (error) {
    problem.textContent = `Not published: ${error.message}`;
    problem.hidden = false;
  }
};

// The example order: watch one until its stream ends, then ask which one is next.
const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

function watchOrder(key) {
  return new Promise((resolve) => {
    const orders = new EventSource(`/orders/${encodeURIComponent(key)}/stream`);
    const startMs = wallMs();
    for (const step of document.querySelectorAll('.steps li')) {
      step.classList.remove('passed');
      step.querySelector('.time').textContent = '';
    }
    byId('order-key').textContent = key;
    byId('order-note').textContent = 'live';
    const pass = (name) => {
      let isBefore = true;
      for (const step of document.querySelectorAll('.steps li')) {
        if (isBefore) step.classList.add('passed');
        if (step.dataset.step === name) {
          step.querySelector('.time').textContent = clock(wallMs());
          isBefore = false;
        }
      }
    };
    const finish = (note) => {
      orders.close();
      byId('order-note').textContent = note;
      resolve(wallMs() - startMs);
    };
    for (const name of ['order_accepted', 'payment_requested', 'completed']) {
      orders.addEventListener(name, () => pass(name));
    }
    orders.addEventListener('end', () => finish('the stream has ended'));
    orders.onerror = () => {
      byId('order-note').textContent = 'reconnecting';
      if (orders.readyState === EventSource.CLOSED) finish('the stream has ended');
    };
  });
}

async function followOrders() {
  let last = null;
  for (;;) {
    try {
      const { key } = await (await fetch('/orders/current')).json();
      if (key && key !== last) {
        last = key;
        const tookMs = await watchOrder(key);
        addRow(byId('past'), [clock(wallMs()), Object.assign(document.createElement('code'), { textContent: key }), `${(tookMs / 1000).toFixed(1)}\u202fs live`]);
      }
    } catch (error) {
      byId('order-note').textContent = 'sluice dev does not answer';
    }
    await pause(400);
  }
}

function showLines() {
  const key = encodeURIComponent(sourceKey || 'hello');
  byId('watch-line').textContent = `curl -N ${location.origin}/items/${key}/stream`;
  byId('publish-line').textContent = `curl -d 'good morning' '${location.origin}/publish?key=${key}&type=greeting'`;
}

for (const button of document.querySelectorAll('[data-copy]')) {
  button.onclick = async () => {
    try {
      await navigator.clipboard.writeText(byId(button.dataset.copy).textContent);
      button.textContent = 'Copied';
    } catch (error) {
      getSelection().selectAllChildren(byId(button.dataset.copy));
      button.textContent = 'Selected';
    }
    setTimeout(() => { button.textContent = 'Copy'; }, 1500);
  };
}

async function linkConsole() {
  const { console: url } = await (await fetch('/links')).json();
  byId('console').href = url || '#';
  byId('console').hidden = !url;
  byId('no-console').hidden = Boolean(url);
}

showLines();
linkConsole();
watch('hello');
followOrders();
