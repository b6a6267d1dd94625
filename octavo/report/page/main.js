// SPDX-License-Identifier: Apache-2.0
// The frame of the page: the bar, one section a panel, drawing again on change of theme or run.
const navNames = {lab: 'Recipes', sweep: 'Sweep', overview: 'Overview', loss: 'Loss', scales: 'Scales', range: 'Underflow', snr: 'SNR', values: 'Values', resources: 'Resources'};

function drawPanel(panel) {
  const old = document.getElementById(panel.id);
  const section = el('section', {id: panel.id}, el('h2', {}, panel.title), el('p', {class: 'how'}, panel.how));
  // In the page first: charts ask for their width.
  if (old) old.replaceWith(section);
  else document.getElementById('panels').append(section);
  panel.draw(section);
}

function redraw(id) {
  drawPanel(panels.find((p) => p.id === id));
  forgetRemoved();
}

function drawAll() {
  const at = scrollY;
  for (const panel of panels) redraw(panel.id);
  scrollTo({top: at, behavior: 'instant'});
}

function drawBar() {
  const withTensors = runsWith((r) => r.tensors.rows.length > 0);
  const pick = el('select', {'aria-label': 'run whose tensors are shown', change: (e) => {
    state.run = Number(e.target.value);
    state.row = state.step = null;
    drawAll();
  }}, withTensors.map(({run, index}) => el('option', {value: index, selected: index === state.run}, run.name)));
  const theme = el('button', {class: 'plain', id: 'theme', title: 'light or dark', 'aria-label': 'light or dark', click: () => {
    document.documentElement.dataset.theme = isDark() ? 'light' : 'dark';
    drawAll();
  }}, '◐');
  document.getElementById('bar').append(
    el('span', {class: 'brand'}, 'octavo report'),
    el('nav', {}, panels.map((p) => el('a', {href: '#' + p.id}, navNames[p.id] || p.title))),
    withTensors.length > 1 ? el('label', {class: 'pick-run'}, 'tensors of ', pick) : '', theme);
}

document.body.append(el('div', {id: 'tip', role: 'status'}));
drawBar();
document.getElementById('panels').replaceChildren();
drawAll();
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawAll);
document.getElementById('foot').append(`Written by octavo ${doc.version} on ${doc.created}${runs.length ? ` from ${runs.map((r) => r.path).join(', ')}` : ''}. Charts by uPlot 1.6.32 (MIT). This file needs no network.`);
document.documentElement.dataset.ready = 'true';
