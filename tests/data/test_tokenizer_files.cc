// SPDX-License-Identifier: Apache-2.0
// Small handmade tokenizers for what the formats can say, and hostile ones for what they must not do.
#include <cstring>
#include <nlohmann/json.hpp>

#include "data_testing.h"
#include "octavo/data/tokenizer.h"
#include "octavo/data/utf8.h"

namespace octavo {
namespace {

using Json = nlohmann::json;
using Ids = std::vector<int32_t>;

// All bytes as tokens 0..255, then "ab" 256, "abc" 257, " a" 258.
Json byte_level_json() {
  Json vocab;
  for (int b = 0; b < 256; ++b) vocab[bytes_to_printable(std::string(1, static_cast<char>(b)))] = b;
  const std::string space = bytes_to_printable(" ");
  vocab["ab"] = 256, vocab["abc"] = 257, vocab[space + "a"] = 258;
  return {{"added_tokens", Json::array({{{"id", 300}, {"content", "<|end|>"}, {"special", true}}})},
          {"normalizer", nullptr},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", {"a b", "ab c", space + " a"}}}}};
}

std::unique_ptr<Tokenizer> from(const Json& json) {
  const TempDir dir;
  return load_tokenizer(dir.write("tokenizer.json", json.dump()));
}

std::string error_from(const Json& json, ExitCode code = ExitCode::bad_data) {
  return error_of([&] { from(json); }, code);
}

TEST(TokenizerJson, MergesAddedTokensAndGaps) {
  const auto t = from(byte_level_json());
  EXPECT_EQ(t->vocab_size(), 301);
  EXPECT_EQ(t->encode("abcab"), (Ids{257, 256}));
  EXPECT_EQ(t->encode(" ab"), (Ids{' ', 256}));  // "a b" has the lower rank
  EXPECT_EQ(t->encode("ab<|end|>", false, true), (Ids{256, 300}));
  EXPECT_EQ(t->encode("ab<|end|>").size(), 8u);
  EXPECT_EQ(t->decode(Ids{256, 300}), "ab<|end|>");
  EXPECT_EQ(t->decode(Ids{256, 300}, true), "ab");
  EXPECT_EQ(t->find("<|end|>"), 300);
  EXPECT_FALSE(t->find("nothing").has_value());
  EXPECT_HAS(error_of([&] { t->decode(Ids{301}); }), "301");
  EXPECT_HAS(error_of([&] { t->token_bytes(-1); }), "-1");
}

TEST(TokenizerJson, AnyBytesComeBack) {
  const auto t = from(byte_level_json());
  std::string all;
  for (int b = 0; b < 256; ++b) all += static_cast<char>(b);
  EXPECT_EQ(t->decode(t->encode(all + all)), all + all);
  EXPECT_EQ(t->encode(""), Ids{});
}

TEST(TokenizerJson, MergesAsPairsAndIgnoreMerges) {
  Json json = byte_level_json();
  json["model"]["merges"] = Json::array({Json::array({"ab", "c"})});
  EXPECT_EQ(from(json)->encode("abc"), (Ids{'a', 'b', 'c'}));
  json["model"]["ignore_merges"] = true;
  EXPECT_EQ(from(json)->encode("abc"), (Ids{257}));
}

TEST(TokenizerJson, SplitBehaviours) {
  const auto words = [](const std::string& behavior, bool invert) {
    Json json = byte_level_json();
    json["pre_tokenizer"] = {
        {"type", "Sequence"},
        {"pretokenizers",
         {{{"type", "Split"}, {"pattern", {{"String", "c"}}}, {"behavior", behavior}, {"invert", invert}},
          {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}};
    return from(json)->encode("abcabc");
  };
  EXPECT_EQ(words("Isolated", false), (Ids{256, 'c', 256, 'c'}));
  EXPECT_EQ(words("Removed", false), (Ids{256, 256}));
  EXPECT_EQ(words("Removed", true), (Ids{'c', 'c'}));
  EXPECT_EQ(words("MergedWithPrevious", false), (Ids{257, 257}));
  EXPECT_EQ(words("MergedWithNext", false), (Ids{256, 'c', 256, 'c'}));
  EXPECT_EQ(words("Contiguous", false), (Ids{256, 'c', 256, 'c'}));
}

TEST(TokenizerJson, PrefixSpaceDigitsAndNormalizers) {
  Json json = byte_level_json();
  json["pre_tokenizer"]["add_prefix_space"] = true;
  EXPECT_EQ(from(json)->encode("b"), (Ids{' ', 'b'}));
  EXPECT_EQ(from(json)->encode(" b"), (Ids{' ', 'b'}));
  json = byte_level_json();
  json["normalizer"] = {{"type", "NFC"}};
  EXPECT_EQ(from(json)->encode("e\xCC\x81"), (Ids{0xC3, 0xA9}));
  json["normalizer"] = {{"type", "Sequence"},
                        {"normalizers",
                         {{{"type", "Replace"}, {"pattern", {{"Regex", "x+"}}}, {"content", "b"}},
                          {{"type", "Prepend"}, {"prepend", "a"}}}}};
  EXPECT_EQ(from(json)->encode("xxx"), (Ids{256}));
}

Json fallback_json(bool bytes) {
  Json vocab = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}};
  int next = 3;
  for (int b = 0; bytes && b < 256; ++b) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", b);
    vocab[name] = next++;
  }
  for (const char* token : {"\xE2\x96\x81", "a", "b",
                            "\xE2\x96\x81"
                            "a"})
    vocab[token] = next++;
  Json added = Json::array();
  for (const char* token : {"<unk>", "<s>", "</s>"})
    added.push_back({{"id", vocab[token]}, {"content", token}, {"special", true}, {"normalized", false}});
  return {
      {"added_tokens", added},
      {"normalizer",
       {{"type", "Sequence"},
        {"normalizers",
         {{{"type", "Prepend"}, {"prepend", "\xE2\x96\x81"}},
          {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\xE2\x96\x81"}}}}}},
      {"post_processor",
       {{"type", "TemplateProcessing"},
        {"single", {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}}, {{"Sequence", {{"id", "A"}}}}}}}},
      {"decoder",
       {{"type", "Sequence"},
        {"decoders",
         {{{"type", "Replace"}, {"pattern", {{"String", "\xE2\x96\x81"}}}, {"content", " "}},
          {{"type", "ByteFallback"}},
          {{"type", "Fuse"}},
          {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}}}},
      {"model",
       {{"type", "BPE"},
        {"unk_token", "<unk>"},
        {"byte_fallback", true},
        {"fuse_unk", true},
        {"vocab", vocab},
        {"merges", {"\xE2\x96\x81 a"}}}}};
}

TEST(TokenizerJson, ByteFallback) {
  const auto t = from(fallback_json(true));
  const int mark = 3 + 256;
  EXPECT_EQ(t->bos(), 1);
  EXPECT_EQ(t->eos(), 2);
  EXPECT_TRUE(t->adds_bos());
  EXPECT_EQ(t->encode("a b", true), (Ids{1, mark + 3, mark, mark + 2}));
  EXPECT_EQ(t->encode("\xC3\xA9"), (Ids{mark, 3 + 0xC3, 3 + 0xA9}));
  for (const std::string text : {"a b", " a", "", " ", "\xFF a", "a\xFF a\xC3", "z\xE5\xAD\x97"})
    EXPECT_EQ(t->decode(t->encode(text)), text);
  EXPECT_EQ(t->decode(t->encode("a", true), true), "a");
}

TEST(TokenizerJson, UnknownTokensAreFused) {
  const auto t = from(fallback_json(false));
  EXPECT_EQ(t->encode("axyzb"), (Ids{6, 0, 5}));
  Json json = fallback_json(false);
  json["model"]["fuse_unk"] = false;
  EXPECT_EQ(from(json)->encode("axyzb"), (Ids{6, 0, 0, 0, 5}));
}

TEST(TokenizerJson, Metaspace) {
  Json json = fallback_json(true);
  json["normalizer"] = nullptr;
  json["pre_tokenizer"] = {
      {"type", "Metaspace"}, {"replacement", "\xE2\x96\x81"}, {"prepend_scheme", "first"}};
  const int mark = 3 + 256;
  const auto t = from(json);
  EXPECT_EQ(t->encode("a b"), (Ids{mark + 3, mark, mark + 2}));
  EXPECT_EQ(t->encode("<s>a", false, true), (Ids{1, mark + 1}));
  json["pre_tokenizer"]["prepend_scheme"] = "always";
  EXPECT_EQ(from(json)->encode("<s>a", false, true), (Ids{1, mark + 3}));
}

TEST(TokenizerJson, UnsupportedPartsAreNamed) {
  for (const char* type : {"Unigram", "WordPiece", "WordLevel"}) {
    Json json = byte_level_json();
    json["model"]["type"] = type;
    EXPECT_HAS(error_from(json, ExitCode::unsupported), type);
  }
  for (const char* key : {"pre_tokenizer", "normalizer", "decoder", "post_processor"}) {
    Json json = byte_level_json();
    json[key] = {{"type", "Nonsense"}};
    const std::string message = error_from(json, ExitCode::unsupported);
    EXPECT_HAS(message, "Nonsense");
    EXPECT_HAS(message, key);
    EXPECT_HAS(message, "tokenizer.json");
  }
}

TEST(TokenizerJson, WrongTypesAndMissingKeys) {
  const auto broken = [](const char* pointer, const Json& value) {
    Json json = byte_level_json();
    json[Json::json_pointer(pointer)] = value;
    return error_from(json);
  };
  EXPECT_HAS(broken("/model", 3), "'model'");
  EXPECT_HAS(broken("/model/vocab", Json::array()), "'vocab'");
  EXPECT_HAS(broken("/model/vocab", Json::object()), "'vocab'");
  EXPECT_HAS(broken("/model/vocab/ab", "x"), "'ab'");
  EXPECT_HAS(broken("/model/vocab/ab", -1), "'ab'");
  EXPECT_HAS(broken("/model/vocab/ab", 4000000000000), "'ab'");
  EXPECT_HAS(broken("/model/vocab/ab", 'a'), "same id");
  EXPECT_HAS(broken("/model/merges", "a b"), "'merges'");
  EXPECT_HAS(broken("/model/merges/0", "ab"), "merge 0");
  EXPECT_HAS(broken("/model/merges/0", "q zz"), "'zz'");
  EXPECT_HAS(broken("/model/unk_token", "none"), "'none'");
  EXPECT_HAS(broken("/added_tokens/0/id", 1e9), "'id'");
  EXPECT_HAS(broken("/added_tokens/0", 1), "added_tokens");
  EXPECT_HAS(broken("/pre_tokenizer", {{"kind", "ByteLevel"}}), "'type'");
  EXPECT_HAS(
      broken("/pre_tokenizer", {{"type", "Split"}, {"behavior", "Isolated"}, {"pattern", {{"Regex", "(("}}}}),
      "((");
  EXPECT_HAS(error_from(Json::array()), "object");
  EXPECT_HAS(error_from(Json::object()), "'model'");
}

TEST(TokenizerJson, DeepNestingAndGarbage) {
  const TempDir dir;
  const auto error = [&](const std::string& content) {
    const std::string path = dir.write("tokenizer.json", content);
    return error_of([&] { load_tokenizer(path); });
  };
  EXPECT_HAS(error(std::string(2'000'000, '[')), "deeper");
  EXPECT_HAS(error("{\"model\": "), "not valid JSON");
  EXPECT_HAS(error(""), "not valid JSON");
  EXPECT_HAS(error("{\"a\": \"\xFF\"}"), "not valid JSON");
}

TEST(Gpt2Files, WithAndWithoutVersionLine) {
  Json vocab;
  for (int b = 0; b < 256; ++b) vocab[bytes_to_printable(std::string(1, static_cast<char>(b)))] = b;
  vocab["ab"] = 256, vocab["<|endoftext|>"] = 257;
  for (const char* merges : {"a b\n", "#version: 0.2\na b\n", "#version: 0.2\r\na b\r\n\r\n"}) {
    const TempDir dir;
    dir.write("vocab.json", vocab.dump());
    dir.write("merges.txt", merges);
    const auto t = load_tokenizer(dir.path());
    EXPECT_EQ(t->encode("ab<|endoftext|>", false, true), (Ids{256, 257}));
    EXPECT_EQ(t->eos(), 257);
    EXPECT_FALSE(t->adds_bos());
    EXPECT_EQ(tokenizer_files(dir.path()).size(), 2u);
  }
  const TempDir dir;
  dir.write("vocab.json", vocab.dump());
  dir.write("merges.txt", "a b\nab\n");
  EXPECT_HAS(error_of([&] { load_tokenizer(dir.path()); }), "line 2");
  dir.write("merges.txt", "a b\nab c\n");
  EXPECT_HAS(error_of([&] { load_tokenizer(dir.path()); }), "'abc'");
  dir.write("vocab.json", "{\"a\": 0, \"b\": 2}");
  EXPECT_HAS(error_of([&] { load_tokenizer(dir.path()); }), "'b'");
}

TEST(LoadTokenizer, NamesWhatItLookedFor) {
  const TempDir dir;
  EXPECT_HAS(error_of([&] { load_tokenizer(dir.path()); }), "tokenizer.json");
  EXPECT_HAS(error_of([&] { load_tokenizer(dir / "absent"); }), "does not exist");
  const std::string odd = dir.write("a.txt", "x");
  EXPECT_HAS(error_of([&] { load_tokenizer(odd); }), "no tokenizer file");
}

// Protobuf by hand.
std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  return out + static_cast<char>(value);
}
std::string field(int number, const std::string& bytes) {
  return varint(static_cast<uint64_t>(number) << 3 | 2) + varint(bytes.size()) + bytes;
}
std::string number(int field_number, uint64_t value) {
  return varint(static_cast<uint64_t>(field_number) << 3) + varint(value);
}
std::string piece(const std::string& text, float score, int type) {
  std::string bytes(4, '\0');
  std::memcpy(bytes.data(), &score, 4);
  return field(1, field(1, text) + varint(2 << 3 | 5) + bytes + number(3, type));
}

std::string spm_pieces() {
  const std::string mark = "\xE2\x96\x81";
  return piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("</s>", 0, 3) + piece(mark, -9, 1) +
         piece("a", -8, 1) + piece("b", -7, 1) + piece("ab", -1, 5) + piece("abb", -2, 1) +
         piece("<sep>", 0, 4) + piece(mark + "a", -3, 1);
}

TEST(SentencePiece, UnusedUserDefinedAndUnknownPieces) {
  const TempDir dir;
  const auto load = [&](const std::string& normalizer) {
    return load_tokenizer(
        dir.write("tokenizer.model", spm_pieces() + field(2, number(3, 2)) + field(3, normalizer)));
  };
  const auto plain = load(number(3, 0) + number(4, 0));
  EXPECT_EQ(plain->encode("ab"), (Ids{4, 5}));  // "ab" is unused: taken apart again
  EXPECT_EQ(plain->encode("abb"), (Ids{7}));    // but it helps to reach "abb"
  EXPECT_EQ(plain->encode("a<sep>b"), (Ids{4, 8, 5}));
  EXPECT_EQ(plain->encode("axyb"), (Ids{4, 0, 5}));  // a run of unknown symbols is one token
  EXPECT_EQ(plain->encode("  a"), (Ids{3, 9}));
  const auto usual = load(number(3, 1) + number(4, 1));
  EXPECT_EQ(usual->encode("  a   b "), (Ids{9, 3, 5}));
  EXPECT_EQ(usual->encode("   "), Ids{});
}

TEST(SentencePiece, DamageAndUnsupportedModels) {
  const TempDir dir;
  const auto error = [&](const std::string& content, ExitCode code = ExitCode::bad_data) {
    const std::string path = dir.write("tokenizer.model", content);
    return error_of([&] { load_tokenizer(path); }, code);
  };
  const std::string good = spm_pieces() + field(2, number(3, 2));
  EXPECT_EQ(error(good), "");
  EXPECT_HAS(error(spm_pieces() + field(2, number(3, 1)), ExitCode::unsupported), "Unigram");
  EXPECT_HAS(error(good + field(3, field(1, "nmt_nfkc") + field(2, "map")), ExitCode::unsupported),
             "nmt_nfkc");
  EXPECT_HAS(error(""), "no SentencePiece model");
  EXPECT_HAS(error(good + "\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"), "damaged");
  EXPECT_HAS(error(good + std::string(12, '\xFF')), "damaged");
  EXPECT_HAS(error(good + piece("a", 0, 1)), "twice");
  EXPECT_HAS(error(good + piece("q", 0, 9)), "type 9");
  EXPECT_HAS(error(good + piece("<0xZZ>", 0, 6)), "<0xZZ>");
  EXPECT_HAS(error(good + field(2, number(35, 1) + number(3, 2))), "<0x00>");
  for (size_t cut = 1; cut < good.size(); ++cut) {
    const std::string path = dir.write("tokenizer.model", good.substr(0, cut));
    EXPECT_ANY_THROW(load_tokenizer(path)) << cut;
  }
}

TEST(Llama2c, DamagedFiles) {
  const TempDir dir;
  const auto error = [&](const std::string& content) {
    const std::string path = dir.write("tokenizer.bin", content);
    return error_of([&] { load_tokenizer(path); });
  };
  const auto word = [](int32_t value) { return std::string(reinterpret_cast<const char*>(&value), 4); };
  std::string good = word(7);
  const auto add = [&](const std::string& text) {
    return word(0) + word(static_cast<int32_t>(text.size())) + text;
  };
  good += add("<unk>") + add("\n<s>\n") + add("\n</s>\n");
  for (int b = 0; b < 256; ++b) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", b);
    good += add(name);
  }
  good += add(" a");
  EXPECT_EQ(error(good), "");
  EXPECT_EQ(load_tokenizer(dir / "tokenizer.bin")->token_bytes(259), " a");
  EXPECT_HAS(error(good.substr(0, 2)), "breaks off");
  EXPECT_HAS(error(good.substr(0, good.size() - 1)), "claims");
  EXPECT_HAS(error(good.substr(0, 200)), "'");
  EXPECT_HAS(error(good + word(0) + word(-5)), "claims -5");
  EXPECT_HAS(error(good + word(0) + word(INT32_MAX) + "x"), "claims");
  EXPECT_HAS(error(word(-1) + good.substr(4)), "longest");
  EXPECT_HAS(error(word(7) + add("<unk>")), "259");
  EXPECT_HAS(error(word(7) + add("<unk>") + add("s") + add("s") + add("x")), "<0x00>");
}

}  // namespace
}  // namespace octavo
