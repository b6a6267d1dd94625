// SPDX-License-Identifier: Apache-2.0
#include "octavo/data/pretokenizer.h"

#include <utility>

namespace octavo {

void PreTokenizer::add_split(Regex pattern, Behavior behavior, bool invert) {
  stages_.push_back({Stage::Kind::split, {std::move(pattern)}, behavior, invert, "", Prepend::never});
}

void PreTokenizer::add_prefix_space() {
  stages_.push_back({Stage::Kind::prefix_space, {}, Behavior::isolated, false, " ", Prepend::always});
}

void PreTokenizer::add_metaspace(std::string replacement, Prepend prepend, bool split) {
  Stage stage{Stage::Kind::metaspace, {}, Behavior::merged_with_next, false, replacement, prepend};
  if (split) stage.pattern.emplace_back(replacement, true, "Metaspace");
  stages_.push_back(std::move(stage));
}

void PreTokenizer::split(std::string_view text, Place place, const Sink& sink) const {
  run(0, text, place, sink);
}

void PreTokenizer::run(size_t stage, std::string_view piece, Place place, const Sink& sink) const {
  if (piece.empty()) return;
  if (stage == stages_.size()) {
    sink(piece);
    return;
  }
  const Stage& s = stages_[stage];
  if (s.kind == Stage::Kind::split) {
    cut(stage, piece, place, sink);
    return;
  }
  std::string changed;
  if (s.kind == Stage::Kind::metaspace) {
    for (const char c : piece) {
      if (c == ' ') {
        changed += s.replacement;
      } else {
        changed += c;
      }
    }
  } else {
    changed = piece;
  }
  const bool wanted = s.prepend == Prepend::always || (s.prepend == Prepend::first && place.at_start);
  if (wanted && place.may_prepend && !changed.starts_with(s.replacement)) changed.insert(0, s.replacement);
  if (s.pattern.empty()) {
    run(stage + 1, changed, place, sink);
  } else {
    cut(stage, changed, place, sink);
  }
}

void PreTokenizer::cut(size_t stage, std::string_view piece, Place place, const Sink& sink) const {
  const Stage& s = stages_[stage];
  // A part is held back until it is known whether the next one joins it.
  size_t held_begin = 0, held_end = 0;
  bool held = false, held_matched = false;
  const auto emit = [&](size_t begin, size_t end) {
    const Place inner{place.at_start && begin == 0, place.may_prepend || begin > 0};
    run(stage + 1, piece.substr(begin, end - begin), inner, sink);
  };
  const auto flush = [&] {
    if (held) emit(held_begin, held_end);
    held = false;
  };
  const auto part = [&](size_t begin, size_t end, bool matched) {
    if (begin == end) return;
    matched ^= s.invert;
    switch (s.behavior) {
      case Behavior::removed:
        if (!matched) emit(begin, end);
        return;
      case Behavior::isolated:
        emit(begin, end);
        return;
      case Behavior::merged_with_previous:
        if (held && matched && !held_matched) {
          held_end = end;
          held_matched = true;
          return;
        }
        break;
      case Behavior::merged_with_next:
        if (held && held_matched && !matched) {
          held_end = end;
          held_matched = false;
          return;
        }
        break;
      case Behavior::contiguous:
        if (held && matched == held_matched) {
          held_end = end;
          return;
        }
        break;
    }
    flush();
    held = true;
    held_begin = begin;
    held_end = end;
    held_matched = matched;
  };
  size_t done = 0, begin, end;
  while (s.pattern[0].next(piece, done, begin, end)) {
    part(done, begin, false);
    part(begin, end, true);
    done = end;
  }
  part(done, piece.size(), false);
  flush();
}

}  // namespace octavo
