#include "build/dockerfile.h"

#include <gtest/gtest.h>

#include "build/ignore.h"
#include "build/limits.h"
#include "build/words.h"

namespace monopod::build {
namespace {

std::string error_of(std::string_view text) {
  auto parsed = parse_dockerfile(text);
  return parsed ? "" : parsed.error().message();
}

TEST(Dockerfile, InstructionsFlagsAndForms) {
  auto file = parse_dockerfile(
      "# syntax=docker/dockerfile:1\n"
      "# a comment\n"
      "ARG V=1\n"
      "FROM --platform=linux/amd64 base:$V AS one\n"
      "  run echo a \\\n"
      "  # between\n"
      "\n"
      "    b\n"
      "RUN [\"/bin/x\", \"y z\"]\n"
      "RUN [ -f x ]\n"
      "COPY --from=one --chown=\"a b\" a b /c/\r\n"
      "CMD\n");
  ASSERT_TRUE(file) << file.error().message();
  EXPECT_EQ(file->directives.at("syntax"), "docker/dockerfile:1");
  ASSERT_EQ(file->instructions.size(), 7U);
  const Instruction& from = file->instructions[1];
  EXPECT_EQ(from.arguments, "base:$V AS one");
  EXPECT_EQ(from.find_flag("platform")->value, "linux/amd64");
  const Instruction& run = file->instructions[2];
  EXPECT_EQ(run.name, "RUN");
  EXPECT_EQ(run.arguments, "echo a     b");
  EXPECT_EQ(run.line, 5U);
  EXPECT_EQ(run.column, 3U);
  EXPECT_TRUE(file->instructions[3].is_json);
  EXPECT_EQ(file->instructions[3].words, (std::vector<std::string>{"/bin/x", "y z"}));
  EXPECT_FALSE(file->instructions[4].is_json);
  EXPECT_EQ(file->instructions[5].find_flag("chown")->value, "a b");
  EXPECT_EQ(file->instructions[5].arguments, "a b /c/");
}

TEST(Dockerfile, HeredocsFollowTheirInstruction) {
  auto file = parse_dockerfile(
      "FROM a\n"
      "RUN <<EOF\n"
      "echo $x \\\n"
      "# no comment\n"
      "EOF\n"
      "COPY <<-'ONE' <<TWO /d/\n"
      "\tindented\n"
      "\tONE\n"
      "TWO\n"
      "RUN cat <<< word 3<<E && x\n"
      "in\n"
      "E\n"
      "RUN echo '<<X' \\<<Y\n");
  ASSERT_TRUE(file) << file.error().message();
  ASSERT_EQ(file->instructions.size(), 5U);
  EXPECT_EQ(file->instructions[1].heredocs.at(0).content, "echo $x \\\n# no comment\n");
  ASSERT_EQ(file->instructions[2].heredocs.size(), 2U);
  EXPECT_EQ(file->instructions[2].heredocs[0].content, "indented\n");
  EXPECT_FALSE(file->instructions[2].heredocs[0].expand);
  EXPECT_TRUE(file->instructions[2].heredocs[1].expand);
  EXPECT_EQ(file->instructions[2].heredocs[1].content, "");
  EXPECT_EQ(file->instructions[3].heredocs.at(0).name, "E");
  EXPECT_TRUE(file->instructions[4].heredocs.empty());
}

TEST(Dockerfile, EscapeDirectiveChangesContinuations) {
  auto file = parse_dockerfile("# escape=`\nFROM a\nRUN dir c:\\ `\n  /s\n");
  ASSERT_TRUE(file);
  EXPECT_EQ(file->instructions[1].arguments, "dir c:\\   /s");
}

TEST(Dockerfile, ErrorsSayWhere) {
  EXPECT_EQ(error_of("FROM a\n\n  RNU x\n"), "3:3: unknown instruction: RNU");
  EXPECT_EQ(error_of("RUN x\nFROM a"), "1:1: no build stage in current context: RUN before the first FROM");
  EXPECT_EQ(error_of("FROM a\nCOPY --form=x a b"), "2:1: unknown flag: --form");
  EXPECT_EQ(error_of("FROM a\nENV"), "2:1: ENV requires at least one argument");
  EXPECT_EQ(error_of("FROM a\nSHELL x"), "2:1: SHELL requires the arguments to be in JSON form");
  EXPECT_EQ(error_of("FROM a\nRUN <<EOF\nx"), "2:1: unterminated heredoc EOF");
  EXPECT_EQ(error_of("# escape=x\nFROM a"), "1:1: invalid escape token 'x' does not match ` or \\");
  EXPECT_EQ(error_of("# syntax=docker/dockerfile:1\n# syntax=docker/dockerfile:1\nFROM a"), "2:1: only one syntax parser directive can be used");
  EXPECT_EQ(error_of(""), "the Dockerfile has no FROM");
  EXPECT_EQ(error_of(std::string_view("FROM\0a", 6)), "the Dockerfile holds a NUL byte");
  EXPECT_EQ(error_of("FROM a\n" + std::string(kDockerfileBytesMax - 7, '#')), "");
  EXPECT_NE(error_of("FROM a\n" + std::string(kDockerfileBytesMax - 6, '#')), "");
  auto trigger = parse_trigger(" copy --from=x [\"a\"] ", 4, '\\');
  ASSERT_TRUE(trigger);
  EXPECT_EQ(trigger->name, "COPY");
  EXPECT_TRUE(trigger->is_json);
  EXPECT_EQ(parse_trigger("ONBUILD RUN x", 4, '\\').error().message(), "4:1: ONBUILD isn't allowed as an ONBUILD trigger");
}

std::optional<std::string> variable(std::string_view name) {
  if (name == "a") return "one";
  if (name == "empty") return "";
  if (name == "path") return "/usr/lib/x.so.1.so";
  if (name == "sp") return "x y";
  return std::nullopt;
}

TEST(Words, EverySubstitutionIsDone) {
  struct Case {
    const char *text, *want;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"$a", "one"}, {"${a}", "one"}, {"x$a-y", "xone-y"}, {"$ab", ""}, {"$", "$"}, {"$1", "$1"}, {"a$", "a$"}, {"\\$a", "$a"}, {"'$a'", "$a"}, {"\"$a\"", "one"}, {"\"\\$a \\\"\\x\"", "$a \"\\x"},
           {"${no:-d}", "d"}, {"${empty:-d}", "d"}, {"${empty-d}", ""}, {"${no-d}", "d"}, {"${a:-d}", "one"}, {"${no:-$a}", "one"}, {"${no:-${no2:-x}}", "x"}, {"${no:-\"a }\"}", "a }"},
           {"${a:+s}", "s"}, {"${empty:+s}", ""}, {"${empty+s}", "s"}, {"${no+s}", ""}, {"${a:?e}", "one"},
           {"${path#*/}", "usr/lib/x.so.1.so"}, {"${path##*/}", "x.so.1.so"}, {"${path%.so*}", "/usr/lib/x.so.1"}, {"${path%%.so*}", "/usr/lib/x"}, {"${path#x}", "/usr/lib/x.so.1.so"},
           {"${path/so/S}", "/usr/lib/x.S.1.so"}, {"${path//so/S}", "/usr/lib/x.S.1.S"}, {"${path//so}", "/usr/lib/x..1."}, {"${path/#/x}", "/usr/lib/x.so.1.so"}, {"${path//\\//-}", "-usr-lib-x.so.1.so"}, {"${path//s?/_}", "/u_/lib/x._.1._"}}) {
    auto got = expand(c.text, variable);
    ASSERT_TRUE(got) << c.text << ": " << got.error().message();
    EXPECT_EQ(*got, c.want) << c.text;
  }
}

TEST(Words, WhatCannotBeDoneIsSaid) {
  EXPECT_EQ(expand("${no:?gone}", variable).error().message(), "no: gone");
  EXPECT_EQ(expand("${no?}", variable).error().message(), "no: not allowed to be unset");
  for (const char* bad : {"${", "${}", "${a", "${a:-b", "${a:", "${a:=b}", "${a!b}", "'x", "\"x", "${a/x"}) EXPECT_FALSE(expand(bad, variable)) << bad;
  std::string deep;
  for (std::size_t i = 0; i <= kExpansionDepthMax; ++i) deep += "${no:-";
  deep += std::string(kExpansionDepthMax + 1, '}');
  EXPECT_EQ(expand(deep, variable).error().message(), "variables are nested too deep");
  EXPECT_TRUE(expand(deep.substr(6, deep.size() - 7), variable));
}

TEST(Words, WordsAndPairs) {
  EXPECT_EQ(*expand_words("a 'b c' $sp\"d\" '' ", variable), (std::vector<std::string>{"a", "b c", "x yd", ""}));
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(*expand_pairs("A=1 B=\"x y\" C=$sp D=a\\ b E=", variable), (Pairs{{"A", "1"}, {"B", "x y"}, {"C", "x y"}, {"D", "a b"}, {"E", ""}}));
  EXPECT_EQ(*expand_pairs("KEY  some value = $a", variable), (Pairs{{"KEY", "some value = one"}}));
  EXPECT_FALSE(expand_pairs("KEY", variable));
  for (const char* text : {"KEY\\ ", "KEY\v", "  KEY\\ "}) EXPECT_FALSE(expand_pairs(text, variable)) << text;  // a word ends where it ends, not where white space is cut off
  EXPECT_FALSE(expand_pairs("A=1 B", variable));
  EXPECT_FALSE(expand_pairs("=1", variable));
}

TEST(Words, PathsMatchAsGoMatchesThem) {
  for (auto [pattern, path] : {std::pair{"*.go", "a.go"}, {"a*/b", "abc/b"}, {"a?c", "abc"}, {"[a-c]x", "bx"}, {"[^a]x", "bx"}, {"\\*", "*"}, {"a*b*c", "aXbYbc"}, {"*", "x"}}) EXPECT_TRUE(matches_path(pattern, path)) << pattern;
  for (auto [pattern, path] : {std::pair{"*.go", "a/b.go"}, {"a?c", "a/c"}, {"[a", "a"}, {"[a-c]", "d"}, {"", "a"}, {"a", ""}, {"a*", "b"}}) EXPECT_FALSE(matches_path(pattern, path)) << pattern;
}

TEST(Ignore, TheLastPatternDecides) {
  auto list = IgnoreList::parse("# no\n*.md\n!README.md\nnode_modules\n/build/\n**/*.o\ntemp?/x\n!**/keep.o\n");
  ASSERT_TRUE(list);
  for (const char* path : {"a.md", "node_modules", "node_modules/a/b", "build", "build/x", "x.o", "a/b/x.o", "temp1/x", "temp1/x/y"}) EXPECT_TRUE(list->ignores(path)) << path;
  for (const char* path : {"README.md", "sub/a.md", "sub/node_modules", "builds", "temp12/x", "a/keep.o", "x"}) EXPECT_FALSE(list->ignores(path)) << path;
  EXPECT_TRUE(list->has_exceptions());
  EXPECT_TRUE(IgnoreList::parse("**")->ignores("a/b"));
  EXPECT_FALSE(IgnoreList::parse("")->ignores("a"));
  EXPECT_FALSE(IgnoreList::parse("!"));
  EXPECT_FALSE(IgnoreList::parse("**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/a"));
}

}  // namespace
}  // namespace monopod::build
