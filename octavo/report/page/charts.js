// SPDX-License-Identifier: Apache-2.0
// Line charts by uPlot: curves with their own x, bands, points, levels; one tooltip; cursors that move together.
const charts = [];

// A chart learns its width when its neighbours are there too, and again when that changes. fit(width) draws.
const fits = new Map();
const sizes = new ResizeObserver((entries) => {
  for (const {target} of entries) {
    const fit = fits.get(target), width = Math.floor(target.clientWidth);
    if (fit && width > 0 && fit.width !== width) {
      fit.width = width;
      fit.draw(width);
    }
  }
});
function fitWidth(place, draw) {
  fits.set(place, {draw, width: 0});
  sizes.observe(place);
}
function forgetRemoved() {
  for (const place of fits.keys()) {
    if (place.isConnected) continue;
    sizes.unobserve(place);
    fits.delete(place);
  }
  for (let i = charts.length; i-- > 0;) if (!charts[i].root.isConnected) charts.splice(i, 1)[0].destroy();
}

function axisText(values) {
  return values.map((v) => (v === null ? '' : Math.abs(v) >= 1e4 ? short(v) : digits(v, 6)));
}

/// The values of a series nearest to a place of the joined data, within a fortieth of what is shown.
function nearestValue(data, k, at) {
  const xs = data[0], reach = (xs[xs.length - 1] - xs[0]) / 40;
  for (let d = 0; d < xs.length; ++d) {
    const near = [at - d, at + d].filter((i) => i >= 0 && i < xs.length && Math.abs(xs[i] - xs[at]) <= reach);
    if (!near.length) return null;
    for (const i of near) if (known(data[k][i])) return data[k][i];
  }
  return null;
}

/// options: height, xLabel, yLabel, yRange(low, high) -> [low, high], value(v) -> text, whole (integer ticks),
/// lines [{name, x, y, colour, width, dash, dots}], bands [{name, band, colour}], levels [{name, y, colour}]
function lineChart(body, options) {
  const {lines = [], bands = [], levels = [], value = (v) => digits(v, 4)} = options;
  const tables = [], series = [{}], uBands = [], tips = [];
  const xs = [...lines.map((l) => l.x), ...bands.map((b) => b.band.x)].filter((x) => x.length);
  if (!xs.length) return;
  const first = Math.min(...xs.map((x) => x[0])), last = Math.max(...xs.map((x) => x[x.length - 1]));
  for (const {name, band, colour} of bands) {
    if (!band.x.length) continue;
    tables.push([band.x, band.low, band.high, band.median]);
    const k = series.length;
    const edge = {stroke: 'transparent', width: 0, points: {show: false}};
    series.push(edge, {...edge}, {stroke: colour, width: 1.6, points: {show: band.x.length === 1, fill: colour}});
    uBands.push({series: [k + 1, k], fill: faded(colour, 0.2)});
    tips.push({name, colour, at: [k, k + 2, k + 1]});
  }
  for (const line of lines) {
    if (!line.x.length) continue;
    tables.push([line.x, line.y]);
    const dots = line.dots || line.x.length === 1;
    tips.push({name: line.name, colour: line.colour, at: [series.length], quiet: line.quiet});
    series.push({stroke: line.colour, width: line.width || 1.6, dash: line.dash, paths: line.dots ? () => null : undefined, points: {show: dots, size: 6, fill: line.colour, stroke: line.colour}});
  }
  for (const level of levels) {
    tables.push([[first, last], [level.y, level.y]]);
    tips.push({name: level.name, colour: level.colour, at: [series.length]});
    series.push({stroke: level.colour, width: 1.2, dash: [6, 5], points: {show: false}});
  }
  const data = uPlot.join(tables);
  const axis = {stroke: css('--faint'), font: '11.5px system-ui, sans-serif', labelFont: '11.5px system-ui, sans-serif', labelSize: 18, grid: {stroke: css('--grid'), width: 1}, ticks: {stroke: css('--grid'), width: 1, size: 4}};
  const place = el('div', {class: 'chart'});
  body.append(place);
  const tip = (u) => {
    const at = u.cursor.idx;
    if (!u.over.matches(':hover')) return;
    if (!known(at)) return hideTip();
    const rows = tips.filter((t) => !t.quiet).map((t) => {
      const values = t.at.map((k) => nearestValue(data, k, at));
      return values.some((v) => v === null) ? null : tipRow(t.name, values.map(value).join(' … '), t.colour);
    });
    const box = u.over.getBoundingClientRect();
    showTip({clientX: box.left + u.cursor.left, clientY: box.top + u.cursor.top}, el('b', {}, 'step ' + data[0][at]), ...rows.filter(Boolean));
  };
  // Levels carry their name: there may be several in one colour.
  const names = (u) => {
    u.ctx.save();
    u.ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    u.ctx.textAlign = 'right';
    for (const level of levels) {
      const y = u.valToPos(level.y, 'y', true);
      u.ctx.fillStyle = level.colour;
      u.ctx.fillText(level.name, u.bbox.left + u.bbox.width - 6, y - 6 * devicePixelRatio);
    }
    u.ctx.restore();
  };
  const range = (u, low, high) => {
    if (low === null) return [0, 1];
    const room = high === low ? Math.abs(high) * 0.1 || 1 : (high - low) * 0.06;
    const wide = [low - room, high + room];
    return options.yRange ? options.yRange(...wide) : wide;
  };
  const chart = new uPlot({
    width: Math.max(120, place.clientWidth), height: options.height || 240,
    legend: {show: false},
    cursor: {sync: {key: 'step', scales: ['x', null]}, y: false, points: {size: 6}},
    scales: {x: {time: false}, y: {range}},
    axes: [
      {...axis, label: (options.xLabel ?? 'step') || null, size: 28, space: 60, values: (u, v) => axisText(v)},
      {...axis, label: options.yLabel || null, size: options.whole ? 34 : 52, space: options.whole ? 18 : 34, values: (u, v) => axisText(v), incrs: options.whole ? [1, 2, 5, 10, 20, 50, 100] : undefined},
    ],
    series, bands: uBands, hooks: {setCursor: [tip], draw: [names]},
  }, data, place);
  chart.over.addEventListener('mouseleave', hideTip);
  charts.push(chart);
  fitWidth(place, (width) => chart.setSize({width: Math.max(120, width), height: options.height || 240}));
}

/// entries: [{name, colour, shape}]
function legend(body, entries) {
  body.append(el('div', {class: 'legend'}, entries.map((e) => el('span', {}, swatch(e.colour, e.shape || ''), e.name))));
}
