// SPDX-License-Identifier: Apache-2.0
// Panel 1: what was run, and the figures that matter.
function worstOf(run, key) {
  let worst = null;
  for (const row of run.tensors.rows) {
    const [value] = row.worst[key];
    if (known(value) && (worst === null || value > worst)) worst = value;
  }
  return worst;
}

function deltaText(run, value, what) {
  if (run.baseline) return runs.length > 1 ? 'the others are compared with this run' : '';
  if (!known(value)) return `no ${what} at a step that ${runs[doc.baseline].name} has too`;
  // No verdict by colour: with one seed a run a difference this small means nothing.
  return [el('b', {}, signed(value)), ` against ${runs[doc.baseline].name}`];
}

function runCard(run, index) {
  const f = run.figures, validated = known(f.val_loss);
  const card = el('div', {class: 'run'},
    el('div', {class: 'name'}, run.name, run.baseline && runs.length > 1 ? el('span', {class: 'tag'}, 'baseline') : null),
    el('div', {class: 'what'}, run.recipe.name ? ['recipe ', el('b', {}, run.recipe.name)] : 'a directory without a run configuration', run.env.model ? [el('br'), run.env.model] : null),
    el('div', {class: 'what'}, run.recipe.description),
    el('div', {class: 'big'}, loss(validated ? f.val_loss : f.train_loss)),
    el('div', {class: 'delta'}, validated ? `validation loss after step ${f.val_step}, ` : 'training loss, ', deltaText(run, validated ? f.val_delta : f.train_delta, validated ? 'validation' : 'loss')));
  card.style.setProperty('--run', runColour(index));
  const list = el('dl');
  const add = (name, value, title) => known(value) && value !== '–' && list.append(el('dt', {title}, name), el('dd', {}, value));
  if (validated) add('training loss', loss(f.train_loss), `mean of the last ${f.window} steps`);
  if (validated && !run.baseline && known(f.train_delta)) add('… against the baseline', signed(f.train_delta), `mean over ${f.window} equal steps`);
  add('tokens a second', known(f.tokens_per_second) ? short(f.tokens_per_second) : null, 'median over the second half of the run');
  add('of the speed of light', percent(f.speed_of_light), 'time the matrix products would take at the measured peak, over the time the step took');
  add('memory', mebibytes(f.memory), 'planned and allocated before the first step');
  add('worst underflow', percent(worstOf(run, 'underflow')), 'largest share of non-zero values of one tensor that became zero at one logged step');
  add('worst saturation', percent(worstOf(run, 'saturation')), 'largest share of values of one tensor beyond the largest number of its format');
  card.append(list);
  return card;
}

/// Rows of the table: name, a text for each run, and whether it is measured: then it always differs.
const facts = [
  ['recipe', (r) => r.recipe.name],
  ['paper', (r) => r.recipe.paper],
  ['model', (r) => r.env.model || r.config['model.family']],
  ['steps', (r) => (r.figures.steps ? `${r.figures.steps}${r.config['train.steps'] && r.config['train.steps'] !== String(r.figures.steps) ? ` of ${r.config['train.steps']}` : ''}` : '')],
  ['tokens', (r) => (known(r.figures.tokens) ? short(r.figures.tokens) : '')],
  ['sequences a step', (r) => (r.config['train.micro_batch'] ? `${r.config['train.micro_batch']} × ${r.config['train.grad_accum']}, ${r.config['data.sequence_length']} tokens each` : '')],
  ['learning rate', (r) => (r.config['optim.lr'] ? `${r.config['optim.lr']} → ${r.config['optim.min_lr']}, ${r.config['optim.schedule']}, ${r.config['optim.warmup_steps']} warm-up steps` : '')],
  ['seed', (r) => r.config.seed],
  ['time in steps', (r) => (r.figures.wall_seconds ? duration(r.figures.wall_seconds) : ''), true],
  ['machine', (r) => (r.env.cpu ? `${r.env.cpu}, ${r.env.threads} threads, ${r.env.isa}` : '')],
  ['linear layers by', (r) => (r.env.gemm_variant ? `${r.env.gemm_variant}${r.figures.peak_flops ? `, peak ${short(r.figures.peak_flops)}FLOP/s` : ''}` : ''), true],
  ['peak resident memory', (r) => (r.figures.peak_resident ? mebibytes(r.figures.peak_resident) : ''), true],
  ['program', (r) => (r.env.version ? `${r.env.version}, commit ${r.env.commit}, ${r.env.compiler}` : '')],
  ['started', (r) => r.env.started, true],
];

function factsTable(rows) {
  const table = el('table', {class: 'facts'}, el('thead', {}, el('tr', {}, el('th'), runs.map((r, i) => el('th', {}, swatch(runColour(i)), ' ' + r.name)))));
  const tbody = el('tbody');
  for (const [name, read, measured] of rows) {
    const texts = runs.map((r) => read(r) || '');
    if (texts.every((t) => !t)) continue;
    tbody.append(el('tr', {}, el('th', {}, name), texts.map((t, i) => el('td', {class: !measured && i !== doc.baseline && t !== texts[doc.baseline] ? 'differs' : ''}, t || '–'))));
  }
  table.append(tbody);
  return el('div', {class: 'scroll'}, table);
}

panels.push({
  id: 'overview', title: 'What was run',
  how: 'One card a run. The large number is the final loss in nats a token, lower is better; one seed a run says little about differences of a few thousandths.',
  draw(body) {
    body.append(el('div', {class: 'cards'}, runs.map(runCard)));
    body.append(el('h3', {}, 'The runs side by side'), factsTable(facts));
    if (runs.length > 1) body.append(el('p', {class: 'note'}, 'Bold: set differently from the baseline.'));
    const keys = [...new Set(runs.flatMap((r) => Object.keys(r.config)))].sort();
    if (keys.length) body.append(el('details', {}, el('summary', {}, 'The whole configuration'), factsTable(keys.map((k) => [k, (r) => r.config[k]]))));
    const deviating = runs.filter((r) => r.recipe.deviations.length);
    if (deviating.length) {
      const list = [...new Set(deviating.map((r) => r.recipe.name))].map((name) => {
        const recipe = deviating.find((r) => r.recipe.name === name).recipe;
        return [el('h3', {}, `${name}, from ${recipe.paper || 'its paper'}`), el('ul', {}, recipe.deviations.map((d) => el('li', {}, d)))];
      });
      body.append(el('details', {}, el('summary', {}, 'Where the recipes deviate from their papers'), ...list.flat()));
    }
    for (const run of runs) for (const note of run.notes) body.append(el('p', {class: 'note'}, el('b', {}, run.name), ': ', note));
  },
});
