// SPDX-License-Identifier: Apache-2.0
#include "octavo/report/page.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "octavo/report/document.h"
#include "octavo/report/sha256.h"
#include "report/report_testing.h"

namespace octavo {
namespace {

std::string hex(const std::array<uint8_t, 32>& hash) {
  std::string out;
  for (const uint8_t byte : hash) out += fmt::format("{:02x}", byte);
  return out;
}

TEST(Sha256, ExamplesOfTheStandard) {
  // FIPS 180-4 examples of NIST's Cryptographic Standards and Guidelines, and the empty text.
  EXPECT_EQ(hex(sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex(sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hex(sha256(std::string(1000000, 'a'))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  EXPECT_EQ(sha256_base64(""), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
}

TEST(Escape, MarkupAndScript) {
  EXPECT_EQ(escape_markup("a<b>&\"c'"), "a&lt;b&gt;&amp;&quot;c&#39;");
  EXPECT_EQ(escape_markup(std::string("a\x01\0z", 4)), "a\xef\xbf\xbd\xef\xbf\xbdz");
  const std::string json = R"({"a":"</script><!-- & )"
                           "\xe2\x80\xa8 \xe2\x80\xa9 \xe2\x80\xaa\"}";
  const std::string escaped = escape_json_for_script(json);
  EXPECT_EQ(escaped.find_first_of("<>&"), std::string::npos);
  EXPECT_EQ(escaped.find("\xe2\x80\xa8"), std::string::npos);
  EXPECT_NE(escaped.find("\xe2\x80\xaa"), std::string::npos);
  EXPECT_EQ(nlohmann::json::parse(escaped), nlohmann::json::parse(json));
}

/// What stands between <script...> and </script>, as a browser finds it.
std::vector<std::string> scripts_of(const std::string& page) {
  std::vector<std::string> out;
  for (size_t at = page.find("<script"); at != std::string::npos; at = page.find("<script", at)) {
    const size_t begin = page.find('>', at) + 1;
    at = page.find("</script", begin);
    out.push_back(page.substr(begin, at - begin));
  }
  return out;
}

TEST(Page, ThePolicyHasTheHashOfEveryScriptAndStyle) {
  const std::string page = make_page("t", R"({"runs":[]})");
  const std::string policy = page.substr(page.find("content=\""), 600);
  EXPECT_NE(policy.find("default-src 'none'"), std::string::npos);
  EXPECT_EQ(policy.find("unsafe"), std::string::npos);
  const std::vector<std::string> scripts = scripts_of(page);
  ASSERT_EQ(scripts.size(), 3u);  // the document, uPlot, the page's own
  EXPECT_EQ(scripts[0], R"({"runs":[]})");
  for (size_t i = 1; i < 3; ++i)
    EXPECT_NE(policy.find("'sha256-" + sha256_base64(scripts[i]) + "'"), std::string::npos) << i;
  size_t styles = 0;
  for (size_t at = page.find("<style>"); at != std::string::npos; at = page.find("<style>", at + 1), ++styles)
    EXPECT_NE(policy.find(sha256_base64(page.substr(at + 7, page.find("</style>", at) - at - 7))),
              std::string::npos);
  EXPECT_EQ(styles, 2u);
  // The parser ends a script at the first of these; the embedded files must not hold one.
  EXPECT_EQ(scripts[1].find("<!--"), std::string::npos);
  EXPECT_EQ(scripts[2].find("<!--"), std::string::npos);
  EXPECT_EQ(page.find("{{"), std::string::npos) << "a place of the template was not filled";
}

TEST(Page, AsksForNothingElse) {
  const std::string page = make_page("t", "{}");
  for (const char* word : {"src=", "href=\"", "<link", "<iframe", "<object"})
    EXPECT_EQ(page.find(word), std::string::npos) << word;
  EXPECT_EQ(page.find("@import"), std::string::npos);
  EXPECT_EQ(page.find("url("), std::string::npos);
  EXPECT_EQ(page.find("fetch("), std::string::npos);
  for (const char* word :
       {"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "XMLHttpRequest"})
    EXPECT_EQ(scripts_of(page)[2].find(word), std::string::npos) << word;
}

TEST(Page, HostileNamesStayText) {
  const std::string evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>";
  RunData run = synthetic_run(evil, 30, 1, 10);
  run.path = "runs/" + evil;
  run.recipe = run.description = run.paper = evil;
  run.config["seed"] = evil;
  run.env["cpu"] = evil;
  run.memory[evil] = 10;
  run.deviations = {evil};
  run.notes = {evil};
  run.tensor_ids[0].tensor = "\"" + evil;
  run.tensor_ids[0].role = evil;
  const std::string page = make_page(evil, to_document(make_report({run})));
  EXPECT_EQ(scripts_of(page).size(), 3u);
  EXPECT_EQ(page.find("<img"), std::string::npos);
  EXPECT_EQ(page.find("<script>alert"), std::string::npos);
  const auto json = nlohmann::json::parse(scripts_of(page)[0]);
  EXPECT_EQ(json["runs"][0]["name"], evil) << "and is not changed";
}

}  // namespace
}  // namespace octavo
