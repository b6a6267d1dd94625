// SPDX-License-Identifier: Apache-2.0
// Panel 6: where the values of one tensor lie on the number line of its format, before and after scaling.
function chosenTensor(run) {
  const rows = run.tensors.rows.filter((r) => r.histograms.some((h) => h.length));
  if (!rows.length) return null;
  const row = rows.includes(state.row) ? state.row : rows.find((r) => r.class === 'gradients') || rows[0];
  const steps = run.tensors.histogram_steps;
  const wanted = state.step ?? steps[steps.length - 1];
  let column = 0;
  steps.forEach((s, i) => {
    if (row.histograms[i].length && (!row.histograms[column].length || Math.abs(s - wanted) < Math.abs(steps[column] - wanted))) column = i;
  });
  const [first, ...counts] = row.histograms[column];
  return {rows, row, column, step: steps[column], first, counts, scale: row.scale[run.tensors.steps.indexOf(steps[column])], figures: run.tensors.steps.indexOf(steps[column])};
}

/// 0 and up to four even shares below the top.
function shareTicks(top) {
  const step = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5].find((s) => top / s <= 4.5) || 0.5;
  return Array.from({length: Math.floor(top / step) + 1}, (_, i) => i * step);
}

function drawHistogram(chosen, format) {
  const {first, counts, scale, row} = chosen;
  const total = counts.reduce((a, b) => a + b, 0);
  const log2 = Math.log2, marks = format ? [log2(format.min_subnormal), log2(format.min_normal), log2(format.max)] : [];
  // Bars too low to be seen may stay outside; on a logarithmic scale all of them can be seen.
  const seen = state.logCounts ? 0 : Math.max(0, counts.findIndex((c) => c > total * 2e-4));
  const lowest = Math.floor(Math.min(first + seen, known(scale) ? first + seen - scale : first, ...marks)) - 1;
  const highest = Math.ceil(Math.max(first + counts.length, known(scale) ? first + counts.length - scale : -1e9, ...marks)) + 1;
  const width = 1160, left = 62, right = 16, rowHeight = 140, gap = 46, top = 24, across = width - left - right;
  const x = (e) => left + across * (e - lowest) / (highest - lowest);
  const shares = counts.map((c) => c / total), most = Math.max(...shares), least = Math.min(...shares.filter((s) => s > 0));
  const floor = Math.floor(Math.log10(least)) - 0.3, ceiling = state.logCounts ? 0 : most * 1.18;
  const rise = (s) => (state.logCounts ? (s > 0 ? (Math.log10(s) - floor) / (ceiling - floor) : 0) : s / ceiling) * rowHeight;
  const height = top + 2 * rowHeight + gap + 44;
  const svg = svgEl('svg', {class: 'plot', viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': 'Histogram of the exponents before and after scaling'});
  const colours = {text: css('--text'), faint: css('--faint'), grid: css('--grid')};
  const text = (px, py, words, attributes = {}) => svg.append(svgEl('text', {x: px, y: py, fill: colours.faint, 'font-size': 12, ...attributes}, words));
  const panel = (y, shift, title, colour) => {
    const bottom = y + rowHeight;
    if (format) {
      const [sub, normal, max] = marks;
      for (const [from, to, fill] of [[sub, normal, css('--range-low')], [normal, max, css('--range')]]) svg.append(svgEl('rect', {x: x(from), y, width: x(to) - x(from), height: rowHeight, fill}));
    }
    const ticks = state.logCounts ? Array.from({length: Math.ceil(-floor)}, (_, i) => -i).filter((e) => e >= floor && (-e) % Math.ceil(-floor / 5) === 0).map((e) => 10 ** e) : shareTicks(ceiling);
    for (const share of new Set(ticks)) {
      const py = bottom - rise(share);
      svg.append(svgEl('line', {x1: left, x2: width - right, y1: py, y2: py, stroke: colours.grid}));
      text(left - 7, py + 4, digits(share * 100, 2) + ' %', {'text-anchor': 'end', 'font-size': 11});
    }
    shares.forEach((share, i) => {
      const from = first + i + shift;
      if (from < lowest || !share) return;
      const bar = svgEl('rect', {x: x(from) + 0.8, y: bottom - rise(share), width: Math.max(1, x(from + 1) - x(from) - 1.6), height: rise(share), rx: 1.5, fill: colour});
      bar.append(svgEl('title', {}, `${digits(share * 100, 3)} % of the values (${counts[i]}): 2^${digits(from)} to 2^${digits(from + 1)}`));
      svg.append(bar);
    });
    if (format) marks.forEach((mark, i) => {
      svg.append(svgEl('line', {x1: x(mark), x2: x(mark), y1: y, y2: bottom, stroke: colours.text, 'stroke-dasharray': '4 3', 'stroke-opacity': 0.7}));
      text(x(mark) + (i === 1 ? 5 : -5), y + 13, ['smallest', 'smallest normal', 'largest'][i], {'text-anchor': i === 1 ? 'start' : 'end', 'font-size': 11});
    });
    svg.append(svgEl('line', {x1: left, x2: width - right, y1: bottom, y2: bottom, stroke: colours.faint}));
    text(left, y - 7, title, {fill: colours.text, 'font-weight': 600, 'font-size': 12.5});
    for (let e = lowest; e <= highest; ++e) if (e % Math.max(1, Math.ceil((highest - lowest) / 24)) === 0) text(x(e), bottom + 16, String(e), {'text-anchor': 'middle', 'font-size': 11});
  };
  panel(top, 0, 'Before scaling', css('--bar-before'));
  if (known(scale)) panel(top + rowHeight + gap, -scale, `After scaling: divided by the scale ${power(scale)}, that is, multiplied by ${power(-scale)}`, classColour(row.class));
  text(left + across / 2, height - 8, 'log2 of the magnitude', {'text-anchor': 'middle'});
  return svg;
}

panels.push({
  id: 'values', title: 'Values and the range of the format',
  how: 'Each bar counts the values between two powers of two; the shaded part is what the format can hold, darker where it has full precision. Scaling moves all bars by the same distance. It is right when the bars end just below the largest number and few reach into or below the lightly shaded subnormal numbers.',
  draw(body) {
    const run = shownRun();
    if (!run.tensors.rows.length) return missing(body, 'tensors', false);
    const chosen = chosenTensor(run);
    if (!chosen) return hint(body, run.missing.histograms || 'No histograms in this run.');
    const {rows, row, column} = chosen, steps = run.tensors.histogram_steps, format = doc.formats[row.format];
    const select = el('select', {'aria-label': 'tensor', change: (e) => {
      state.row = rows[Number(e.target.value)];
      state.step = chosen.step;
      redraw('values');
    }}, classesOf(run).map((name) => el('optgroup', {label: `${name} (${formatsOf(run, name)})`}, rows.map((r, i) => (r.class === name ? el('option', {value: i, selected: r === row}, r.tensor + (/^gemm\.[a-z_]+$/.test(r.role) ? '' : ', ' + r.role)) : null)))));
    const slider = el('input', {type: 'range', min: 0, max: steps.length - 1, value: column, 'aria-label': 'step', input: (e) => {
      state.row = row;
      state.step = steps[Number(e.target.value)];
      redraw('values');
      document.querySelector('#values input[type=range]').focus();
    }});
    body.append(el('div', {class: 'controls'}, el('label', {}, 'tensor', select), el('label', {}, 'step', slider, el('b', {}, String(chosen.step))), el('label', {}, el('input', {type: 'checkbox', checked: state.logCounts, change: (e) => {
      state.logCounts = e.target.checked;
      redraw('values');
    }}), 'logarithmic counts')));
    body.append(drawHistogram(chosen, format));
    const at = chosen.figures, facts = [`largest magnitude ${digits(row.amax[at], 3)}`, `underflow ${percent(row.underflow[at])}`, `saturation ${percent(row.saturation[at])}`];
    if (known(row.snr[at])) facts.push(`signal to noise ${row.snr[at].toFixed(1)} dB${format ? ` of ${format.ideal_snr_db.toFixed(1)}` : ''}`);
    body.append(el('p', {class: 'note'}, `${row.tensor}, ${row.role} in ${row.format} at step ${chosen.step}: `, facts.join(', '), '. ', format ? `${row.format}: smallest ${power(Math.log2(format.min_subnormal))}, smallest normal ${power(Math.log2(format.min_normal))}, largest ${format.max}. ` : '', 'Zeros are not counted.', steps.length < run.tensors.logged_steps ? ` Histograms of ${steps.length} of ${run.tensors.logged_steps} logged steps are kept.` : ''));
  },
});
