// SPDX-License-Identifier: Apache-2.0
// Panel 2: the loss of every run, and its distance to the baseline.
function cutCurve(curve, from) {
  const begin = curve.x.findIndex((x) => x >= from);
  return begin < 0 ? {x: [], y: []} : {x: curve.x.slice(begin), y: curve.y.slice(begin)};
}

panels.push({
  id: 'loss', title: 'Loss',
  how: 'Lines are the training loss as a running mean, dots the validation loss. The curves of good recipes lie on top of each other; the lower plot shows how far each is from the baseline, above zero is worse.',
  draw(body) {
    const shown = runsWith((r) => r.curves.loss.x.length > 0);
    if (!shown.length) return missing(body, 'loss', false);
    const last = Math.max(...shown.map(({run}) => run.figures.steps));
    const from = state.cut ? last / 10 : 0;
    body.append(el('div', {class: 'controls'}, el('label', {}, el('input', {type: 'checkbox', checked: state.cut, change: (e) => {
      state.cut = e.target.checked;
      redraw('loss');
    }}), 'leave out the first tenth, where the loss falls steeply')));
    legend(body, shown.map(({run, index}) => ({name: run.name, colour: runColour(index)})));
    const lines = [];
    for (const {run, index} of shown) {
      const colour = runColour(index), raw = cutCurve(run.curves.loss, from);
      if (shown.length === 1) lines.push({name: 'each step', ...raw, colour: faded(colour, 0.3), width: 1, quiet: true});
      lines.push({name: run.name, ...cutCurve(run.curves.smooth, from), colour, width: 1.8});
    }
    for (const {run, index} of shown) lines.push({name: run.name + ', validation', ...cutCurve(run.curves.validation, from), colour: runColour(index), dots: true});
    lineChart(body, {height: 320, yLabel: 'loss, nats a token', lines, value: loss});
    const window = Math.max(...shown.map(({run}) => run.figures.window));
    body.append(el('p', {class: 'note'}, `Running mean over ${window} step${window > 1 ? 's' : ''}. Drag across a plot to zoom in, double-click to see all of it again.`));

    const others = shown.filter(({run}) => !run.baseline && run.curves.delta.x.length);
    if (others.length) {
      const base = runs[doc.baseline];
      body.append(el('h3', {}, `Distance to ${base.name}`));
      const deltas = others.map(({run, index}) => ({name: run.name, ...cutCurve(run.curves.delta, from), colour: runColour(index)}));
      for (const {run, index} of others) deltas.push({name: run.name + ', validation', ...cutCurve(run.curves.validation_delta, from), colour: runColour(index), dots: true});
      lineChart(body, {height: 220, yLabel: 'loss − baseline', lines: deltas, levels: [{name: base.name, y: 0, colour: runColour(doc.baseline)}], value: signed});
      const tokens = new Set(shown.map(({run}) => run.figures.tokens / run.figures.steps));
      if (tokens.size > 1) body.append(el('p', {class: 'note'}, 'These runs train on different numbers of tokens a step; the distance compares equal steps, not equal tokens.'));
    } else if (runs.length > 1) {
      hint(body, 'No two of these runs share a step, so there is no distance to draw.');
    } else {
      body.append(el('p', {class: 'note'}, 'Give a second run, for instance of recipe bf16, to see the distance between them.'));
    }
    thinned(body, shown.flatMap(({run}) => [run.curves.loss]));
    if (shown.some(({run}) => run.missing.validation)) missing(body, 'validation', true);
  },
});
