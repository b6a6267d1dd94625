// SPDX-License-Identifier: Apache-2.0
#include "octavo/io/json_file.h"

#include "io/io_test_util.h"
#include "shared_data.h"

namespace octavo {
namespace {

JsonObject parse(const std::string& text) { return JsonObject::parse(text, "c.json"); }
std::string parse_error(const std::string& text) {
  return error_of([&] { parse(text); });
}

TEST(JsonObject, TypedGetters) {
  const JsonObject object = parse(
      R"({"i":-3,"d":1e-5,"b":true,"s":"x","n":null,"o":{"p":{"q":7}},"ai":[1,2],"ad":[1,2.5],"as":["a"],"ao":[{"z":1}]})");
  EXPECT_EQ(object.get_int("i"), -3);
  EXPECT_DOUBLE_EQ(object.get_double("d"), 1e-5);
  EXPECT_DOUBLE_EQ(object.get_double("i"), -3.0);
  EXPECT_TRUE(object.get_bool("b"));
  EXPECT_EQ(object.get_string("s"), "x");
  EXPECT_EQ(object.get_object("o").get_object("p").get_int("q"), 7);
  EXPECT_EQ(object.get_int_array("ai"), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(object.get_double_array("ad"), (std::vector<double>{1, 2.5}));
  EXPECT_EQ(object.get_string_array("as"), (std::vector<std::string>{"a"}));
  EXPECT_EQ(object.get_object_array("ao").at(0).get_int("z"), 1);
  EXPECT_EQ(object.keys().size(), 10u);
  EXPECT_EQ(object.keys().front(), "ad");
  EXPECT_TRUE(object.has("n"));
  EXPECT_FALSE(object.has("m"));
  EXPECT_TRUE(object.is_array("ai"));
  EXPECT_FALSE(object.is_array("i"));
}

TEST(JsonObject, FindGivesNothingForAbsentAndNull) {
  const JsonObject object = parse(R"({"n":null,"i":1,"d":0.5,"b":false,"s":"t","o":{}})");
  EXPECT_EQ(object.find_int("n"), std::nullopt);
  EXPECT_EQ(object.find_int("absent"), std::nullopt);
  EXPECT_EQ(object.find_int("i"), 1);
  EXPECT_EQ(object.find_double("d"), 0.5);
  EXPECT_EQ(object.find_bool("b"), false);
  EXPECT_EQ(object.find_string("s"), "t");
  EXPECT_TRUE(object.find_object("o").has_value());
  EXPECT_FALSE(object.find_object("n").has_value());
  expect_contains(error_of([&] { object.find_int("s"); }), "key 's' is a string, expected a whole number");
}

TEST(JsonObject, MessagesNameFileKeyAndType) {
  const JsonObject object =
      parse(R"({"a":{"b":"x","list":[1,"two"]},"f":1.0,"big":9223372036854775808,"n":null})");
  EXPECT_EQ(error_of([&] { object.get_object("a").get_double("b"); }),
            "'c.json': key 'a.b' is a string, expected a number");
  EXPECT_EQ(error_of([&] { object.get_object("a").get_int_array("list"); }),
            "'c.json': key 'a.list[1]' is a string, expected a whole number");
  EXPECT_EQ(error_of([&] { object.get_int("f"); }),
            "'c.json': key 'f' is a number with a fraction or exponent, expected a whole number");
  EXPECT_EQ(error_of([&] { object.get_int("big"); }),
            "'c.json': key 'big' is 9223372036854775808, which is too large");
  EXPECT_EQ(error_of([&] { object.get_bool("n"); }), "'c.json': key 'n' is null, expected true or false");
  EXPECT_EQ(error_of([&] { object.get_int("none"); }), "'c.json': key 'none' is missing");
}

TEST(JsonObject, SubObjectsKeepTheDocumentAlive) {
  std::optional<JsonObject> inner;
  inner = parse(R"({"o":{"text":"a string that is too long for any small buffer"}})").get_object("o");
  EXPECT_EQ(inner->get_string("text").size(), 46u);
}

TEST(JsonObject, SyntaxErrorsHaveLineAndColumn) {
  EXPECT_EQ(parse_error("{\n  \"a\": 1,\n  \"b\": x\n}"),
            "'c.json': not valid JSON in UTF-8 at line 3, column 8");
  expect_contains(parse_error(""), "line 1, column 1");
  expect_contains(parse_error("{\"a\":1"), "line 1, column 7");
  expect_contains(parse_error("{\"a\":\"\xFF\"}"), "not valid JSON in UTF-8 at line 1, column 7");
  expect_contains(parse_error(std::string("{}\0{}", 5)), "NUL");
  expect_contains(parse_error("{\"a\":1e999}"), "out of range");
  expect_contains(parse_error("{\"a\":NaN}"), "not valid JSON");
  EXPECT_EQ(parse_error("[1]"), "'c.json': the JSON is an array, expected an object");
}

TEST(JsonObject, DuplicatesAndDepthAreRefused) {
  EXPECT_EQ(parse_error(R"({"a":{"b":1,"b":2}})"), "'c.json': key 'b' occurs twice in one object");
  EXPECT_EQ(parse(R"({"a":{"b":1},"c":{"b":2}})").get_object("c").get_int("b"), 2);
  expect_contains(parse_error("{\"a\":" + std::string(1'000'000, '[')), "nested deeper than 128 levels");
  std::string deep = "1";
  for (int i = 0; i < 100; ++i) deep = "{\"a\":" + deep + "}";
  EXPECT_TRUE(parse(deep).has("a"));
}

TEST(JsonObject, ReadsARealConfig) {
  const auto path = shared_data("model-tinystories-656k/config.json");
  if (!path) GTEST_SKIP() << "shared data not at hand";
  const JsonObject config = JsonObject::read(*path);
  EXPECT_EQ(config.get_int("hidden_size"), 128);
  EXPECT_EQ(config.get_string_array("architectures"), (std::vector<std::string>{"LlamaForCausalLM"}));
  EXPECT_EQ(config.source(), *path);
  expect_contains(error_of([] { JsonObject::read("/nowhere/config.json"); }), "/nowhere/config.json");
}

}  // namespace
}  // namespace octavo
