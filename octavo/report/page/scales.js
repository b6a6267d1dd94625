// SPDX-License-Identifier: Apache-2.0
// Panel 3: the scale of every tensor over the steps, as heat maps and as bands over the layers.
function tensorTip(run, row, column) {
  const t = run.tensors;
  return [
    el('b', {}, row.tensor), el('div', {}, `${row.role}, ${row.format}, step ${t.steps[column]}`),
    tipRow('scale', power(row.scale[column])), tipRow('largest magnitude', digits(row.amax[column], 3)),
    tipRow('underflow', percent(row.underflow[column])), tipRow('saturation', percent(row.saturation[column])),
    tipRow('signal to noise', known(row.snr[column]) ? row.snr[column].toFixed(1) + ' dB' : '–'),
  ];
}

/// Shows a tensor at a step in the panel of values.
function pickTensor(row, step) {
  state.row = row;
  state.step = step;
  redraw('values');
  document.getElementById('values').scrollIntoView();
}

const classesOf = (run) => run.tensors.classes.map((c) => c.class);
const formatsOf = (run, name) => run.tensors.classes.find((c) => c.class === name).formats.join(', ');
const kindNames = ['qkv', 'attn-out', 'ffn-up', 'ffn-down', 'other'];

function biasGrid(body, shown) {
  const kinds = kindNames.filter((k) => shown.some(({run}) => run.tensors.classes.some((c) => c.bias[k] && c.bias[k].x.length)));
  const grid = el('div', {class: 'small'});
  grid.style.setProperty('--kinds', kinds.length);
  body.append(grid);
  for (const name of classNames) {
    const having = shown.filter(({run}) => classesOf(run).includes(name));
    const bandsOf = (kind) => having.map(({run, index}) => {
      const bands = run.tensors.classes.find((c) => c.class === name);
      return {name: run.name, band: bands.bias[kind] || {x: [], low: [], high: [], median: []}, colour: runColour(index)};
    });
    // One range a class, so that the kinds can be compared.
    const all = kinds.flatMap((k) => bandsOf(k).flatMap((b) => [...b.band.low, ...b.band.high]));
    if (!all.length) continue;
    const low = Math.min(...all), high = Math.max(...all);
    kinds.forEach((kind, k) => {
      const place = el('div', {}, el('div', {class: 'chart-title'}, `${name}, ${kind}`));
      grid.append(place);
      lineChart(place, {height: 176, yLabel: 'scaling bias b', whole: true, bands: bandsOf(kind), yRange: () => [low - 0.7, high + 0.7]});
    });
  }
}

panels.push({
  id: 'scales', title: 'Scales',
  how: 'A tensor is stored as 8-bit codes with value = code × scale. Each row is a tensor (grouped by type of layer, numbered by block), each column a logged step, the colour is log2 of its scale: the brighter, the larger the values were. A change of colour is a scale that moved.',
  draw(body) {
    const shown = runsWith((r) => r.tensors.rows.length > 0);
    if (!shown.length) return missing(body, 'tensors', false);
    const run = shownRun(), t = run.tensors;
    const maps = el('div', {class: 'columns'});
    body.append(el('h3', {}, `log2 of the scales of ${run.name}`), maps);
    for (const name of classesOf(run)) {
      const rows = t.rows.filter((r) => r.class === name);
      const place = el('div', {}, el('div', {class: 'chart-title'}, `${name} (${formatsOf(run, name)})`));
      maps.append(place);
      heatMap(place, {rows, steps: t.steps, values: (r) => r.scale, label: `log2 of the scales of the ${name} over the steps`, tip: (row, column) => tensorTip(run, row, column), pick: (row, column) => pickTensor(row, t.steps[column])});
      if (!rows.some((r) => r.scale.some(known))) hint(place, 'These tensors have no single scale.');
    }
    body.append(el('p', {class: 'note'}, 'Point at a cell for its figures; click it to see the values behind it.', t.steps.length < t.logged_steps ? ` ${t.steps.length} of ${t.logged_steps} logged steps are drawn; the bands below and the table of worst tensors count all of them.` : ''));

    body.append(el('h3', {}, 'Scaling bias over the layers'));
    body.append(el('p', {class: 'how'}, 'In the manner of the figures of arXiv:2309.17224: b is the power of two a tensor is multiplied by before it is rounded, scale = 2^-b. The line is the median over the layers, the band reaches from the smallest to the largest.'));
    if (shown.length > 1) legend(body, shown.map(({run, index}) => ({name: run.name, colour: runColour(index)})));
    biasGrid(body, shown);
    if (shown.length < runs.length) missing(body, 'tensors', true);
  },
});
