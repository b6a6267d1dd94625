// SPDX-License-Identifier: Apache-2.0
#include "octavo/train/run_config.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <cmath>
#include <sstream>
#include <utility>

#include "octavo/base/error.h"
#include "octavo/base/suggest.h"
#include "octavo/data/loader.h"
#include "octavo/data/utf8.h"

namespace octavo {
namespace {

// The schema, in the order it is written out. One line a key: nothing else in the program lists them.
template <class C, class Visit>
void each_key(C& c, Visit visit) {
  visit("preset", c.preset, "the preset these values started from");
  visit("recipe", c.recipe, "numeric recipe: a name from `octavo recipes`, or a .toml file");
  visit("recipe_set", c.recipe_set, "changes of the recipe, as store.moment2.format=e4m3");
  visit("out", c.out, "run directory");
  visit("init", c.init, "model directory to start from instead of random weights");
  visit("seed", c.seed, "seed of initial weights and data order");
  visit("threads", c.threads, "CPU threads, 0 = all; results do not depend on it");
  visit("model.family", c.model.family, "gpt2, llama or octavo (docs/schemes.md)");
  visit("model.scheme", c.model.scheme, "octavo: parametrization sp, mup, unit, umup or munit");
  visit("model.norm", c.model.norm,
        "octavo: where norms stand, pre or res-post (at the end of a branch); empty = the scheme's own");
  visit("model.residual", c.model.residual,
        "octavo: how branches join the stream, sum, fixed or running-mean; empty = the scheme's own");
  visit("model.tau", c.model.tau,
        "octavo: share of a branch in the stream's variance (residual fixed), 0 = from the depth");
  visit("model.final_norm", c.model.final_norm,
        "octavo: a norm before the LM head, yes or no; empty = the scheme's own");
  visit("model.positions", c.model.positions, "octavo: rotary or learned");
  visit("model.softmax", c.model.softmax, "octavo: attention weights, plain or sqrt (of the softmax)");
  visit("model.multipliers", c.model.multipliers,
        "octavo: constants of the products inside blocks, scheme or none");
  visit("model.vocab_size", c.model.vocab_size, "tokens in the vocabulary, 0 = that of the data");
  visit("model.context", c.model.context, "longest sequence");
  visit("model.width", c.model.width, "width of the residual stream");
  visit("model.layers", c.model.layers, "transformer blocks");
  visit("model.heads", c.model.heads, "attention heads");
  visit("model.kv_heads", c.model.kv_heads, "key/value heads, 0 = heads");
  visit("model.head_dim", c.model.head_dim, "width of a head, 0 = width / heads");
  visit("model.ffn", c.model.ffn,
        "hidden width of the MLP, 0 = 4 x width or 8/3 x width rounded up to 32 (llama)");
  visit("model.activation", c.model.activation, "gelu_tanh, gelu, relu or silu; empty = the family's own");
  visit("model.norm_eps", c.model.norm_eps, "epsilon of the norms");
  visit("model.rope_theta", c.model.rope_theta, "base of the rotary positions");
  visit("model.init_std", c.model.init_std,
        "standard deviation of the initial weights, 0 = the scheme's own (0.02, or 1)");
  visit("model.tied_head", c.model.tied_head, "the LM head shares the embedding");
  visit("data.train", c.data.train, "training data: token shards, or a directory made by `octavo prepare`");
  visit("data.val", c.data.val, "validation data; empty = the directory's own");
  visit("data.sequence_length", c.data.sequence_length, "tokens a sequence, 0 = model.context");
  visit("data.packing", c.data.packing,
        "examples in a sequence: whole = as many as fit, single = one, which then sees no other");
  visit("train.steps", c.train.steps, "optimizer steps");
  visit("train.micro_batch", c.train.micro_batch, "sequences in one forward and backward pass");
  visit("train.grad_accum", c.train.grad_accum, "micro-batches a step");
  visit("train.pack_weights", c.train.pack_weights,
        "keep weights packed for the GEMMs of all micro-batches of a step");
  visit("train.recompute", c.train.recompute,
        "what the backward pass makes again instead of keeping it, to the same bits: norm, activation, block "
        "(all "
        "but the stream between blocks), none, or auto (norm and activation where inputs have 8 bits)");
  visit("parallel.logical_ranks", c.parallel.logical_ranks,
        "data-parallel ranks, each with its own micro-batches; a process computes several of them in turn; 0 "
        "= one "
        "for each process");
  visit("parallel.zero", c.parallel.zero,
        "what ranks divide among themselves: 0 = nothing, 1 = optimizer state, 2 = and gradients, 3 = and "
        "weights");
  visit("parallel.partition", c.parallel.partition,
        "how they divide it: tensors = whole ones, slices = evenly, auto = whole where one scale serves a "
        "tensor");
  visit("parallel.bucket_mb", c.parallel.bucket_mb,
        "megabytes of gradients or weights that travel together; results do not depend on it");
  visit("parallel.deadline", c.parallel.deadline,
        "seconds a rank may wait for another before the job is ended, 0 = for ever");
  visit("optim.name", c.optim.name, "adamw or lion");
  visit(
      "optim.base_width", c.optim.base_width,
      "width at which lr and weight_decay were found; the scheme's rules carry them to this model's width; 0 "
      "= this width");
  visit("optim.lr", c.optim.lr, "peak learning rate");
  visit("optim.min_lr", c.optim.min_lr, "learning rate at the last step");
  visit("optim.warmup_steps", c.optim.warmup_steps, "steps of linear warm-up");
  visit("optim.schedule", c.optim.schedule, "cosine, linear or constant after the warm-up");
  visit("optim.weight_decay", c.optim.weight_decay, "weight decay of the matrices, not through the gradient");
  visit("optim.decoupled_decay", c.optim.decoupled_decay,
        "a step takes weight_decay x (schedule) of a weight instead of weight_decay x lr");
  visit("optim.beta1", c.optim.beta1, "decay of the first moment");
  visit("optim.beta2", c.optim.beta2, "decay of the second moment (lion: of its only one)");
  visit("optim.eps", c.optim.eps, "epsilon of AdamW");
  visit("optim.clip", c.optim.clip, "largest global gradient norm, 0 = no clipping");
  visit("eval.every", c.eval.every, "steps between evaluations, 0 = only at the end");
  visit("eval.batches", c.eval.batches, "micro-batches an evaluation, 0 = all of the validation data");
  visit("log.every", c.log.every, "steps between lines of the log");
  visit("log.tensors_every", c.log.tensors_every, "steps between entries of tensors.jsonl, 0 = never");
  visit("log.tensorboard", c.log.tensorboard, "write TensorBoard events too");
  visit("log.profile", c.log.profile, "time GEMM, attention, quantize, norm, optimizer apart");
  visit("checkpoint.every", c.checkpoint.every, "steps between checkpoints, 0 = only at the end");
  visit("checkpoint.keep", c.checkpoint.keep, "newest checkpoints kept");
}

std::string type_of(const std::string&) { return "text"; }
std::string type_of(const int64_t&) { return "integer"; }
std::string type_of(const double&) { return "number"; }
std::string type_of(const bool&) { return "true or false"; }
std::string type_of(const std::vector<std::string>&) { return "list of text"; }

std::string toml_string(const std::string& s) {
  std::ostringstream out;
  out << toml::value<std::string>(s);
  return out.str();
}
std::string toml_value(const std::string& v) { return toml_string(v); }
std::string toml_value(const int64_t& v) { return fmt::format("{}", v); }
std::string toml_value(const double& v) {
  const std::string text = fmt::format("{}", v);
  return text.find_first_of(".e") == std::string::npos ? text + ".0" : text;
}
std::string toml_value(const bool& v) { return v ? "true" : "false"; }
std::string toml_value(const std::vector<std::string>& v) {
  std::string text;
  for (const std::string& s : v) text += (text.empty() ? "" : ", ") + toml_string(s);
  return "[" + text + "]";
}

bool assign(const toml::node& node, std::string& out) {
  if (!node.is_string()) return false;
  out = node.as_string()->get();
  return true;
}
bool assign(const toml::node& node, int64_t& out) {
  if (!node.is_integer()) return false;
  out = node.as_integer()->get();
  return true;
}
bool assign(const toml::node& node, double& out) {
  if (!node.is_number()) return false;
  out = *node.value<double>();
  return true;
}
bool assign(const toml::node& node, bool& out) {
  if (!node.is_boolean()) return false;
  out = node.as_boolean()->get();
  return true;
}
bool assign(const toml::node& node, std::vector<std::string>& out) {
  if (node.is_string()) {
    out = {node.as_string()->get()};
    return true;
  }
  if (!node.is_array()) return false;
  std::vector<std::string> values;
  for (const toml::node& item : *node.as_array()) {
    if (!item.is_string()) return false;
    values.push_back(item.as_string()->get());
  }
  out = values;
  return true;
}

std::string printed(const toml::node& node) {
  std::ostringstream out;
  node.visit([&](const auto& typed) { out << typed; });
  return out.str();
}

std::string place(const std::string& source, const toml::node& node) {
  const auto line = node.source().begin.line;
  return line > 0 && !source.starts_with("--") ? fmt::format("{}:{}", source, line) : source;
}

void apply_node(RunConfig& config, const std::string& key, const toml::node& node,
                const std::string& source) {
  bool known = false;
  std::vector<std::string> keys;
  each_key(config, [&](const char* name, auto& field, const char*) {
    keys.push_back(name);
    if (key != name) return;
    known = true;
    if (!assign(node, field))
      fail_usage(fmt::format("{}: {} expects {}, found {}", place(source, node), key, type_of(field),
                             printed(node)));
  });
  if (known) return;
  if (nearest(key, keys).empty()) {  // then the keys of its own table are all the help there is
    const std::string table = key.substr(0, key.find('.') + 1);
    if (!table.empty()) std::erase_if(keys, [&](const std::string& k) { return !k.starts_with(table); });
  }
  fail_usage(fmt::format("{}: unknown key '{}'{}", place(source, node), key, did_you_mean(key, keys)));
}

void apply_table(RunConfig& config, const toml::table& table, const std::string& prefix,
                 const std::string& source) {
  for (const auto& [name, node] : table) {
    const std::string key = prefix + std::string(name.str());
    if (const toml::table* inner = node.as_table())
      apply_table(config, *inner, key + ".", source);
    else
      apply_node(config, key, node, source);
  }
}

}  // namespace

std::vector<ConfigKey> config_keys(const RunConfig& config) {
  std::vector<ConfigKey> keys;
  each_key(config, [&](const char* key, const auto& field, const char* help) {
    keys.push_back({key, type_of(field), toml_value(field), help});
  });
  return keys;
}

void apply_toml(RunConfig& config, const std::string& text, const std::string& source) {
  toml::table table;
  try {
    table = toml::parse(text, source);
  } catch (const toml::parse_error& error) {
    fail_usage(
        fmt::format("{}:{}: not valid TOML: {}", source, error.source().begin.line, error.description()));
  }
  apply_table(config, table, "", source);
}

void apply_setting(RunConfig& config, const std::string& assignment, const std::string& source) {
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0)
    fail_usage(
        fmt::format("{} {}: expected key=value, for instance --set optim.lr=3e-4", source, assignment));
  const std::string key = assignment.substr(0, equals), value = assignment.substr(equals + 1);
  const auto try_parse = [&](const std::string& text) {
    try {
      const toml::table table = toml::parse("value = " + text);
      apply_node(config, key, *table.get("value"), source);
      return true;
    } catch (const toml::parse_error&) {
      return false;
    }
  };
  if (utf8_valid_prefix(value) != value.size())
    fail_usage(fmt::format("{}: the value of {} is not text in UTF-8", source, key));
  if (!try_parse(value)) try_parse(toml_string(value));
}

std::string to_toml(const RunConfig& config) {
  std::string text, section;
  for (const ConfigKey& key : config_keys(config)) {
    const size_t dot = key.key.find('.');
    const std::string table = dot == std::string::npos ? "" : key.key.substr(0, dot);
    if (table != section) {
      text += "\n[" + table + "]\n";
      section = table;
    }
    text += key.key.substr(dot == std::string::npos ? 0 : dot + 1) + " = " + key.value + "\n";
  }
  return text;
}

void validate(const RunConfig& c) {
  const auto check = [](bool good, const char* key, const auto& value, const char* expected) {
    if (!good) fail_usage(fmt::format("{} is {}, expected {}", key, value, expected));
  };
  // The upper limits keep products of these numbers within 64 bits.
  constexpr int64_t kMillion = 1'000'000, kMany = kMillion * kMillion;
  check(c.train.steps >= 1 && c.train.steps <= kMany, "train.steps", c.train.steps, "1 to 10^12");
  check(c.train.micro_batch >= 1 && c.train.micro_batch <= kMillion, "train.micro_batch", c.train.micro_batch,
        "1 to 1000000");
  check(c.train.grad_accum >= 1 && c.train.grad_accum <= kMillion, "train.grad_accum", c.train.grad_accum,
        "1 to 1000000");
  for (const auto& [key, value] : {std::pair{"optim.lr", c.optim.lr},
                                   {"optim.min_lr", c.optim.min_lr},
                                   {"optim.eps", c.optim.eps},
                                   {"optim.weight_decay", c.optim.weight_decay},
                                   {"optim.clip", c.optim.clip}})
    check(std::isfinite(value), key, value, "a finite number");
  check(c.data.sequence_length >= 0, "data.sequence_length", c.data.sequence_length, "0 or more");
  check(c.threads >= 0 && c.threads <= 4096, "threads", c.threads, "0 to 4096");
  check(c.optim.lr >= 0, "optim.lr", c.optim.lr, "0 or more");
  check(c.optim.min_lr >= 0 && c.optim.min_lr <= c.optim.lr, "optim.min_lr", c.optim.min_lr,
        "a number from 0 to optim.lr");
  check(c.optim.warmup_steps >= 0, "optim.warmup_steps", c.optim.warmup_steps, "0 or more");
  check(c.optim.weight_decay >= 0, "optim.weight_decay", c.optim.weight_decay, "0 or more");
  check(c.optim.beta1 >= 0 && c.optim.beta1 < 1, "optim.beta1", c.optim.beta1, "a number in [0, 1)");
  check(c.optim.beta2 >= 0 && c.optim.beta2 < 1, "optim.beta2", c.optim.beta2, "a number in [0, 1)");
  check(c.optim.eps > 0, "optim.eps", c.optim.eps, "a positive number");
  check(c.optim.clip >= 0, "optim.clip", c.optim.clip, "0 (off) or more");
  check(c.eval.every >= 0, "eval.every", c.eval.every, "0 or more");
  check(c.eval.batches >= 0 && c.eval.batches <= kMany, "eval.batches", c.eval.batches, "0 (all) to 10^12");
  check(c.log.every >= 1, "log.every", c.log.every, "at least 1");
  check(c.log.tensors_every >= 0, "log.tensors_every", c.log.tensors_every, "0 or more");
  check(c.checkpoint.every >= 0, "checkpoint.every", c.checkpoint.every, "0 or more");
  check(c.checkpoint.keep >= 1, "checkpoint.keep", c.checkpoint.keep, "at least 1");
  check(c.parallel.logical_ranks >= 0 && c.parallel.logical_ranks <= 65536, "parallel.logical_ranks",
        c.parallel.logical_ranks, "0 (one for each process) to 65536");
  check(c.parallel.zero >= 0 && c.parallel.zero <= 3, "parallel.zero", c.parallel.zero, "0, 1, 2 or 3");
  check(c.parallel.bucket_mb > 0 && c.parallel.bucket_mb <= 1024, "parallel.bucket_mb", c.parallel.bucket_mb,
        "a number from 0 to 1024");
  check(c.parallel.deadline >= 0, "parallel.deadline", c.parallel.deadline, "0 (none) or more");
  if (const std::string& word = c.parallel.partition; word != "auto" && word != "tensors" && word != "slices")
    fail_usage(
        fmt::format("parallel.partition is '{}'{}", word, did_you_mean(word, {"auto", "tensors", "slices"})));
  packing(c.data.packing);
  const std::vector<std::string> schedules{"cosine", "linear", "constant"};
  const std::vector<std::string> optimizers{"adamw", "lion"};
  if (c.optim.name != "adamw" && c.optim.name != "lion")
    fail_usage(fmt::format("optim.name is '{}'{}", c.optim.name, did_you_mean(c.optim.name, optimizers)));
  check(c.optim.base_width >= 0, "optim.base_width", c.optim.base_width, "0 (this width) or more");
  if (c.optim.schedule != "cosine" && c.optim.schedule != "linear" && c.optim.schedule != "constant")
    fail_usage(
        fmt::format("optim.schedule is '{}'{}", c.optim.schedule, did_you_mean(c.optim.schedule, schedules)));
}

Kept kept_state(const RunConfig& config, const Recipe& recipe) {
  Kept kept;
  bool automatic = false;
  for (const std::string& word : config.train.recompute) {
    if (word == "none")
      continue;
    else if (word == "auto")
      automatic = true;
    else if (word == "norm")
      kept.normed = false;
    else if (word == "activation")
      kept.hidden = false;
    else if (word == "block")
      kept = {true, false, false, false};
    else
      fail_usage(fmt::format("train.recompute: '{}' is unknown{}", word,
                             did_you_mean(word, {"auto", "none", "norm", "activation", "block"})));
  }
  // What is kept for the backward pass is what the weight gradient reads.
  if (automatic && carries_scale(recipe.role(Role::gemm_wgrad_input).format))
    kept.normed = kept.hidden = false;
  return kept;
}

namespace {

/// The index of a word among those a key knows.
size_t choice(const char* key, const std::string& value, const std::vector<std::string>& words) {
  for (size_t i = 0; i < words.size(); ++i)
    if (words[i] == value) return i;
  fail_usage(fmt::format("{} is '{}'{}", key, value, did_you_mean(value, words)));
}

/// What only family octavo chooses.
void choose_scheme(const RunConfig::Model& from, ModelConfig& m) {
  m.scheme = static_cast<Scheme>(choice("model.scheme", from.scheme, scheme_words()));
  const SchemeDefaults own = defaults_of(m.scheme);
  m.placement = own.placement;
  m.residual = own.residual;
  m.final_norm = own.final_norm;
  if (!from.norm.empty())
    m.placement = static_cast<NormPlacement>(choice("model.norm", from.norm, placement_words()));
  if (!from.residual.empty())
    m.residual = static_cast<Residual>(choice("model.residual", from.residual, residual_words()));
  if (!from.final_norm.empty())
    m.final_norm = choice("model.final_norm", from.final_norm, {"no", "yes"}) == 1;
  else if (m.placement == NormPlacement::pre)
    m.final_norm = true;
  m.learned_positions = choice("model.positions", from.positions, {"rotary", "learned"}) == 1;
  m.sqrt_softmax = choice("model.softmax", from.softmax, {"plain", "sqrt"}) == 1;
  m.multipliers = choice("model.multipliers", from.multipliers, {"none", "scheme"}) == 1;
  m.tau = m.residual != Residual::fixed ? 0 : from.tau != 0 ? from.tau : default_tau(m.layers);
}

}  // namespace

ModelConfig model_config(const RunConfig& c, int64_t vocab_size) {
  const std::string source = c.preset.empty() ? "model" : "preset " + c.preset;
  ModelConfig m;
  m.name = c.preset;
  m.family = static_cast<Family>(choice("model.family", c.model.family, {"gpt2", "llama", "octavo"}));
  m.vocab_size = c.model.vocab_size ? c.model.vocab_size : vocab_size;
  m.context = c.model.context;
  m.width = c.model.width;
  m.layers = c.model.layers;
  m.heads = c.model.heads;
  if (m.heads < 1) fail_usage(fmt::format("model.heads is {}, expected at least 1", m.heads));
  m.kv_heads = c.model.kv_heads ? c.model.kv_heads : m.heads;
  m.head_dim = c.model.head_dim ? c.model.head_dim : m.width / m.heads;
  m.ffn = c.model.ffn;
  if (m.ffn == 0) m.ffn = m.gated() ? (m.width * 8 / 3 + 31) / 32 * 32 : 4 * m.width;
  m.activation = m.gated() ? Activation::silu : Activation::gelu_tanh;
  if (!c.model.activation.empty())
    m.activation = static_cast<Activation>(
        choice("model.activation", c.model.activation, {"gelu_tanh", "gelu", "relu", "silu"}));
  m.norm_eps = c.model.norm_eps;
  m.rope_theta = c.model.rope_theta;
  m.tied_head = c.model.tied_head;
  if (m.family == Family::octavo) choose_scheme(c.model, m);
  m.init_std = c.model.init_std != 0 ? c.model.init_std : defaults_of(m.scheme).init_std;
  validate(m, source);
  return m;
}

}  // namespace octavo
