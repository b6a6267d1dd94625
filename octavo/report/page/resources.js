// SPDX-License-Identifier: Apache-2.0
// Panel 7: memory, time and speed.

/// One stacked bar a run, the longest as long as the page is wide. parts(run) -> {name: number}
function stackedBars(body, shown, parts, format, totalText) {
  const names = [...new Set(shown.flatMap(({run}) => Object.keys(parts(run))))];
  const colourOf = (name, i) => (name === 'other' ? tone(doc.palette.baseline) : lineColour(i));
  const total = (run) => Object.values(parts(run)).reduce((a, b) => a + b, 0);
  const most = Math.max(...shown.map(({run}) => total(run)));
  legend(body, names.map((name, i) => ({name, colour: colourOf(name, i), shape: 'box'})));
  const bars = el('div', {class: 'bars'});
  for (const {run} of shown) {
    const bar = el('div', {class: 'bar'});
    names.forEach((name, i) => {
      const value = parts(run)[name];
      if (!value) return;
      const piece = el('div', {mousemove: (e) => showTip(e, tipRow(name, `${format(value)} (${digits(value / total(run) * 100, 3)} %)`, colourOf(name, i))), mouseleave: hideTip});
      piece.style.background = colourOf(name, i);
      piece.style.width = value / most * 100 + '%';
      bar.append(piece);
    });
    bars.append(el('div', {}, run.name), bar, el('b', {}, totalText(total(run))));
  }
  body.append(bars);
  const table = el('table', {}, el('thead', {}, el('tr', {}, el('th'), shown.map(({run}) => el('th', {class: 'number'}, run.name)))), el('tbody', {}, names.map((name) => el('tr', {}, el('th', {}, name), shown.map(({run}) => el('td', {class: 'number'}, known(parts(run)[name]) ? format(parts(run)[name]) : '–'))))));
  body.append(el('details', {}, el('summary', {}, 'The figures'), el('div', {class: 'scroll'}, table)));
}

panels.push({
  id: 'resources', title: 'Memory, time and speed',
  how: 'The bars show where memory and the time of a step go; the longest bar is the largest run. The curves show whether speed was steady, and the gradient norm whether training was: a spike is a step that would have moved the weights too far without clipping.',
  draw(body) {
    const memory = runsWith((r) => Object.keys(r.memory).length > 0), timed = runsWith((r) => Object.keys(r.profile_ms).length > 0);
    body.append(el('h3', {}, 'Memory'));
    if (memory.length) stackedBars(body, memory, (r) => r.memory, mebibytes, mebibytes);
    missing(body, 'memory', memory.length > 0);
    body.append(el('h3', {}, 'Time of a step'));
    if (timed.length) stackedBars(body, timed, (r) => r.profile_ms, (v) => digits(v, 3) + ' ms', (v) => digits(v, 3) + ' ms');
    missing(body, 'profile', timed.length > 0);
    if (timed.length) body.append(el('p', {class: 'note'}, 'Mean over all steps, those that logged tensors included: they take longer.'));

    const trained = runsWith((r) => r.curves.loss.x.length > 0);
    if (!trained.length) return;
    body.append(el('h3', {}, 'Over the steps'));
    legend(body, trained.map(({run, index}) => ({name: run.name, colour: runColour(index)})));
    const columns = el('div', {class: 'columns two'});
    body.append(columns);
    for (const [key, title, label, value, floor] of [
      ['tokens_per_second', 'Tokens a second', 'tokens / s', short, true], ['grad_norm', 'Gradient norm before clipping', 'L2 norm', (v) => digits(v, 3), false],
      ['speed_of_light', 'Share of the speed of light', 'share of the peak', percent, true], ['lr', 'Learning rate', 'learning rate', (v) => digits(v, 3), true]]) {
      const lines = trained.map(({run, index}) => ({name: run.name, x: run.curves[key].x, y: run.curves[key].y, colour: runColour(index), width: 1.2}));
      if (!lines.some((l) => l.x.length)) continue;
      const place = el('div', {}, el('div', {class: 'chart-title'}, title));
      columns.append(place);
      lineChart(place, {height: 200, yLabel: label, lines, value, yRange: floor ? (low, high) => [0, high] : undefined});
    }
    thinned(body, trained.flatMap(({run}) => [run.curves.grad_norm]));
  },
});
