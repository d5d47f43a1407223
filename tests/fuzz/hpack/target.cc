// HPACK beside nghttp2's: blocks mean the same to both decoders or are refused by both, and what our encoder writes both read as it was said.
#include <nghttp2/nghttp2.h>

#include <vector>

#include "proxy/codec/hpack.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;

namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

// False: refused.
bool decode_ours(proxy::HpackDecoder& decoder, std::string_view block, Fields& out) {
  proxy::HpackField field;
  decoder.begin(block);
  for (;;) {
    proxy::HpackDecoder::Step step = decoder.next(field);
    if (step != proxy::HpackDecoder::Step::kField) return step == proxy::HpackDecoder::Step::kEnd;
    out.emplace_back(field.name, field.value);
  }
}

bool decode_theirs(nghttp2_hd_inflater* inflater, std::string_view block, Fields& out) {
  for (;;) {
    nghttp2_nv nv;
    int flags = 0;
    ssize_t n = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, reinterpret_cast<const std::uint8_t*>(block.data()), block.size(), 1);
    if (n < 0) return false;
    block.remove_prefix(static_cast<std::size_t>(n));
    if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) out.emplace_back(std::string(reinterpret_cast<char*>(nv.name), nv.namelen), std::string(reinterpret_cast<char*>(nv.value), nv.valuelen));
    if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) break;
    if (n == 0 && (flags & NGHTTP2_HD_INFLATE_EMIT) == 0) return false;
  }
  return nghttp2_hd_inflate_end_headers(inflater) == 0;
}

// The next piece: a byte says how long it is.
std::string_view take(std::string_view& rest) {
  if (rest.empty()) return {};
  std::size_t size = static_cast<unsigned char>(rest[0]);
  rest.remove_prefix(1);
  std::string_view out = rest.substr(0, size);
  rest.remove_prefix(out.size());
  return out;
}

void try_decoders(std::string_view rest) {
  nghttp2_hd_inflater* theirs = nullptr;
  nghttp2_hd_inflate_new(&theirs);
  proxy::HpackDecoder ours;
  for (bool good = true; good && !rest.empty();) {
    std::string_view block = take(rest);
    Fields a, b;
    good = decode_ours(ours, block, a);
    fuzz::check(decode_theirs(theirs, block, b) == good, "both take a block, or neither does");
    fuzz::check(!good || a == b, "and read the same");
  }
  nghttp2_hd_inflate_del(theirs);
}

void try_encoder(std::string_view rest) {
  nghttp2_hd_inflater* theirs = nullptr;
  nghttp2_hd_inflate_new(&theirs);
  proxy::HpackDecoder ours;
  proxy::HpackEncoder encoder;
  while (!rest.empty()) {
    Fields said, a, b;
    std::string block;
    auto how = static_cast<unsigned char>(rest[0]);
    rest.remove_prefix(1);
    if ((how & 0x80U) != 0) encoder.limit(how * 20U);
    encoder.begin(block);
    for (unsigned n = how % 8; n > 0; --n) {
      said.emplace_back(take(rest), take(rest));
      encoder.add(block, said.back().first, said.back().second, (how & 0x40U) != 0);
    }
    fuzz::check(decode_ours(ours, block, a) && a == said, "what we say we read");
    fuzz::check(decode_theirs(theirs, block, b) && b == said, "and so does another");
  }
  nghttp2_hd_inflate_del(theirs);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text = fuzz::text_of(data, size);
  try_decoders(text);
  try_encoder(text);
  return 0;
}
