// SPDX-License-Identifier: Apache-2.0
// Text to token ids and back. Readers: Hugging Face tokenizer.json (byte-level BPE and BPE with byte
// fallback), GPT-2 vocab.json + merges.txt, SentencePiece tokenizer.model (BPE), llama2.c tokenizer.bin.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace octavo {

/// Hash for maps keyed by std::string and looked up by std::string_view.
struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};
using TokenMap = std::unordered_map<std::string, int32_t, StringHash, std::equal_to<>>;

/// The tokens of a tokenizer, by id.
struct Vocabulary {
  std::vector<std::string>
      text;  ///< as the tokenizer's file writes it ("Ġthe", "<0x0A>", "▁a"); "" for an unused id
  std::vector<std::string> bytes;  ///< what it stands for in decoded text
  std::vector<bool> special;       ///< control tokens: decode() can leave them out
  TokenMap ids;                    ///< text -> id
  std::optional<int32_t> bos, eos, unknown;
  bool adds_bos = false;    ///< the tokenizer's own rule puts BOS before a text
  int stripped_spaces = 0;  ///< leading spaces decode() drops (they were put there by encode)
};

/// A tokenizer. Immutable after loading; all members may be called from several threads at once.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Token ids of `text`, any bytes. Ill-formed UTF-8 is no error: each run of ill-formed bytes becomes a
  /// word of its own, made of byte tokens, so byte-level BPE without a normalizer or prefix space decodes to
  /// the same bytes for every input; so does byte fallback, except that U+2581 comes back as a space.
  /// `add_bos` puts bos() first where there is one. `parse_special` recognises special tokens written out in
  /// the text
  /// ("<|endoftext|>"), which is what Hugging Face does by default and what text from strangers should not be
  /// able to do. Added tokens that are not special are always recognised.
  std::vector<int32_t> encode(std::string_view text, bool add_bos = false, bool parse_special = false) const;
  /// Appends the ids of `text` to `out`; no BOS.
  virtual void encode_to(std::string_view text, bool parse_special, std::vector<int32_t>& out) const = 0;

  /// The bytes the tokens stand for (a token may end in the middle of a character). Throws bad_data on an id
  /// outside the vocabulary. `skip_special` leaves special tokens out.
  std::string decode(std::span<const int32_t> ids, bool skip_special = false) const;

  /// One more than the largest id.
  int32_t vocab_size() const { return static_cast<int32_t>(vocabulary_.text.size()); }
  /// What one token adds to decoded text. Throws bad_data on an id outside the vocabulary.
  const std::string& token_bytes(int32_t id) const;
  /// The token as its file writes it. Throws bad_data on an id outside the vocabulary.
  const std::string& token_text(int32_t id) const;
  bool is_special(int32_t id) const;
  std::optional<int32_t> bos() const { return vocabulary_.bos; }
  std::optional<int32_t> eos() const { return vocabulary_.eos; }
  std::optional<int32_t> unknown() const { return vocabulary_.unknown; }
  /// Whether texts are meant to begin with bos().
  bool adds_bos() const { return vocabulary_.adds_bos; }
  /// Leading spaces that decode() drops at the start of a text (0 or 1 in practice).
  int stripped_spaces() const { return vocabulary_.stripped_spaces; }
  /// The id of a token written as in its file.
  std::optional<int32_t> find(std::string_view token) const;
  /// Hash of all tokens in order; equal for equal vocabularies, whatever file they came from.
  uint64_t fingerprint() const;

 protected:
  explicit Tokenizer(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}
  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  void check_id(int32_t id) const;
  Vocabulary vocabulary_;
};

/// Reads a tokenizer from a directory (tokenizer.json, else tokenizer.model, else vocab.json + merges.txt,
/// else tokenizer.bin) or from one of those files; any other *.bin is read as llama2.c, any other *.model as
/// SentencePiece and any other *.json as tokenizer.json. Throws bad_data (missing, damaged) or unsupported
/// (Unigram, WordPiece, ...).
std::unique_ptr<Tokenizer> load_tokenizer(const std::string& path);

/// The files load_tokenizer(path) reads, companions such as tokenizer_config.json included: what to copy to
/// keep it.
std::vector<std::string> tokenizer_files(const std::string& path);

/// Turns a stream of tokens into text for a terminal: only whole UTF-8 characters come out.
class TokenStream {
 public:
  /// `at_start`: the first token begins a text (its artificial leading space is dropped); false when it
  /// continues one.
  explicit TokenStream(const Tokenizer& tokenizer, bool at_start = true, bool skip_special = true);
  /// The text that became complete with this token, maybe empty; ill-formed bytes come out as U+FFFD.
  std::string push(int32_t id);
  /// The end: a character still incomplete comes out as U+FFFD.
  std::string finish();

 private:
  const Tokenizer& tokenizer_;
  std::string pending_;
  int to_strip_;
  bool skip_special_;
};

}  // namespace octavo
