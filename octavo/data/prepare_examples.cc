// SPDX-License-Identifier: Apache-2.0
#include "octavo/data/prepare_examples.h"

#include <fmt/format.h>

#include <algorithm>

#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/data/conversations.h"
#include "octavo/data/corpus.h"
#include "octavo/data/dataset_output.h"

namespace octavo {
namespace {

void check(const PrepareExamplesOptions& o) {
  if (o.inputs.empty()) fail_usage("prepare needs at least one input file");
  if (o.out.empty()) fail_usage("prepare needs an output directory");
  if (o.tokenizer.empty())
    fail_usage("examples need --tokenizer: that of the model which is to be fine-tuned");
  if (!(o.val_fraction >= 0 && o.val_fraction < 1))
    fail_usage(fmt::format("val fraction must be at least 0 and below 1, found {}", o.val_fraction));
  if (o.shard_tokens < 1024)
    fail_usage(fmt::format("shard tokens must be at least 1024, found {}", o.shard_tokens));
  if (!o.verbalizing) return;
  fill_prompt(o.verbalizing->prompt, "");
  const std::vector<std::string>& words = o.verbalizing->verbalizers;
  if (words.size() < 2) fail_usage("classification needs at least two verbalizers, one for each label");
  for (const std::string& word : words)
    if (word.empty() || std::count(words.begin(), words.end(), word) > 1)
      fail_usage(fmt::format("verbalizers must differ and not be empty, found '{}'", word));
}

std::vector<Example> read_examples(const PrepareExamplesOptions& o, Dataset& dataset) {
  std::vector<Example> examples;
  for (const std::string& path : expand_inputs(o.inputs)) {
    const std::string content = read_file(path);
    dataset.sources.push_back({path, static_cast<int64_t>(content.size())});
    if (o.verbalizing) {
      const auto classes = static_cast<int64_t>(o.verbalizing->verbalizers.size());
      for (const LabelledText& item : parse_labelled(content, path, classes, o.text_column, o.label_column))
        examples.push_back(verbalize(item, *o.verbalizing));
    } else {
      for (const Conversation& conversation : parse_conversations(content, path))
        examples.push_back(apply_template(o.template_name, conversation));
    }
  }
  return examples;
}

}  // namespace

Dataset prepare_examples(const PrepareExamplesOptions& o) {
  check(o);
  Dataset dataset;
  const std::vector<Example> examples = read_examples(o, dataset);
  const size_t total = examples.size();
  size_t held_out = static_cast<size_t>(static_cast<double>(total) * o.val_fraction);
  if (o.val_fraction > 0) held_out = std::max<size_t>(held_out, 1);
  if (held_out == total)
    fail_data(fmt::format("'{}' has one example; a validation split needs another (--val-fraction 0: none)",
                          dataset.sources.front().path));

  const DatasetOutput output(o.out);
  const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(o.tokenizer);
  output.copy_tokenizer(o.tokenizer);
  output.remove_manifest();
  dataset.directory = o.out;
  dataset.vocab_size = tokenizer->vocab_size();
  dataset.tokenizer_fingerprint = tokenizer->fingerprint();
  ShardHeader header;
  header.vocab_size = dataset.vocab_size;
  header.tokenizer = dataset.tokenizer_fingerprint;
  header.marked = true;
  ShardWriter train(o.out, header, "train", o.shard_tokens, dataset.train),
      val(o.out, header, "val", o.shard_tokens, dataset.val);
  dataset.train.counted = dataset.val.counted = 0;
  for (size_t i = 0; i < total; ++i) {
    const bool validation = i >= total - held_out;
    ShardWriter& writer = validation ? val : train;
    const size_t before = writer.pending().size();
    encode_example(*tokenizer, examples[i], writer.pending(), writer.pending_marks());
    const std::vector<uint8_t>& marks = writer.pending_marks();
    (validation ? dataset.val : dataset.train).counted +=
        std::count(marks.begin() + static_cast<int64_t>(before), marks.end(), kCounts);
    int64_t bytes = 0;
    for (const Piece& piece : examples[i].pieces) bytes += static_cast<int64_t>(piece.text.size());
    writer.document_done(bytes);
    if (o.progress) o.progress("tokenize", static_cast<int64_t>(i + 1), static_cast<int64_t>(total));
  }
  train.finish();
  val.finish();
  write_dataset(dataset);
  return dataset;
}

}  // namespace octavo
