// Comfort for the operators' pages: live figures, tails, shortcuts. Every page
// and form works without it.
'use strict';
(() => {
  const $ = (s, in_ = document) => in_.querySelector(s);
  const all = (s, in_ = document) => [...in_.querySelectorAll(s)];

  // Shortcuts rest while somebody types, and where a modifier is held.
  let go = 0;
  document.addEventListener('keydown', (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.target.matches('input, select, textarea')) {
      if (e.key === 'Escape') e.target.blur();
      return;
    }
    const follow = (a) => { if (a) { e.preventDefault(); a.click(); } };
    if (go && Date.now() - go < 1500) { go = 0; follow($(`[data-go="${CSS.escape(e.key)}"]`)); return; }
    go = 0;
    switch (e.key) {
      case 'g': go = Date.now(); break;
      case 'n': follow($('[data-new]')); break;
      case 't': follow($('#theme')); break;
      case '?': follow($('[data-go="h"]')); break;
      case '/': { const f = $('input[type=search]'); if (f) { e.preventDefault(); f.focus(); f.select(); } }
    }
  });

  // The switch offers the other theme than the one that shows.
  const theme = $('#theme');
  if (theme && !document.documentElement.dataset.theme && matchMedia('(prefers-color-scheme: dark)').matches) {
    theme.textContent = theme.dataset.light;
    theme.href = theme.getAttribute('href').replace('theme=dark', 'theme=light');
  }

  // Fields that what was chosen rules out are switched off, not only hidden.
  const config = $('[data-config]');
  if (config) {
    const picked = (name, otherwise) => (config.elements[name] ? config.elements[name].value : otherwise);
    const off = (s, no) => all(s, config).forEach((part) => all('input', part).forEach((i) => { i.disabled = no; }));
    const fit = () => {
      const global = picked('scope', config.dataset.scope) === 'global', device = picked('target', config.dataset.target) === 'device';
      const keeps = global || config.querySelector('[name=persistent][value=true]').checked, threshold = config.querySelector('[name=repush][value=threshold]').checked;
      off('.multi', device || global);
      off('.consist', device);
      off('.keep', global);
      off('.again', !keeps);
      off('.thresh', !keeps || !threshold);
      config.elements.threshold.required = keeps && threshold;
    };
    config.addEventListener('change', fit);
    fit();
  }

  const jwt = $('form.jwt [name=jwt]');
  if (jwt) {
    const fit = () => all('.hmac, .keyed, .claims', jwt.form).forEach((part) => {
      (part.matches('input, textarea') ? [part] : all('input', part)).forEach((i) => { i.disabled = !part.checkVisibility(); });
    });
    jwt.addEventListener('change', fit);
    fit();
  }

  const tag = (text, kind) => { const t = $('[data-live]'); if (t) { t.textContent = text; t.className = 'tag ' + kind; } };
  const cell = (row, text, kind) => { const td = document.createElement('td'); td.textContent = text; td.className = kind || ''; row.append(td); return td; };
  const clock = (ms) => { const d = new Date(ms), p = (n) => String(n).padStart(2, '0'); return `${d.getFullYear()}-${p(d.getMonth() + 1)}-${p(d.getDate())} ${p(d.getHours())}:${p(d.getMinutes())}:${p(d.getSeconds())}`; };

  // listen shows what a stream is at, and closes it with the page.
  const listen = (url, event, take) => {
    const source = new EventSource(url);
    source.onopen = () => tag('●', 'good');
    source.onerror = () => tag('○', 'bad');
    source.addEventListener(event, (e) => take(JSON.parse(e.data)));
    source.addEventListener('end', () => { source.close(); tag('○', 'bad'); });
    addEventListener('pagehide', () => source.close());
    return source;
  };

  // Tails keep the newest rows only.
  const rowsMax = 500;
  const tail = $('[data-tail]');
  if (tail) {
    const d = tail.dataset, body = $('[data-entries]', tail), brief = body.dataset.entries === 'send';
    const rows = new Map();
    const add = (e) => {
      const row = document.createElement('tr'), payload = (e.payload || e.binaryPayload || '').slice(0, 200);
      cell(row, clock(e.time));
      if (brief) cell(row, e.oplogId); else { cell(row, e.partition, 'n'); cell(row, `${e.instanceId} ${e.bizType}`); }
      cell(row, e.linkToken || '', 'wrap');
      if (!brief) cell(row, e.oplogId, 'n');
      cell(row, e.thirdMsgId, 'wrap');
      cell(row, payload, 'wrap');
      if (brief) rows.set(`${e.linkToken} ${e.oplogId}`, cell(row, ''));
      body.prepend(row);
      if (body.rows.length > rowsMax) body.lastElementChild.remove();
    };
    const q = new URLSearchParams({ instance: d.instance, biz: d.biz, target: d.target, last: d.last });
    const source = listen('/api/v1/oplog/tail?' + q, 'entry', add);
    const stop = $('[data-stop]');
    if (stop) { stop.hidden = false; stop.onclick = () => { source.close(); tag('■', 'idle'); stop.hidden = true; }; }
    if (brief && d.dimension && d.target) {
      const look = async () => {
        const r = await fetch(`/api/v1/instances/${encodeURIComponent(d.instance)}/targets/${d.dimension}/${encodeURIComponent(d.target)}?limit=50`);
        if (r.ok) for (const p of (await r.json()).pushList || []) {
          const at = p.bizType === d.biz && rows.get(`${d.target} ${p.oplogId}`);
          if (at) at.textContent = p.arrived ? d.arrived : d.waiting;
        }
        setTimeout(look, 2000);
      };
      setTimeout(look, 500);
    }
  }

  // The overview: two minutes of history for each chart.
  const overview = $('[data-overview]');
  if (overview) {
    const history = {}, points = 120, NS = 'http://www.w3.org/2000/svg';
    const chart = (name, value) => {
      const h = (history[name] ||= []), svg = $(`[data-spark="${name}"]`, overview);
      h.push(value);
      if (h.length > points) h.shift();
      if (!svg) return;
      const top = Math.max(...h, 1), at = (v, i) => `${(i + points - h.length).toFixed(0)},${(31 - 29 * v / top).toFixed(1)}`;
      if (!svg.firstChild) for (const k of ['area', 'line']) { const p = document.createElementNS(NS, 'path'); p.setAttribute('class', k); svg.append(p); }
      const line = h.map(at).join('L');
      svg.children[0].setAttribute('d', `M${points - h.length},32L${line}L${points - 1},32Z`);
      svg.children[1].setAttribute('d', 'M' + line);
    };
    const set = (k, v) => { const e = $(`[data-k="${k}"]`, overview); if (e && e.textContent !== String(v)) e.textContent = v; };
    const ms = (s) => (s * 1000).toFixed(1);
    listen('/api/v1/live/stream', 'live', (s) => {
      const ready = $('[data-k=ready]', overview);
      ready.textContent = s.ready ? ready.dataset.yes : ready.dataset.no;
      set('waiting', s.waiting || ''); set('connections', s.connections); set('parked', s.parked);
      set('reach', `${s.quorum.reachable}/${s.quorum.members}`); set('leader', s.quorum.leader || '–'); set('qstate', s.quorum.state);
      set('revision', s.quorum.revision); set('pending', s.quorum.pending);
      chart('connections', s.connections);
      for (const [name, v] of Object.entries(s.rates || {})) {
        const e = $(`[data-rate="${CSS.escape(name)}"]`, overview);
        if (e) e.textContent = v.toFixed(1);
        chart(name, v);
      }
      for (const [name, l] of Object.entries(s.latency || {})) {
        const row = $(`[data-latency="${CSS.escape(name)}"]`, overview);
        if (row) [ms(l.p50), ms(l.p95), ms(l.p99), l.count].forEach((v, i) => { row.cells[i + 1].textContent = v; });
      }
      const body = $('[data-partitions]', overview);
      (s.partitions || []).forEach((p, i) => {
        let row = body.rows[i];
        if (!row) { row = body.insertRow(); for (const k of ['n', '', 'n', 'n', 'n', 'n', 'wrap']) cell(row, '', k); }
        [p.partition, p.state, p.lag, p.inFlight, p.viewLag, p.online, p.reason || ''].forEach((v, j) => { if (row.cells[j].textContent !== String(v)) row.cells[j].textContent = v; });
      });
      while (body.rows.length > (s.partitions || []).length) body.lastElementChild.remove();
    });
  }
})();
