// SPDX-License-Identifier: Apache-2.0
#include "octavo/data/prepare.h"

#include <fmt/format.h>

#include <filesystem>
#include <optional>

#include "octavo/base/error.h"
#include "octavo/data/bpe_train.h"
#include "octavo/data/corpus.h"
#include "octavo/data/dataset_output.h"
#include "octavo/data/tokenizer.h"

namespace octavo {
namespace {

namespace fs = std::filesystem;

// Where the validation split begins: at byte `offset` of document number `document`.
struct Cut {
  int64_t document = INT64_MAX;
  int64_t offset = 0;
};

class Preparation {
 public:
  explicit Preparation(const PrepareOptions& options) : options_(options) {
    if (options.inputs.empty()) fail_usage("prepare needs at least one input file");
    if (options.out.empty()) fail_usage("prepare needs an output directory");
    if (!(options.val_fraction >= 0 && options.val_fraction < 1))
      fail_usage(fmt::format("val fraction must be at least 0 and below 1, found {}", options.val_fraction));
    if (options.shard_tokens < 1024)
      fail_usage(fmt::format("shard tokens must be at least 1024, found {}", options.shard_tokens));
    if (options.format == ShardFormat::llmc && options.shard_tokens > INT32_MAX)
      fail_usage(
          fmt::format("llmc shards hold at most {} tokens, asked for {}", INT32_MAX, options.shard_tokens));
  }

  PrepareResult run() {
    files_ = expand_inputs(options_.inputs);
    scan();
    find_cut();
    output_.emplace(options_.out);
    provide_tokenizer();
    output_->remove_manifest();  // no data set until it is complete again
    tokenize();
    write_dataset(result_.dataset);
    return std::move(result_);
  }

 private:
  void report(const char* stage, int64_t done, int64_t total) const {
    if (options_.progress) options_.progress(stage, done, total);
  }

  void scan() {
    int64_t file_bytes = 0, done = 0;
    for (const std::string& file : files_) file_bytes += static_cast<int64_t>(fs::file_size(file));
    for (const std::string& path : files_) {
      const CorpusFile file = read_documents(path, options_.field, [](std::string_view) {});
      total_bytes_ += file.text_bytes;
      result_.invalid_bytes += file.invalid_bytes;
      result_.dataset.sources.push_back({path, file.bytes});
      report("scan", done += file.bytes, file_bytes);
    }
  }

  // Calls sink(document, number, file) for the whole corpus.
  template <class Sink>
  void each_document(const Sink& sink) const {
    int64_t number = 0;
    for (const std::string& path : files_)
      read_documents(path, options_.field,
                     [&](std::string_view document) { sink(document, number++, path); });
  }

  void find_cut() {
    if (options_.val_fraction == 0) return;
    const auto wanted = static_cast<int64_t>(static_cast<double>(total_bytes_) * (1 - options_.val_fraction));
    int64_t before = 0;
    bool found = false;
    each_document([&](std::string_view document, int64_t number, const std::string& path) {
      const auto size = static_cast<int64_t>(document.size());
      if (!found && before + size > wanted) {
        found = true;
        cut_ = {number, 0};
        // The end of the last line before the cut; JSON Lines are not cut inside a document.
        const size_t at = static_cast<size_t>(wanted - before);
        const size_t line_end = at == 0 ? std::string_view::npos : document.rfind('\n', at - 1);
        if (!is_json_lines(path) && line_end != std::string_view::npos) {
          cut_.offset = static_cast<int64_t>(line_end) + 1;
        } else if (number == 0) {
          cut_ = {1, 0};  // the first document stays whole and is for training
        }
      }
      before += size;
    });
  }

  // Calls sink(text, validation) for every document, the one that spans the cut in two parts.
  template <class Sink>
  void each_part(const Sink& sink) const {
    each_document([&](std::string_view document, int64_t number, const std::string&) {
      if (number != cut_.document) {
        sink(document, number > cut_.document);
        return;
      }
      if (cut_.offset > 0) sink(document.substr(0, static_cast<size_t>(cut_.offset)), false);
      sink(document.substr(static_cast<size_t>(cut_.offset)), true);
    });
  }

  void provide_tokenizer() {
    if (options_.tokenizer.empty()) {
      train_tokenizer();
      tokenizer_ = load_tokenizer(options_.out);
    } else {
      tokenizer_ = load_tokenizer(options_.tokenizer);
      output_->copy_tokenizer(options_.tokenizer);
    }
    Dataset& dataset = result_.dataset;
    dataset.directory = options_.out;
    dataset.format = options_.format;
    dataset.vocab_size = tokenizer_->vocab_size();
    dataset.tokenizer_fingerprint = tokenizer_->fingerprint();
    shard_token_bytes(options_.format, dataset.vocab_size);  // refuses a format the ids do not fit in
  }

  void train_tokenizer() {
    BpeTrainer trainer;
    each_part([&](std::string_view text, bool validation) {
      if (!validation) trainer.add(text);
    });
    BpeTrainOptions training;
    training.vocab_size = options_.vocab_size;
    training.progress = [&](int32_t done, int32_t total) {
      if (done % 64 == 0 || done == total) report("train tokenizer", done, total);
    };
    const TrainedBpe trained = trainer.train(training);
    result_.fewer_tokens = static_cast<int32_t>(trained.tokens.size()) < options_.vocab_size;
    output_->clear_tokenizer({});
    save_tokenizer_json(trained, options_.out);
  }

  void tokenize() {
    Dataset& dataset = result_.dataset;
    ShardHeader header;
    header.format = options_.format;
    header.vocab_size = dataset.vocab_size;
    header.tokenizer = dataset.tokenizer_fingerprint;
    ShardWriter train(options_.out, header, "train", options_.shard_tokens, dataset.train),
        val(options_.out, header, "val", options_.shard_tokens, dataset.val);
    int64_t done = 0;
    each_part([&](std::string_view text, bool validation) {
      ShardWriter& writer = validation ? val : train;
      std::vector<int32_t>& tokens = writer.pending();
      if (tokenizer_->adds_bos() && tokenizer_->bos()) tokens.push_back(*tokenizer_->bos());
      tokenizer_->encode_to(text, options_.parse_special, tokens);
      if (tokenizer_->eos()) tokens.push_back(*tokenizer_->eos());
      writer.document_done(static_cast<int64_t>(text.size()));
      report("tokenize", done += static_cast<int64_t>(text.size()), total_bytes_);
    });
    train.finish();
    val.finish();
    if (dataset.train.tokens < 2 || (options_.val_fraction > 0 && dataset.val.tokens < 2))
      fail_data(fmt::format(
          "the corpus ('{}'{}) is too short: its {} bytes in {} documents give {} training and {} "
          "validation tokens, expected at least 2 of each",
          files_.front(), files_.size() > 1 ? ", ..." : "", total_bytes_,
          dataset.train.documents + dataset.val.documents, dataset.train.tokens, dataset.val.tokens));
  }

  const PrepareOptions& options_;
  std::vector<std::string> files_;
  int64_t total_bytes_ = 0;
  Cut cut_;
  std::optional<DatasetOutput> output_;
  std::unique_ptr<Tokenizer> tokenizer_;
  PrepareResult result_;
};

}  // namespace

PrepareResult prepare(const PrepareOptions& options) { return Preparation(options).run(); }

}  // namespace octavo
