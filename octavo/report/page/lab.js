// SPDX-License-Identifier: Apache-2.0
// The first panel of a comparison: every recipe over its seeds. Its data is the key "lab" of the document, which
// is results.json (docs/experiments.md).
const labClasses = ['weights', 'activations', 'gradients'];
const percents = (v, n = 2) => (known(v) ? (v > 0 ? '+' : v < 0 ? '−' : '') + Math.abs(v).toFixed(n) + ' %' : '–');

function labColour(group, row) {
  const base = doc.lab.baseline;
  return row === base ? tone(doc.palette.baseline) : lineColour(row - (row > base ? 1 : 0));
}

/// The distance of one seed, per cent of the baseline's loss with that seed; null where one of both diverged.
function seedDeltas(group, row) {
  const base = group.rows[doc.lab.baseline].trials;
  return row.trials.map((t, i) => (known(t.val_loss) && known(base[i].val_loss) ? {seed: t.seed, y: (t.val_loss / base[i].val_loss - 1) * 100} : null)).filter(Boolean);
}

function deltaTip(event, row, seed) {
  const d = row.delta_percent;
  showTip(event, el('b', {}, row.label), tipRow('mean', percents(d.mean, 3)), known(d.band) ? tipRow('95 % interval', `± ${d.band.toFixed(3)} %`) : '', seed ? tipRow(`seed ${seed.seed}`, percents(seed.y, 3)) : '', row.diverged ? tipRow('diverged', `${row.diverged} of ${row.trials.length}`) : '');
}

function labTicks(low, high, count = 7) {
  const rough = (high - low) / count, size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((f) => f * size).find((s) => s >= rough);
  const out = [];
  for (let t = Math.ceil(low / step) * step; t <= high + step * 1e-9; t += step) out.push(Math.abs(t) < step / 1e6 ? 0 : t);
  return out;
}

/// What a plot must show, with room: all intervals and seeds, or `cap` where the largest are far off.
function deltaRange(group, rows, cap) {
  const values = [0];
  for (const row of rows) {
    const d = row.delta_percent;
    if (!d || !known(d.mean)) continue;
    values.push(d.mean, ...seedDeltas(group, row).map((s) => s.y));
    if (known(d.band)) values.push(d.mean - d.band, d.mean + d.band);
  }
  let low = Math.min(...values), high = Math.max(...values);
  if (cap) [low, high] = [Math.max(low, -cap), Math.min(high, cap)];
  const room = (high - low) * 0.06 || 0.1;
  return [low - room, high + room];
}

/// A row a recipe: mean as a dot, interval as a bar, seeds as small marks.
function deltaPlot(group) {
  const rows = group.rows.map((row, index) => ({row, index})).filter(({row}) => row.delta_percent);
  const width = 1160, left = 190, right = 24, step = 34, top = 12, height = top + rows.length * step + 44;
  const [low, high] = deltaRange(group, rows.map(({row}) => row), 0);
  const x = (v) => left + (width - left - right) * (v - low) / (high - low);
  const svg = svgEl('svg', {class: 'plot', viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': 'Distance of the validation loss to the baseline, over seeds'});
  const bottom = top + rows.length * step, faint = css('--faint');
  for (const tick of labTicks(low, high)) {
    svg.append(svgEl('line', {x1: x(tick), x2: x(tick), y1: top, y2: bottom, stroke: css('--grid')}),
      svgEl('text', {x: x(tick), y: bottom + 17, fill: faint, 'font-size': 12, 'text-anchor': 'middle'}, digits(tick, 3) + ' %'));
  }
  svg.append(svgEl('line', {x1: x(0), x2: x(0), y1: top, y2: bottom, stroke: tone(doc.palette.baseline), 'stroke-width': 1.5, 'stroke-dasharray': '6 5'}),
    svgEl('text', {x: left + (width - left - right) / 2, y: height - 6, fill: faint, 'font-size': 12, 'text-anchor': 'middle'}, `validation loss, distance to ${group.rows[doc.lab.baseline].label} in per cent (left is better)`));
  rows.forEach(({row, index}, i) => {
    const y = top + step * (i + 0.5), d = row.delta_percent, colour = labColour(group, index);
    svg.append(svgEl('text', {x: left - 12, y: y + 4, fill: css('--text'), 'font-size': 13, 'text-anchor': 'end'}, row.label.length > 24 ? row.label.slice(0, 23) + '…' : row.label));
    if (!known(d.mean)) {
      svg.append(svgEl('text', {x: left + 8, y: y + 4, fill: css('--bad'), 'font-size': 12}, 'no seed reached the end'));
      return;
    }
    if (known(d.band)) svg.append(svgEl('rect', {x: x(d.mean - d.band), y: y - 5, width: Math.max(1, x(d.mean + d.band) - x(d.mean - d.band)), height: 10, rx: 5, fill: colour, 'fill-opacity': 0.22}));
    for (const seed of seedDeltas(group, row)) {
      const mark = svgEl('circle', {class: 'seed', cx: x(seed.y), cy: y, r: 3.2, fill: css('--card'), stroke: colour, 'stroke-width': 1.4});
      mark.addEventListener('mousemove', (e) => deltaTip(e, row, seed));
      mark.addEventListener('mouseleave', hideTip);
      svg.append(mark);
    }
    const dot = svgEl('circle', {class: 'mean', cx: x(d.mean), cy: y, r: 5.5, fill: colour});
    dot.addEventListener('mousemove', (e) => deltaTip(e, row));
    dot.addEventListener('mouseleave', hideTip);
    svg.append(dot);
  });
  return svg;
}

/// Distance over the constant of a recipe, the tolerated interval shaded. Far-off points sit at the upper edge.
function intervalPlot(group) {
  const {points, within_percent: within, low: first, high: last} = group.interval;
  const all = points.map((p) => ({c: p.constant, row: group.rows[p.row]}));
  const width = 1160, height = 320, left = 66, right = 20, top = 14, bottom = height - 46;
  const cs = all.map((p) => p.c), [cLow, cHigh] = [Math.min(...cs) - 0.6, Math.max(...cs) + 0.6];
  const cap = within * 8, [low, high] = deltaRange(group, all.map((p) => p.row), cap);
  const x = (c) => left + (width - left - right) * (c - cLow) / (cHigh - cLow);
  const clamp = (v) => Math.min(high, Math.max(low, v));
  const y = (v) => bottom - (bottom - top) * (clamp(v) - low) / (high - low);
  const svg = svgEl('svg', {class: 'plot interval', viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': `Distance to the baseline over the constant of ${group.interval.family}`});
  const faint = css('--faint'), colour = lineColour(0);
  const text = (px, py, words, more = {}) => svg.append(svgEl('text', {x: px, y: py, fill: faint, 'font-size': 12, ...more}, words));
  if (known(first)) svg.append(svgEl('rect', {x: x(first - 0.5), y: top, width: x(last + 0.5) - x(first - 0.5), height: bottom - top, fill: css('--range')}));
  for (const tick of labTicks(low, high, 6)) {
    svg.append(svgEl('line', {x1: left, x2: width - right, y1: y(tick), y2: y(tick), stroke: css('--grid')}));
    text(left - 8, y(tick) + 4, digits(tick, 3) + ' %', {'text-anchor': 'end'});
  }
  for (const c of cs) text(x(c), bottom + 17, digits(c), {'text-anchor': 'middle'});
  for (const [level, name] of [[0, group.rows[doc.lab.baseline].label], [within, `within ${digits(within)} %`]]) {
    if (level < low || level > high) continue;
    svg.append(svgEl('line', {x1: left, x2: width - right, y1: y(level), y2: y(level), stroke: tone(doc.palette.baseline), 'stroke-dasharray': '6 5'}));
    text(width - right - 4, y(level) + (level ? -5 : 14), name, {'text-anchor': 'end', 'font-size': 11});
  }
  let path = '';
  for (const {c, row} of all) if (known(row.delta_percent.mean)) path += `${path ? 'L' : 'M'}${x(c)} ${y(row.delta_percent.mean)}`;
  svg.append(svgEl('path', {d: path, fill: 'none', stroke: colour, 'stroke-width': 1.4, 'stroke-opacity': 0.6}));
  for (const {c, row} of all) {
    const d = row.delta_percent, lost = !known(d.mean), off = lost || d.mean > high;
    if (!lost && known(d.band)) svg.append(svgEl('line', {x1: x(c), x2: x(c), y1: y(d.mean - d.band), y2: y(d.mean + d.band), stroke: colour, 'stroke-width': 5, 'stroke-opacity': 0.25, 'stroke-linecap': 'round'}));
    const at = lost ? top : y(d.mean);
    const mark = off ? svgEl('path', {class: 'mean', d: `M${x(c) - 6} ${at + 9}h12l-6 -9z`, fill: css('--bad')}) : svgEl('circle', {class: 'mean', cx: x(c), cy: at, r: 5, fill: row.diverged ? css('--bad') : colour});
    mark.addEventListener('mousemove', (e) => deltaTip(e, row));
    mark.addEventListener('mouseleave', hideTip);
    svg.append(mark);
  }
  text(left + (width - left - right) / 2, height - 6, `constant of ${group.interval.family}`, {'text-anchor': 'middle'});
  return svg;
}

function intervalSentence(group) {
  const i = group.interval;
  if (!known(i.low)) return `No constant of ${i.family} ends within ${digits(i.within_percent)} % of ${group.rows[doc.lab.baseline].label}.`;
  const noise = known(i.band) && i.band > i.within_percent ? ` Some of their means are only known to ± ${digits(i.band, 2)} %, which is more than that: more seeds or steps are needed to trust this.` : '';
  const open = [i.open_low ? 'lower' : '', i.open_high ? 'upper' : ''].filter(Boolean);
  return `Constants ${digits(i.low)} to ${digits(i.high)} of ${i.family} end within ${digits(i.within_percent)} % of ${group.rows[doc.lab.baseline].label}.` + (open.length ? ` At the ${open.join(' and the ')} end the sweep ends before the interval does.` : '') + noise + ' Triangles are beyond the upper edge, or diverged.';
}

function labTable(groups) {
  // A dash for each class without scaled tensors, one for a recipe without any.
  const byClass = (row, text) => (Object.keys(row.classes).length ? labClasses.map((c) => (row.classes[c] ? text(row.classes[c]) : '–')).join(' · ') : '–');
  const figures = [
    ['validation loss', (r) => (known(r.val_loss.mean) ? loss(r.val_loss.mean) + (known(r.val_loss.band) ? ' ± ' + r.val_loss.band.toFixed(4) : '') : '–') + (r.diverged ? ` (${r.diverged} of ${r.trials.length} diverged)` : '')],
    ['distance', (r) => (r.baseline ? 'baseline' : percents(r.delta_percent.mean) + (known(r.delta_percent.band) ? ` ± ${r.delta_percent.band.toFixed(2)}` : '') + (r.differs ? ' *' : ''))],
    ['worst SNR, dB: w · a · g', (r) => byClass(r, (c) => (known(c.worst_snr_db) ? c.worst_snr_db.toFixed(1) : '–'))],
    ['worst underflow, %: w · a · g', (r) => byClass(r, (c) => (known(c.worst_underflow) ? digits(c.worst_underflow * 100, 3) : '–'))],
    ['activations', (r) => mebibytes(r.activation_bytes)],
    ['weights', (r) => mebibytes(r.weight_bytes)],
    ['tokens/s', (r) => short(r.tokens_per_second)],
  ];
  const body = el('tbody');
  for (const group of groups) {
    if (doc.lab.groups.length > 1) body.append(el('tr', {}, el('th', {colspan: figures.length + 1}, el('b', {}, group.label))));
    group.rows.forEach((row, i) => body.append(el('tr', {}, el('td', {}, swatch(labColour(group, i)), ' ' + row.label), figures.map(([, text]) => el('td', {class: 'number'}, text(row))))));
  }
  return el('div', {class: 'scroll'}, el('table', {class: 'lab'}, el('thead', {}, el('tr', {}, el('th', {}, doc.lab.rows), figures.map(([name]) => el('th', {class: 'number'}, name)))), body));
}

if (doc.lab) panels.push({
  id: 'lab', title: 'Recipes over seeds',
  how: 'Each dot is the mean distance of the final validation loss to the baseline, each ring one seed against the baseline of the same seed, the bar the 95 % interval of the mean (Student). Where the bar crosses the dashed line, these seeds cannot tell the two apart.',
  draw(body) {
    const lab = doc.lab, several = lab.groups.length > 1;
    if (lab.description) body.append(el('p', {}, lab.description));
    if (lab.seeds.length < 2) hint(body, 'One seed: there are no intervals, and small distances mean nothing. Compare with --seeds 3 or more.');
    lab.groups.forEach((group, i) => {
      if (several) body.append(el('h3', {}, group.label, i === lab.shown_group ? ' (shown in detail below)' : [' ', el('a', {href: encodeURIComponent(lab.pages[i])}, 'in detail')]));
      if (group.interval) {
        body.append(intervalPlot(group), el('p', {class: 'note'}, intervalSentence(group)));
      } else if (group.rows.length > 1) {
        body.append(deltaPlot(group));
      }
    });
    body.append(el('h3', {}, 'The figures'), labTable(lab.groups));
    body.append(el('p', {class: 'note'}, `${lab.seeds.length} seed${lab.seeds.length > 1 ? 's' : ''}${lab.steps ? `, ${lab.steps} steps each` : ''}. Intervals of distances are paired by seed, * leaves out zero. w · a · g: weights, activations, gradients, the worst tensor of each at its worst logged step, over all seeds. Weights: the copies that products read.`));
    const rows = lab.groups[lab.shown_group].rows.length;
    body.append(el('p', {class: 'note'}, `Below are the runs of seed ${lab.seeds[0]}` + (lab.detailed_rows < rows ? `, ${lab.detailed_rows} of the ${rows} rows.` : '.')));
  },
});
