#include "image/digest.h"

#include <openssl/evp.h>

#include <array>
#include <cstdlib>

#include "base/strings.h"

namespace monopod::image {
namespace {

constexpr std::string_view kPrefix = "sha256:", kLongPrefix = "sha512:";

bool is_hex_after(std::string_view text, std::string_view prefix, std::size_t digits) {
  return text.starts_with(prefix) && text.size() == prefix.size() + digits && text.find_first_not_of("0123456789abcdef", prefix.size()) == std::string_view::npos;
}

}  // namespace

bool is_digest(std::string_view text) { return is_hex_after(text, kPrefix, 64); }
bool is_blob_digest(std::string_view text) { return is_digest(text) || is_hex_after(text, kLongPrefix, 128); }

std::string_view digest_hex(std::string_view digest) { return digest.substr(kPrefix.size()); }

Hash::Hash(std::string_view like) : context_(EVP_MD_CTX_new()), prefix_(like.starts_with(kLongPrefix) ? kLongPrefix : kPrefix) {
  const EVP_MD* algorithm = prefix_ == kPrefix ? EVP_sha256() : EVP_sha512();
  if (context_ == nullptr || EVP_DigestInit_ex(static_cast<EVP_MD_CTX*>(context_), algorithm, nullptr) != 1) std::abort();
}
Hash::~Hash() { EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context_)); }

void Hash::update(std::span<const std::byte> bytes) {
  if (EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(context_), bytes.data(), bytes.size()) != 1) std::abort();
}

std::string Hash::finish() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out;
  unsigned size = 0;
  if (EVP_DigestFinal_ex(static_cast<EVP_MD_CTX*>(context_), out.data(), &size) != 1) std::abort();
  return cat(prefix_, format_hex(std::as_bytes(std::span(out).first(size))));
}

std::string digest_of(std::string_view bytes, std::string_view like) {
  Hash hash(like);
  hash.update(as_bytes(bytes));
  return hash.finish();
}

Result<std::size_t> HashingSource::read(std::span<std::byte> into) {
  TRY_ASSIGN(std::size_t n, input_.read(into));
  if (n > bytes_max_ - bytes_) return fail(Code::kDataLoss, cat("more than ", bytes_max_, " bytes"));
  hash_.update(into.first(n));
  bytes_ += n;
  return n;
}

std::string chain_id(std::string_view parent, std::string_view diff_id) {
  return parent.empty() ? std::string(diff_id) : digest_of(cat(parent, " ", diff_id));
}

}  // namespace monopod::image
