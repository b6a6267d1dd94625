// SPDX-License-Identifier: Apache-2.0
// The document, elements, texts and colours. Text from the document enters the page through text nodes only.
const doc = JSON.parse(document.getElementById('document').textContent);
const runs = doc.runs;
const state = {run: Math.max(0, runs.findIndex((r) => r.tensors.rows.length > 0)), row: null, step: null, cut: true, logCounts: false};

// What main.js draws, in this order: {id, title, how, draw(body)}.
const panels = [];

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === 'function') node.addEventListener(key, value);
    else if (value === true) node.setAttribute(key, '');
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(key, value);
  }
  node.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined));
  return node;
}

function svgEl(tag, attributes = {}, ...children) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/// A swatch; style attributes are forbidden by the page's policy, properties are not.
function swatch(colour, shape = '') {
  const mark = el('i', {class: shape});
  mark.style.background = colour;
  return mark;
}

/// A sentence with its flags set as code.
function sentence(text) {
  return text.split(/(--[a-z-]+(?: (?:\d+(?:,\d+)*|fp8-amax))?|octavo [a-z]+)/).map((part, i) => (i % 2 ? el('code', {}, part) : part));
}

function hint(body, text) {
  body.append(el('div', {class: 'hint'}, sentence(text)));
}

// --- texts -----------------------------------------------------------------------------------------------------------

const known = (v) => v !== null && v !== undefined;

/// A number with that many significant digits and no empty zeros.
function digits(v, n = 4) {
  if (!known(v)) return '–';
  if (v === 0) return '0';
  const size = Math.abs(v);
  return size >= 1e6 || size < 1e-4 ? v.toExponential(n - 1).replace(/\.?0+e/, 'e').replace('e+', 'e') : String(Number(v.toPrecision(n)));
}
function short(v) {
  if (!known(v)) return '–';
  const size = Math.abs(v);
  for (const [unit, name] of [[1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e3, 'k']])
    if (size >= unit * 0.9995) return digits(v / unit, 3) + name;
  return digits(v, 3);
}
const loss = (v) => (known(v) ? v.toFixed(4) : '–');
const signed = (v) => (known(v) ? (v > 0 ? '+' : v < 0 ? '−' : '±') + Math.abs(v).toFixed(4) : '–');
const percent = (v) => (known(v) ? digits(v * 100, 3) + ' %' : '–');
function mebibytes(bytes) {
  if (!known(bytes)) return '–';
  return bytes >= 2 ** 30 ? (bytes / 2 ** 30).toFixed(2) + ' GiB' : (bytes / 2 ** 20).toFixed(1) + ' MiB';
}
function duration(s) {
  if (!known(s)) return '–';
  if (s < 60) return s.toFixed(1) + ' s';
  if (s < 3600) return Math.floor(s / 60) + ' min ' + Math.round(s % 60) + ' s';
  return Math.floor(s / 3600) + ' h ' + Math.round((s % 3600) / 60) + ' min';
}
const power = (e) => (known(e) ? '2^' + digits(e, 4) : '–');

// --- colours ---------------------------------------------------------------------------------------------------------

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
}
const tone = (pair) => pair[isDark() ? 1 : 0];
const lineColour = (i) => tone(doc.palette.lines[i % doc.palette.lines.length]);

function runColour(i) {
  if (runs.length === 1) return lineColour(0);
  if (i === doc.baseline) return tone(doc.palette.baseline);
  return lineColour(i - (i > doc.baseline ? 1 : 0));
}

const classNames = ['weights', 'activations', 'gradients', 'weight gradients', 'masters', 'first moments', 'second moments', 'other'];
const classColour = (name) => lineColour(Math.max(0, classNames.indexOf(name)));

/// A colour of the style sheet as the canvas wants it.
function css(name) {
  const probe = document.getElementById('tip');
  probe.style.color = `var(${name})`;
  const colour = getComputedStyle(probe).color;
  probe.style.color = '';
  return colour;
}

function faded(colour, opacity) {
  const bytes = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return `rgba(${bytes.join(',')},${opacity})`;
}

function rampColour(share) {
  const ramp = doc.palette.ramp, at = Math.min(1, Math.max(0, share)) * (ramp.length - 1);
  return ramp[Math.round(at)];
}

// --- the tooltip -----------------------------------------------------------------------------------------------------

function showTip(event, ...children) {
  const tip = document.getElementById('tip');
  tip.replaceChildren(...children);
  tip.style.display = 'block';
  const box = tip.getBoundingClientRect();
  const x = event.clientX + 16 + box.width > innerWidth ? event.clientX - 14 - box.width : event.clientX + 16;
  tip.style.left = Math.max(4, x) + 'px';
  tip.style.top = Math.max(4, Math.min(event.clientY + 14, innerHeight - box.height - 8)) + 'px';
}
function hideTip() {
  document.getElementById('tip').style.display = 'none';
}
const tipRow = (name, value, colour) => el('div', {class: 'row'}, el('span', {}, colour ? swatch(colour) : null, name), el('b', {}, value));

// --- what several panels share ---------------------------------------------------------------------------------------

const shownRun = () => runs[state.run];

/// Runs that have something, as {run, index}.
const runsWith = (test) => runs.map((run, index) => ({run, index})).filter(({run}) => test(run));

/// Says so when a panel has nothing to show, once for each run and reason.
function missing(body, key, some) {
  const reasons = new Set(runs.filter((r) => r.missing[key]).map((r) => r.missing[key]));
  if (some) {
    for (const reason of reasons) body.append(el('p', {class: 'note'}, el('b', {}, runs.filter((r) => r.missing[key] === reason).map((r) => r.name).join(', ')), ': ', sentence(reason)));
  } else {
    for (const reason of reasons) hint(body, reason);
  }
}

/// "one point stands for many": only where that is so.
function thinned(body, curves) {
  const most = Math.max(0, ...curves.map((c) => c.of / Math.max(1, c.x.length)));
  if (most > 1) body.append(el('p', {class: 'note'}, `Long curves are thinned: of every stretch the lowest and the highest value are kept, so every peak is there (${short(Math.max(...curves.map((c) => c.of)))} points became ${short(Math.max(...curves.map((c) => c.x.length)))}).`));
}
