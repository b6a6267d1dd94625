// SPDX-License-Identifier: Apache-2.0
// The page of a sweep: loss over one key, a curve for each value of another, a plot for each combination of the
// rest. Its data is the key "sweep" of results.json (docs/sweep.md).
const sweep = doc.lab && doc.lab.sweep;
const sweepCurves = (panel) => panel.curves.map((curve, i) => ({curve, name: curve.label ? `${sweep.curves} ${curve.label}` : 'all runs', colour: sweepColour(i, panel.curves.length)}));

/// Up to eight curves have a colour each; more are a ramp, without its end that is near the background.
function sweepColour(i, count) {
  if (count <= doc.palette.lines.length) return lineColour(i);
  const share = i / (count - 1);
  return rampColour(isDark() ? 0.2 + 0.8 * share : 0.85 * share);
}

const sweepMean = (point) => point.loss.mean;
const seedLosses = (point) => point.seeds.filter((s) => known(s.loss));

/// One range for all plots, so that they compare. A learning rate far too high would leave the curves no height:
/// what lies much further above the best than the middle of all points is drawn at the upper edge.
function sweepRange() {
  const points = sweep.panels.flatMap((panel) => panel.curves.flatMap((curve) => curve.points)).filter((p) => known(sweepMean(p)));
  if (!points.length) return [0, 1];
  const means = points.map(sweepMean).sort((a, b) => a - b), seeds = points.flatMap((p) => seedLosses(p).map((s) => s.loss));
  const low = Math.min(means[0], ...seeds), middle = means[means.length >> 1];
  const high = Math.min(Math.max(...means, ...seeds), Math.max(middle + 3 * (middle - low), means[Math.floor(means.length * 0.7)]));
  const room = (high - low) * 0.06 || Math.abs(high) * 0.01 || 1;
  return [low - room, high + room];
}

function sweepTip(event, {curve, name, colour}, point, seed) {
  const band = point.loss.band;
  showTip(event, el('b', {}, swatch(colour), name), tipRow(sweep.x, point.label),
    known(sweepMean(point)) ? tipRow(point.seeds.length > 1 ? 'mean loss' : 'loss', loss(sweepMean(point))) : '', known(band) ? tipRow('95 % interval', `± ${band.toFixed(4)}`) : '',
    seed ? tipRow(`seed ${seed.seed}`, loss(seed.loss)) : '', point.diverged ? tipRow('diverged', `${point.diverged} of ${point.seeds.length}`) : '',
    curve.points[curve.best] === point ? tipRow('best of its curve', '') : '');
}

/// Where a point lies, in units of the x axis: its number, the logarithm of it, or its place among names.
const sweepX = (point, index) => (sweep.scale === 'log2' ? Math.log2(point.x) : sweep.scale === 'linear' ? point.x : index);

/// The part of a line between two places, [x, loss], that is not above `high`; null when nothing is.
function below(high, one, other) {
  const [a, b] = one[1] <= other[1] ? [one, other] : [other, one];
  if (a[1] > high) return null;
  return b[1] <= high ? [a, b] : [a, [a[0] + (b[0] - a[0]) * (high - a[1]) / (b[1] - a[1]), high]];
}

function sweepPlot(panel, width, height) {
  const [low, high] = sweepRange(), all = sweepCurves(panel), points = panel.curves[0].points;
  const lost = panel.curves.some((curve) => curve.points.some((p) => p.diverged));
  const left = 58, right = 16, top = lost ? 30 : 12, bottom = height - 42, strip = 14;
  const xs = points.map(sweepX), span = xs[xs.length - 1] - xs[0], margin = 0.04 * span || 1;
  const x = (v) => left + (width - left - right) * (v - xs[0] + margin) / (span + 2 * margin);
  const y = (v) => bottom - (bottom - top) * (Math.min(v, high) - low) / (high - low);
  const svg = svgEl('svg', {class: 'plot', viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': `Loss over ${sweep.x}${panel.label ? ', ' + panel.label : ''}`});
  const faint = css('--faint'), text = (px, py, words, more = {}) => svg.append(svgEl('text', {x: px, y: py, fill: faint, 'font-size': 12, ...more}, words));
  const hover = (mark, ...what) => {
    mark.addEventListener('mousemove', (e) => sweepTip(e, ...what));
    mark.addEventListener('mouseleave', hideTip);
    svg.append(mark);
  };
  for (const tick of labTicks(low, high, 8)) {
    svg.append(svgEl('line', {x1: left, x2: width - right, y1: y(tick), y2: y(tick), stroke: css('--grid')}));
    text(left - 8, y(tick) + 4, digits(tick, 4), {'text-anchor': 'end'});
  }
  // The values that were trained: every one, or every second, third, ... where they would run into each other.
  const room = Math.max(...points.map((p) => p.label.length)) * 7 + 12;
  let every = 1;
  while (xs.some((v, i) => i && i % every === 0 && x(v) - x(xs[i - every]) < room)) ++every;
  points.forEach((point, i) => {
    const at = x(xs[i]);
    svg.append(svgEl('line', {x1: at, x2: at, y1: bottom, y2: bottom + 4, stroke: faint}));
    if (i % every === 0) text(at, bottom + 17, point.label, {'text-anchor': 'middle'});
  });
  text(left + (width - left - right) / 2, height - 6, sweep.x, {'text-anchor': 'middle'});
  if (lost) {
    svg.append(svgEl('line', {x1: left, x2: width - right, y1: top - 4, y2: top - 4, stroke: css('--bad'), 'stroke-opacity': 0.4}));
    text(left - 8, strip + 2, 'diverged', {'text-anchor': 'end', fill: css('--bad'), 'font-size': 11});
  }
  // Crosses of several curves at one x stand beside each other, within its share of the axis.
  const beside = Math.min(9, 0.9 * (width - left - right) / Math.max(1, xs.length) / all.length);
  all.forEach((one, i) => {
    const {curve, colour} = one, offset = (i - (all.length - 1) / 2) * beside;
    const at = (p) => x(sweepX(curve.points[p], p));
    const line = (places, more) => places && svg.append(svgEl('path', {d: places.map(([px, v], k) => `${k ? 'L' : 'M'}${px} ${y(v)}`).join(''), fill: 'none', stroke: colour, 'stroke-linejoin': 'round', 'stroke-linecap': 'round', ...more}));
    if (sweep.scale !== 'category' && curve.flat.length > 1) line(curve.flat.map((p) => [at(p), sweepMean(curve.points[p])]), {class: 'flat', 'stroke-width': 9, 'stroke-opacity': 0.2});
    for (let p = 1; p < curve.points.length; ++p) {
      const before = curve.points[p - 1], point = curve.points[p];
      if (known(sweepMean(before)) && known(sweepMean(point))) line(below(high, [at(p - 1), sweepMean(before)], [at(p), sweepMean(point)]), {'stroke-width': 1.8, 'stroke-opacity': sweep.scale === 'category' ? 0.35 : 1});
      else if (known(sweepMean(before)) !== known(sweepMean(point))) {
        const [here, gone] = known(sweepMean(before)) ? [p - 1, p] : [p, p - 1];
        svg.append(svgEl('path', {d: `M${at(here)} ${y(sweepMean(curve.points[here]))}L${at(gone) + offset} ${strip}`, fill: 'none', stroke: colour, 'stroke-width': 1.2, 'stroke-dasharray': '3 4', 'stroke-opacity': 0.7}));
      }
    }
  });
  all.forEach((one, i) => {
    const {curve, colour} = one, offset = (i - (all.length - 1) / 2) * beside;
    curve.points.forEach((point, p) => {
      const at = x(sweepX(point, p)), best = p === curve.best, mean = sweepMean(point);
      if (point.seeds.length > 1) for (const seed of seedLosses(point)) if (seed.loss <= high)
        hover(svgEl('circle', {class: 'seed', cx: at, cy: y(seed.loss), r: 2.6, fill: css('--card'), stroke: colour, 'stroke-width': 1, 'stroke-opacity': 0.75}), one, point, seed);
      if (point.diverged) hover(svgEl('path', {class: 'lost', d: `M${at + offset - 4} ${strip - 4}l8 8m0 -8l-8 8`, fill: 'none', stroke: colour, 'stroke-width': 2.2}), one, point);
      if (!known(mean)) return;
      if (mean > high) return hover(svgEl('path', {class: 'mean', d: `M${at - 5} ${top + 8}h10l-5 -8z`, fill: colour}), one, point);
      if (best) svg.append(svgEl('circle', {class: 'best', cx: at, cy: y(mean), r: 8.5, fill: 'none', stroke: colour, 'stroke-width': 1.8}));
      hover(svgEl('circle', {class: 'mean', cx: at, cy: y(mean), r: best ? 5 : 3.4, fill: point.diverged ? css('--card') : colour, stroke: colour, 'stroke-width': 1.6}), one, point);
    });
  });
  return svg;
}

function flatText(curve) {
  const labels = curve.flat.map((p) => curve.points[p].label);
  return sweep.scale !== 'category' && labels.length > 1 ? `${labels[0]} to ${labels[labels.length - 1]}` : labels.join(', ');
}

/// Best value, its loss and its neighbourhood, a row a curve.
function bestTable() {
  const heads = [`best ${sweep.x}`, sweepLossName(), 'shift, powers of two', `within ${digits(sweep.within_percent)} % of it`, 'diverged'], body = el('tbody');
  for (const panel of sweep.panels) {
    if (sweep.panels.length > 1) body.append(el('tr', {}, el('th', {colspan: heads.length + 1}, el('b', {}, panel.label))));
    for (const {curve, name, colour} of sweepCurves(panel)) {
      const best = curve.points[curve.best], runsOf = curve.points.reduce((n, p) => n + p.seeds.length, 0), lost = curve.points.reduce((n, p) => n + p.diverged, 0);
      const shift = !known(curve.shift_log2) ? '–' : curve.shift_log2 === 0 ? '0' : (curve.shift_log2 > 0 ? '+' : '−') + digits(Math.abs(curve.shift_log2), 3);
      body.append(el('tr', {}, el('td', {}, swatch(colour), name),
        [best ? best.label + (curve.at_edge ? ' (edge)' : '') : '–', best ? loss(sweepMean(best)) + (known(best.loss.band) ? ' ± ' + best.loss.band.toFixed(4) : '') : '–', shift, best ? flatText(curve) : '–', lost ? `${lost} of ${runsOf}` : '–']
          .map((words) => el('td', {class: 'number'}, words))));
    }
  }
  return el('div', {class: 'scroll'}, el('table', {class: 'lab best'}, el('thead', {}, el('tr', {}, el('th', {}, sweep.curves || ''), heads.map((name) => el('th', {class: 'number'}, name)))), body));
}

/// Every mean, a row a value of x.
function pointTable(panel) {
  const all = sweepCurves(panel);
  const cell = (curve, p) => {
    const point = curve.points[p], words = (known(sweepMean(point)) ? loss(sweepMean(point)) : '–') + (point.diverged ? ` (${point.diverged} of ${point.seeds.length} diverged)` : '');
    return el('td', {class: 'number' + (p === curve.best ? ' differs' : '')}, words);
  };
  return el('div', {class: 'scroll'}, el('table', {class: 'lab'}, el('thead', {}, el('tr', {}, el('th', {}, sweep.x), all.map(({curve}) => el('th', {class: 'number'}, curve.label || sweepLossName())))),
    el('tbody', {}, panel.curves[0].points.map((point, p) => el('tr', {}, el('td', {}, point.label), all.map(({curve}) => cell(curve, p)))))));
}

const sweepLossName = () => (sweep.loss === 'val_loss' ? 'validation loss' : 'training loss');

// A page of a sweep has this panel alone.
if (sweep) panels.splice(0, panels.length, {
  id: 'sweep', title: `${sweep.loss === 'val_loss' ? 'Validation' : 'Training'} loss over ${sweep.x}`,
  how: 'Each dot is the mean over the seeds, small rings are the seeds, a circle around a dot marks the best value of its curve. The broad line covers the values around it that are equally good. A cross at the top is a value at which a seed diverged (a hollow dot is the mean of the others), a triangle a loss above the plot.',
  draw(body) {
    if (doc.lab.description) body.append(el('p', {}, doc.lab.description));
    if (doc.lab.seeds.length < 2) hint(body, 'One seed: there are no intervals, and small differences mean nothing. Sweep over several with --seeds.');
    if (sweep.loss === 'train_loss') hint(body, 'The data has no validation split: losses are means over the last steps of training.');
    if (sweep.curves) legend(body, sweepCurves(sweep.panels[0]).map(({name, colour}) => ({name, colour})));
    const several = sweep.panels.length > 1, places = el('div', {class: several ? 'columns two' : ''});
    body.append(places);
    for (const panel of sweep.panels) {
      const place = el('div', {class: 'chart'});
      places.append(el('div', {}, several ? el('h3', {}, panel.label) : '', place));
      fitWidth(place, (width) => place.replaceChildren(sweepPlot(panel, Math.max(240, width), several ? 340 : 420)));
    }
    body.append(el('h3', {}, 'The best of each curve'), bestTable());
    const edges = sweep.panels.some((panel) => panel.curves.some((curve) => curve.at_edge));
    body.append(el('p', {class: 'note'}, `${doc.lab.seeds.length} seed${doc.lab.seeds.length > 1 ? 's' : ''}${doc.lab.steps ? `, ${doc.lab.steps} steps each` : ''}. ± is the 95 % interval of the mean (Student). The shift is that of the best value against the first curve${several ? ' of its plot' : ''}. Values at which a seed diverged count as the worst.${edges ? ' (edge): the grid ends there, a better value may lie beyond.' : ''}`));
    body.append(el('details', {}, el('summary', {}, 'All losses'), sweep.panels.map((panel) => [several ? el('h3', {}, panel.label) : '', pointTable(panel)])));
  },
});
