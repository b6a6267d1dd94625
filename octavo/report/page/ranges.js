// SPDX-License-Identifier: Apache-2.0
// Panels 4 and 5: values that fell out of the format's range, and what rounding left of the signal.
function classBands(run, key, factor) {
  return run.tensors.classes.map((c) => {
    const times = (values) => values.map((v) => (known(v) ? v * factor : null));
    const b = c[key];
    return {name: c.class, colour: classColour(c.class), band: {x: b.x, low: times(b.low), median: times(b.median), high: times(b.high), of: b.of}};
  });
}

function classLegend(body, run) {
  legend(body, run.tensors.classes.map((c) => ({name: `${c.class} (${c.formats.join(', ')})`, colour: classColour(c.class)})));
}

/// Columns: name, text of a row, number to sort by, whether the smallest is the worst.
const tensorColumns = [
  ['tensor', (r) => r.tensor, null],
  ['role', (r) => r.role, null],
  ['format', (r) => r.format, null],
  ['worst underflow', (r) => percent(r.worst.underflow[0]), (r) => r.worst.underflow[0]],
  ['mean underflow', (r) => percent(r.worst.underflow_mean), (r) => r.worst.underflow_mean],
  ['worst saturation', (r) => percent(r.worst.saturation[0]), (r) => r.worst.saturation[0]],
  ['least SNR', (r) => (known(r.worst.snr[0]) ? r.worst.snr[0].toFixed(1) + ' dB' : '–'), (r) => r.worst.snr[0], true],
  ['log2 scale', (r) => (known(r.worst.scale[0]) ? `${digits(r.worst.scale[0])} … ${digits(r.worst.scale[1])}` : '–'), (r) => (known(r.worst.scale[0]) ? r.worst.scale[1] - r.worst.scale[0] : null)],
];
const tableState = {column: 3, reverse: false, all: false};

function tensorTable(body, run) {
  const place = el('div', {class: 'scroll'});
  body.append(place);
  const fill = () => {
    const [, text, number, smallest] = tensorColumns[tableState.column];
    // null is no figure: always last.
    const order = (a, b) => {
      if (!number) return text(a).localeCompare(text(b), 'en', {numeric: true});
      const [x, y] = [number(a), number(b)];
      if (!known(x) || !known(y)) return (known(y) ? 1 : 0) - (known(x) ? 1 : 0);
      return smallest ? x - y : y - x;
    };
    const rows = [...run.tensors.rows].sort((a, b) => (tableState.reverse ? order(b, a) : order(a, b)));
    const visible = tableState.all ? rows : rows.slice(0, 12);
    const head = el('tr', {}, tensorColumns.map(([name, , number], i) => {
      const chosen = i === tableState.column, down = chosen && tableState.reverse;
      return el('th', {class: number ? 'number' : '', 'aria-sort': chosen ? (down ? 'ascending' : 'descending') : 'none'}, el('button', {title: 'sort by this column', click: () => {
        tableState.reverse = chosen && !tableState.reverse;
        tableState.column = i;
        fill();
      }}, name + (chosen ? (down ? ' ▴' : ' ▾') : '')));
    }));
    const body = el('tbody', {}, visible.map((r) => el('tr', {class: 'pick', title: 'show its values', click: () => pickTensor(r, r.worst.underflow[1])}, tensorColumns.map(([, text, number], i) => el('td', {class: number ? 'number' : ''}, text(r), i === 3 && r.worst.underflow[0] ? el('span', {class: 'how'}, ` at ${r.worst.underflow[1]}`) : null)))));
    place.replaceChildren(el('table', {}, el('thead', {}, head), body));
    if (rows.length > 12) place.append(el('p', {}, el('button', {class: 'plain', click: () => {
      tableState.all = !tableState.all;
      fill();
    }}, tableState.all ? 'Show the worst 12' : `Show all ${rows.length} tensors`)));
  };
  fill();
}

panels.push({
  id: 'range', title: 'Underflow and saturation',
  how: 'Underflow is the share of non-zero values that became zero, saturation the share beyond the largest number of the format. Both should be near zero; a rising line means the scale no longer fits. The line is the median over the tensors of a class, the band ends at the worst tensor.',
  draw(body) {
    if (!shownRun().tensors.rows.length) return missing(body, 'tensors', false);
    const run = shownRun();
    body.append(el('h3', {}, run.name));
    classLegend(body, run);
    const columns = el('div', {class: 'columns'});
    body.append(columns);
    for (const [key, title, label] of [['underflow', 'Underflow', '% of the non-zero values'], ['saturation', 'Saturation', '% of the values']]) {
      const place = el('div', {}, el('div', {class: 'chart-title'}, title));
      columns.append(place);
      lineChart(place, {height: 220, yLabel: label, bands: classBands(run, key, 100), value: (v) => digits(v, 3) + ' %', yRange: (low, high) => [0, Math.max(high, 1e-3)]});
    }
    body.append(el('h3', {}, 'Worst tensors'), el('p', {class: 'how'}, 'Over all logged steps. A click on a head sorts, a click on a row shows the values.'));
    tensorTable(body, run);
  },
});

panels.push({
  id: 'snr', title: 'Signal to noise',
  how: 'How much of a tensor survived rounding, in decibel: 10 log10 of the sum of squares over the sum of squared errors. Each 6 dB is one bit. A tensor well inside its format reaches nearly the dashed ideal; one far below it lost more than rounding must lose.',
  draw(body) {
    const run = shownRun();
    if (!run.tensors.rows.length) return missing(body, 'tensors', false);
    body.append(el('h3', {}, run.name));
    classLegend(body, run);
    const used = [...new Set(run.tensors.classes.flatMap((c) => c.formats))].filter((name) => doc.formats[name]);
    const levels = used.map((name) => ({name: 'ideal ' + name, y: doc.formats[name].ideal_snr_db, colour: css('--faint')}));
    lineChart(body, {height: 260, yLabel: 'SNR, dB', bands: classBands(run, 'snr', 1), levels, value: (v) => v.toFixed(1) + ' dB'});
    body.append(el('p', {class: 'note'}, used.map((name) => `Ideal of ${name}: ${doc.formats[name].ideal_snr_db.toFixed(1)} dB`).join('. '), used.length ? ', for values spread evenly in their logarithm over an octave of normal numbers, rounded to nearest even; worked out from the format by the program. Other distributions may lie some tenths above or below it.' : ''));
  },
});
