#include "proxy/codec/head_list.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/strings.h"

namespace monopod::proxy {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

Fields get(std::string path = "/a?b=c") { return {{":method", "GET"}, {":scheme", "http"}, {":path", std::move(path)}, {":authority", "a.test"}}; }

Fields with(Fields fields, const Fields& more) {
  fields.insert(fields.end(), more.begin(), more.end());
  return fields;
}

struct Taken {
  bool good = true;
  std::string text = std::string(kHeadBytesMax, '\0');
  Head head{};
};

Taken request(const Fields& fields, bool ends = true) {
  Taken out;
  HeadList list;
  list.begin();
  for (const auto& [name, value] : fields) out.good = list.add(name, value) && out.good;
  out.good = out.good && list.finish_request(ends);
  if (out.good) list.copy_to(out.text.data(), out.head);
  return out;
}

TEST(HeadList, FieldsReadAsThoseOfHttp1) {
  Taken taken = request(with(get(), {{"accept", "*/*"}, {"cookie", "a=1"}, {"x-empty", ""}, {"cookie", "b=2"}}));
  ASSERT_TRUE(taken.good);
  const Head& head = taken.head;
  std::string lines = cat("GET /a?b=c HTTP/1.1\r\n", std::string_view(head.base, head.size).substr(head.line_end));
  EXPECT_EQ(lines, "GET /a?b=c HTTP/1.1\r\nhost: a.test\r\naccept: */*\r\nx-empty: \r\ncookie: a=1; b=2\r\n\r\n");
  Head again;
  ASSERT_EQ(parse_request_head(lines.data(), lines.size(), again), Parsed::kDone);
  ASSERT_EQ(again.count, head.count);
  for (std::size_t i = 0; i < head.count; ++i) {
    EXPECT_EQ(head.name(head.fields[i]), again.name(again.fields[i]));
    EXPECT_EQ(head.value(head.fields[i]), again.value(again.fields[i]));
    EXPECT_EQ(head.fields[i].id, again.fields[i].id);
  }
  EXPECT_EQ(head.host, "a.test");
  EXPECT_EQ(head.path, "/a?b=c");
  EXPECT_TRUE(head.listed);
  EXPECT_FALSE(head.keep_alive);
}

TEST(HeadList, WhereContentEndsIsSaidByALengthOrByFrames) {
  EXPECT_EQ(request(get()).head.framing, Framing::kNone);
  EXPECT_EQ(request(get(), false).head.framing, Framing::kStream);
  EXPECT_EQ(request(with(get(), {{"content-length", "7"}}), false).head.framing, Framing::kLength);
  EXPECT_EQ(request(with(get(), {{"content-length", "0"}}), false).head.framing, Framing::kNone);
}

TEST(HeadList, WhatIsMalformedIsNotTaken) {
  for (const Fields& fields : {get("a"), get(""), get("*x"), with(get(), {{":protocol", "x"}}), with(get(), {{"host", "b.test"}}), Fields{{":method", "G T"}, {":path", "/"}, {":authority", "a"}}})
    EXPECT_FALSE(request(fields).good) << fields.back().first << fields[1].second;
}

TEST(HeadList, RefusalsAreThoseOfHttp1) {
  struct Row {
    Fields fields;
    int status;
  };
  const Row rows[] = {{with(get(), {{"host", "a.test"}}), 0}, {{{":method", "GET"}, {":path", "/"}}, 400}, {{{":method", "GET"}, {":path", "/"}, {":authority", "u@a"}}, 400},
                      {{{":method", "CONNECT"}, {":authority", "a:1"}}, 501}, {get(cat("/", std::string(kTargetBytesMax, 'x'))), 414}, {with(get(), {{"content-length", "1x"}}), 400}};
  for (const Row& row : rows) {
    Taken taken = request(row.fields);
    ASSERT_TRUE(taken.good) << row.status;
    EXPECT_EQ(taken.head.refusal.status, row.status) << taken.head.refusal.why;
  }
}

TEST(HeadList, IsFullAtItsLimits) {
  for (std::size_t count : {kFieldsMax - 12, kFieldsMax - 11}) {  // beside the four of the request
    HeadList list;
    list.begin();
    for (const auto& [name, value] : get()) list.add(name, value);
    for (std::size_t i = 0; i < count; ++i) EXPECT_TRUE(list.add("x", "y"));
    EXPECT_EQ(list.oversized(), count == kFieldsMax - 11);
  }
  HeadList list;
  list.begin();
  list.add("x", std::string(kHeadBytesMax, 'y'));
  EXPECT_TRUE(list.oversized());
}

TEST(HeadList, AnswersWithoutContentSayALength) {
  HeadList list;
  list.begin();
  list.add(":status", "200");
  ASSERT_TRUE(list.finish_response(false, true));
  EXPECT_EQ(std::string_view(list.head().base, list.head().size).substr(list.head().line_end), "content-length: 0\r\n\r\n");
  list.begin();
  list.add(":status", "200");
  ASSERT_TRUE(list.finish_response(false, false));
  EXPECT_EQ(list.head().framing, Framing::kStream);
  for (std::string_view status : {"101", "20", "2000"}) {
    list.begin();
    list.add(":status", status);
    EXPECT_FALSE(list.finish_response(false, false)) << status;
  }
}

}  // namespace
}  // namespace monopod::proxy
