// SPDX-License-Identifier: Apache-2.0
// A heat map on a canvas: a row a tensor, grouped by kind of layer, a column a logged step, and its colour bar.
/// Rows of equal kind, in the document's order: [{kind, rows}].
function groupsOf(rows) {
  const groups = [];
  for (const row of rows) {
    if (!groups.length || groups[groups.length - 1].kind !== row.kind) groups.push({kind: row.kind, rows: []});
    groups[groups.length - 1].rows.push(row);
  }
  return groups;
}

/// "0", or "0 q_proj" where a group has several tensors of a layer; then, without room for each, only at the first.
function rowLabel(row, group, room) {
  const same = group.rows.filter((r) => r.layer === row.layer), several = same.length > 1;
  if (row.layer < 0) return row.short;
  if (several && !room) return row === same[0] ? String(row.layer) : '';
  return several ? row.layer + ' ' + row.short.split('.').pop() : String(row.layer);
}

/// options: rows, steps, values(row) -> array, name, label, tip(row, column) -> elements, pick(row, column)
function heatMap(body, options) {
  const {rows, steps} = options;
  const groups = groupsOf(rows);
  const all = rows.flatMap((r) => options.values(r)).filter(known);
  if (!all.length) return;
  const low = all.reduce((a, b) => Math.min(a, b)), high = all.reduce((a, b) => Math.max(a, b));
  const cell = rows.length <= 24 ? 14 : rows.length <= 60 ? 9 : Math.max(3, Math.floor(540 / rows.length));
  const room = cell >= 9;
  const several = groups.some((g) => g.rows.some((r) => rowLabel(r, g, room).includes(' ')));
  const left = 62 + (several ? 62 : 20), gap = 7, bar = 46;
  const height = rows.length * cell + (groups.length - 1) * gap + 23 + bar;
  const canvas = el('canvas', {class: 'heat', role: 'img', 'aria-label': options.label});
  body.append(canvas);
  const tops = new Map();
  let top = 3;
  for (const group of groups) {
    for (const row of group.rows) {
      tops.set(row, top);
      top += cell;
    }
    top += gap;
  }
  top -= gap;

  canvas.style.height = height + 'px';

  const draw = (canvasWidth) => {
    const width = Math.max(160, canvasWidth), ratio = devicePixelRatio || 1;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const g = canvas.getContext('2d');
    g.scale(ratio, ratio);
    const text = css('--text'), faint = css('--faint'), across = width - left;
    g.textBaseline = 'middle';
    for (const group of groups) {
      const begin = tops.get(group.rows[0]);
      g.textAlign = 'left';
      g.fillStyle = text;
      g.font = '600 11.5px system-ui, sans-serif';
      g.fillText(group.kind, 0, begin + Math.max(cell, 12) / 2);
      g.font = '10.5px system-ui, sans-serif';
      g.textAlign = 'right';
      let free = -1;
      for (const row of group.rows) {
        const y = tops.get(row), values = options.values(row);
        g.fillStyle = faint;
        const label = rowLabel(row, group, room);
        if (label && y >= free) {
          g.fillText(label, left - 6, y + cell / 2);
          free = y + 11;
        }
        // Equal neighbours in one piece: seams between cells would show as stripes.
        for (let begin = 0, c = 1; c <= values.length; ++c) {
          if (c < values.length && values[c] === values[begin]) continue;
          if (known(values[begin])) {
            g.fillStyle = rampColour(high > low ? (values[begin] - low) / (high - low) : 0.5);
            g.fillRect(left + across * begin / steps.length, y, across * (c - begin) / steps.length + 0.3, cell - (cell > 5 ? 1 : 0));
          }
          begin = c;
        }
      }
    }
    g.fillStyle = faint;
    g.font = '11px system-ui, sans-serif';
    g.textAlign = 'left';
    g.fillText('step ' + steps[0], left, top + 11);
    g.textAlign = 'right';
    g.fillText(String(steps[steps.length - 1]), width, top + 11);
    drawBar(g, left, top + 26, across, faint);
  };

  const drawBar = (g, x, y, across, faint) => {
    const whole = all.every(Number.isInteger) && high - low < 40;
    const count = whole ? high - low + 1 : 32;
    for (let i = 0; i < count; ++i) {
      g.fillStyle = rampColour(count > 1 ? i / (count - 1) : 0.5);
      g.fillRect(x + across * i / count, y, across / count + (whole ? -1 : 0.5), 10);
    }
    g.fillStyle = faint;
    g.textAlign = 'center';
    if (!whole) {
      g.fillText(digits(low, 3), x + 12, y + 20);
      g.fillText(digits(high, 3), x + across - 12, y + 20);
      return;
    }
    const every = Math.ceil(26 * count / across);
    for (let i = 0; i < count; i += every) g.fillText(String(low + i), x + across * (i + 0.5) / count, y + 20);
  };

  const find = (event) => {
    const box = canvas.getBoundingClientRect();
    const x = event.clientX - box.left - left, y = event.clientY - box.top;
    const row = rows.find((r) => y >= tops.get(r) && y < tops.get(r) + cell);
    const column = Math.floor(x / (box.width - left) * steps.length);
    return row && x >= 0 && column < steps.length ? {row, column} : null;
  };
  canvas.addEventListener('mousemove', (event) => {
    const hit = find(event);
    if (hit) showTip(event, ...options.tip(hit.row, hit.column));
    else hideTip();
  });
  canvas.addEventListener('mouseleave', hideTip);
  canvas.addEventListener('click', (event) => {
    const hit = find(event);
    if (hit && options.pick) options.pick(hit.row, hit.column);
  });
  fitWidth(canvas, draw);
}
