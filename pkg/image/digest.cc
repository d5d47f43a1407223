#include "image/digest.h"

#include <openssl/evp.h>

#include <array>
#include <cstdlib>

#include "base/strings.h"

namespace monopod::image {
namespace {
constexpr std::string_view kPrefix = "sha256:";
}

bool is_digest(std::string_view text) {
  if (!text.starts_with(kPrefix) || text.size() != kPrefix.size() + 64) return false;
  return text.find_first_not_of("0123456789abcdef", kPrefix.size()) == std::string_view::npos;
}

std::string_view digest_hex(std::string_view digest) { return digest.substr(kPrefix.size()); }

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  if (context_ == nullptr || EVP_DigestInit_ex(static_cast<EVP_MD_CTX*>(context_), EVP_sha256(), nullptr) != 1) std::abort();
}
Sha256::~Sha256() { EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context_)); }

void Sha256::update(std::span<const std::byte> bytes) {
  if (EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(context_), bytes.data(), bytes.size()) != 1) std::abort();
}

std::string Sha256::finish() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out;
  unsigned size = 0;
  if (EVP_DigestFinal_ex(static_cast<EVP_MD_CTX*>(context_), out.data(), &size) != 1) std::abort();
  return cat(kPrefix, format_hex(std::as_bytes(std::span(out).first(size))));
}

std::string digest_of(std::string_view bytes) {
  Sha256 hash;
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
