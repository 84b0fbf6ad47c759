'use strict';
// The page asks for the whole state once a second and changes in place what has changed, so that
// the keyboard's focus and a selection stay where they are.

const POLL_INTERVAL_MS = 1000;
const STALE_AFTER_MS = 4000;
const WARN_AGE_MS = 2000;
const BAD_AGE_MS = 15000;

const byId = (id) => document.getElementById(id);
const number = new Intl.NumberFormat('en', { useGrouping: true });
const format = (value) => number.format(value).replaceAll(',', '\u202f');

function age(ms) {
  if (ms < 10000) return [(ms / 1000).toFixed(1), 's'];
  if (ms < 120000) return [String(Math.floor(ms / 1000)), 's'];
  if (ms < 7200000) return [String(Math.floor(ms / 60000)), 'min'];
  if (ms < 172800000) return [String(Math.floor(ms / 3600000)), 'h'];
  return [String(Math.floor(ms / 86400000)), 'd'];
}
// "sqlite:/var/lib/app/orders.db" is "orders.db" where there is little room.
const shortName = (name) => name.replace(/^[a-z]+:(.*\/)?/, '');
const ageText = (ms) => age(ms).join('\u202f');

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function mark(element, level) {
  element.classList.toggle('bad', level === 'bad');
  element.classList.toggle('warn', level === 'warn');
  element.classList.toggle('good', level === 'good');
}

function spark(id, values, floor) {
  const svg = byId(id);
  const shown = values.slice(-120);
  const top = Math.max(floor, ...shown);
  // Two minutes in the end; the first half minute already fills a part that can be seen.
  const step = 300 / (Math.max(30, shown.length) - 1);
  const points = shown.map((value, index) => {
    const x = 300 - (shown.length - 1 - index) * step;
    return `${x.toFixed(1)},${(57 - (value / top) * 52).toFixed(1)}`;
  });
  if (points.length < 2) return;
  const line = `M${points.join('L')}`;
  const first = points[0].split(',')[0];
  svg.querySelector('.line').setAttribute('d', line);
  svg.querySelector('.area').setAttribute('d', `${line}L300,60L${first},60Z`);
}

// Rows by key: existing ones are changed, new ones made, others removed.
function fillTable(name, items, keyOf, cellsOf, decorate) {
  const table = byId(`${name}-table`);
  const body = table.tBodies[0];
  const rows = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  table.hidden = items.length === 0;
  byId(`${name}-empty`).hidden = items.length > 0;
  items.forEach((item, index) => {
    const key = keyOf(item);
    const cells = cellsOf(item);
    let row = rows.get(key);
    rows.delete(key);
    if (!row) {
      row = document.createElement('tr');
      row.dataset.key = key;
      for (const cell of cells) {
        const td = document.createElement('td');
        if (cell.class) td.className = cell.class;
        row.append(td);
      }
      if (decorate) decorate(row, item);
    }
    cells.forEach((cell, at) => {
      const td = row.cells[at];
      if (cell.class !== undefined && td.className !== cell.class) td.className = cell.class;
      if (cell.small !== undefined) {
        if (!td.firstChild) td.append(document.createTextNode(''), document.createElement('small'));
        if (td.firstChild.data !== cell.text) td.firstChild.data = cell.text;
        setText(td.lastChild, cell.small);
      } else if (cell.text !== undefined) {
        setText(td, cell.text);
      }
    });
    row.item = item;
    if (body.rows[index] !== row) body.insertBefore(row, body.rows[index] || null);
  });
  for (const row of rows.values()) row.remove();
}

let toastTimer;
function toast(text) {
  const element = byId('toast');
  element.textContent = text;
  element.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { element.hidden = true; }, 5000);
}

const targetOf = (item) => ({
  database: item.database, stage: item.stage,
  ...(item.key === null ? { id: item.id } : { topic: item.topic, key: item.key }),
});

async function change(verb, item, button) {
  button.disabled = true;
  try {
    const response = await fetch(`/api/${verb}`, {
      method: 'POST', body: JSON.stringify(targetOf(item)),
      headers: { 'Content-Type': 'application/json', 'X-Sluice-Console': '1' },
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
    const done = verb === 'drop' ? 'Dropped' : 'Redriven';
    toast(answer.events === 0
      ? 'Nothing had failed for good there: what is retrying needs no help.'
      : `${done}: ${answer.events} ${answer.events === 1 ? 'event' : 'events'}`);
    await refresh();
  } catch (error) {
    toast(`That did not work: ${error.message}`);
  } finally {
    button.disabled = false;
  }
}

function confirmDrop(item, button) {
  const dialog = byId('confirm');
  const what = item.key === null ? `the event ${item.id}` : `the failed events of key ${item.key}`;
  byId('confirm-text').textContent =
    `This deletes ${what} in ${item.topic}, held by ${item.stage}. Nobody will ever get them; what waits behind them flows again.`;
  byId('confirm-yes').onclick = () => { dialog.close(); change('drop', item, button); };
  byId('confirm-no').onclick = () => dialog.close();
  dialog.showModal();
  byId('confirm-no').focus();
}

async function showEvent(item) {
  try {
    const response = await fetch(`/api/dead-letters?id=${encodeURIComponent(item.id)}`);
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
    byId('detail-title').textContent = `Event ${item.id}`;
    byId('detail-text').textContent = JSON.stringify(answer.dead_letters, null, 2);
    byId('detail').showModal();
  } catch (error) {
    toast(`That did not work: ${error.message}`);
  }
}
byId('detail-close').onclick = () => byId('detail').close();

function addActions(row) {
  const cell = row.cells[row.cells.length - 1];
  const add = (text, style, action) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = text;
    button.className = style;
    const of = row.dataset.label;
    button.setAttribute('aria-label', `${text} ${of}`);
    button.onclick = () => action(row.item, button);
    cell.append(button);
  };
  add('Look', '', (item) => showEvent(item));
  add('Redrive', 'primary', (item, button) => change('redrive', item, button));
  add('Drop', 'danger', confirmDrop);
}

function showHealth(state) {
  const reasons = state.not_ready || [];
  const health = byId('health');
  setText(health, reasons.length === 0 ? 'ready' : 'not ready');
  mark(health, reasons.length === 0 ? 'good' : 'bad');
  const list = byId('reasons');
  list.hidden = reasons.length === 0;
  if (list.dataset.text !== reasons.join('\n')) {
    list.dataset.text = reasons.join('\n');
    list.replaceChildren(...reasons.map((reason) => {
      const item = document.createElement('li');
      item.textContent = reason;
      return item;
    }));
  }
  setText(byId('clock'), new Date(state.time_ms).toLocaleTimeString('en-GB'));
  setText(byId('version'), `sluice ${state.version}`);
}

function showHero(state, databases) {
  const known = databases.filter((database) => !database.error);
  const oldest = Math.max(0, ...known.map((database) => database.oldest_unsent_age_ms));
  const unsent = known.reduce((sum, database) => sum + database.unsent_events, 0);
  const [value, unit] = age(oldest);
  const level = oldest >= BAD_AGE_MS ? 'bad' : oldest >= WARN_AGE_MS ? 'warn' : 'good';
  const hasRelay = known.length > 0;
  setText(byId('age'), hasRelay ? value : '–');
  setText(byId('age-unit'), hasRelay ? unit : '');
  setText(byId('age-note'), !hasRelay ? 'this process looks at no database'
    : unsent === 0 ? 'everything that was committed has been sent'
      : `${format(unsent)} ${unsent === 1 ? 'event has' : 'events have'} not been sent yet`);
  mark(byId('hero'), level);
  setText(byId('unsent'), hasRelay ? format(unsent) : '–');
  mark(byId('tile-unsent'), level === 'good' ? '' : level);
  document.title = hasRelay ? `${value} ${unit} · sluice` : 'sluice';
}

function showRates(state) {
  const history = state.history;
  const totals = state.totals || {};
  for (const name of ['published', 'delivered']) {
    const values = history[name];
    // Three seconds' mean: steady enough to read from afar.
    const last = values.slice(-3);
    const mean = last.length === 0 ? 0 : last.reduce((a, b) => a + b, 0) / last.length;
    const isKnown = totals[name] !== undefined;
    setText(byId(name), !isKnown ? '–' : mean > 0 && mean < 10 ? mean.toFixed(1) : format(Math.round(mean)));
    byId(name).nextElementSibling.hidden = !isKnown;
    setText(byId(`${name}-total`), isKnown ? `${format(totals[name])} since the start` : 'not in this process');
    spark(`spark-${name}`, values.map((value, at) => (value + (values[at - 1] || 0) + (values[at - 2] || 0)) / 3), 1);
  }
  spark('spark-age', history.oldest_unsent_age_ms, 1000);
}

function showStuck(databases) {
  const items = databases.flatMap((database) =>
    (database.parked || []).map((item) => ({ ...item, database: database.name })));
  const failed = items.filter((item) => item.state === 'FAILED_PERMANENTLY');
  items.sort((a, b) => (b.state === 'FAILED_PERMANENTLY') - (a.state === 'FAILED_PERMANENTLY') || b.held_ms - a.held_ms);
  const stages = databases.flatMap((database) => database.stages || []);
  const parkedKeys = stages.reduce((sum, stage) => sum + stage.parked_keys, 0);
  const failedEvents = stages.reduce((sum, stage) => sum + stage.failed, 0);
  setText(byId('parked'), format(parkedKeys));
  setText(byId('failed'), format(failedEvents));
  mark(byId('tile-parked'), parkedKeys === 0 ? '' : failed.length > 0 ? 'bad' : 'warn');
  mark(byId('tile-failed'), failedEvents > 0 ? 'bad' : '');
  byId('stuck-cut').hidden = !databases.some((database) => database.parked_is_cut);
  fillTable('stuck', items,
    (item) => [item.database, item.stage, item.topic, item.key === null ? item.id : item.key].join('\n'),
    (item) => {
      const isFailed = item.state === 'FAILED_PERMANENTLY';
      const next = item.state === 'RETRYING' ? `tried again in ${ageText(item.next_attempt_in_ms)}` : 'waits for a person';
      return [
        { text: item.key === null ? '(no key)' : item.key, small: item.topic, class: 'name' },
        { text: item.stage, small: shortName(item.database) },
        { text: item.reason || '(no reason was given)', small: `${item.type}: ${next}`, class: isFailed ? 'reason' : 'reason waiting' },
        { text: format(item.events), class: 'n' }, { text: format(item.attempts), class: 'n' },
        { text: ageText(item.held_ms), class: 'n' }, { class: 'actions' },
      ];
    }, (row, item) => { row.dataset.label = item.key === null ? item.id : item.key; addActions(row); });
}

function showDatabases(state, databases) {
  const relays = new Map((state.relays || []).map((relay) => [relay.database, relay]));
  fillTable('databases', databases, (database) => database.name, (database) => {
    const relay = relays.get(database.name);
    const isBad = database.error || (relay && relay.state === 'halted');
    const isWarn = relay && relay.state === 'resting';
    return [
      { text: database.name, class: 'name' },
      { text: database.error || (relay ? (relay.state === 'resting' ? 'waits for the broker' : relay.state) : 'elsewhere'),
        class: isBad ? 'bad-text' : isWarn ? 'warn-text' : 'good-text' },
      { text: database.error ? '–' : `${format(database.position)} of ${format(database.last_position)}`, class: 'n' },
      { text: database.error ? '–' : format(database.unsent_events), class: 'n' },
      { text: database.error ? '–' : ageText(database.oldest_unsent_age_ms), class: 'n' },
    ];
  });
}

function showConsumers(state, databases) {
  const places = (state.broker && state.broker.places) || [];
  const items = databases.flatMap((database) => (database.consumers || []).map((consumer) => {
    const own = places.filter((place) => place.consumer === consumer.name);
    return { ...consumer, database: database.name,
      behind: own.reduce((sum, place) => sum + place.lag_events, 0),
      lagMs: Math.max(0, ...own.map((place) => place.lag_ms)) };
  }));
  const behind = items.filter((item) => item.lagMs >= WARN_AGE_MS).length;
  setText(byId('lag'), format(behind));
  mark(byId('tile-lag'), items.some((item) => item.lagMs >= BAD_AGE_MS) ? 'bad' : behind > 0 ? 'warn' : '');
  fillTable('consumers', items, (item) => `${item.database}\n${item.name}`, (item) => [
    { text: item.name, small: shortName(item.database), class: 'name' },
    { text: format(item.applied_total), class: 'n' },
    { text: format(item.duplicates_total), class: 'n' },
    { text: format(item.failures_total), class: item.failures_total > 0 ? 'n warn-text' : 'n' },
    { text: format(item.behind), class: 'n' },
    { text: ageText(item.lagMs), class: item.lagMs >= BAD_AGE_MS ? 'n bad-text' : item.lagMs >= WARN_AGE_MS ? 'n warn-text' : 'n' },
  ]);
}

function showStreams(state) {
  const gateway = state.gateway;
  setText(byId('streams'), gateway ? format(gateway.streams) : '–');
  const items = gateway ? gateway.live.map((stream, index) => ({ ...stream, index })) : [];
  setText(byId('streams-empty'), gateway ? 'No browser is listening.' : 'This process runs no gateway.');
  fillTable('streams', items, (item) => `${item.route}\n${item.key}\n${item.client}\n${item.index}`, (item) => [
    { text: item.key, class: 'name' }, { text: item.route },
    { text: ageText(item.age_ms), class: 'n' }, { text: format(item.delivered), class: 'n' },
    { text: item.queued_bytes === 0 ? '–' : `${format(item.queued_bytes)} B`, class: item.is_lagging ? 'n warn-text' : 'n' },
  ]);
}

function showTopics(state) {
  const topics = (state.broker && state.broker.topics) || [];
  fillTable('topics', topics, (item) => item.topic, (item) => [
    { text: item.topic, class: 'name' }, { text: format(item.partitions), class: 'n' },
    { text: format(item.retained_events), class: 'n' }, { text: format(item.next_offsets), class: 'n' },
  ]);
}

function show(state) {
  const databases = state.databases || [];
  showHealth(state);
  showHero(state, databases);
  showRates(state);
  showStuck(databases);
  showDatabases(state, databases);
  showConsumers(state, databases);
  showStreams(state);
  showTopics(state);
}

let lastGoodMs = performance.now();

async function refresh() {
  const response = await fetch('/api/state', { signal: AbortSignal.timeout(3000) });
  if (!response.ok) throw new Error(`status ${response.status}`);
  const state = await response.json();
  lastGoodMs = performance.now();
  document.body.classList.remove('stale');
  show(state);
}

async function poll() {
  try {
    await refresh();
  } catch (error) {
    const silentMs = performance.now() - lastGoodMs;
    if (silentMs > STALE_AFTER_MS) {
      document.body.classList.add('stale');
      setText(byId('health'), `no answer for ${ageText(silentMs)}`);
      mark(byId('health'), 'bad');
      document.title = 'no answer · sluice';
    }
  }
  setTimeout(poll, POLL_INTERVAL_MS);
}
poll();
