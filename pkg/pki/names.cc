#include "pki/names.h"

#include <arpa/inet.h>

#include <algorithm>

#include "pki/openssl.h"

namespace monopod::pki {
namespace {

constexpr std::size_t kNameBytesMax = 1024;

bool is_clean(std::string_view text) {
  return std::ranges::none_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

Result<std::string> clean_text(const ASN1_STRING* value) {
  unsigned char* utf8 = nullptr;
  int size = ASN1_STRING_to_UTF8(&utf8, value);
  if (size < 0) {
    ERR_clear_error();
    return fail(Code::kInvalidArgument, "certificate: broken name");
  }
  std::string out(reinterpret_cast<char*>(utf8), static_cast<std::size_t>(size));
  OPENSSL_free(utf8);
  if (!is_clean(out)) return fail(Code::kInvalidArgument, "certificate: control character in a name");
  return out;
}

Result<> check_name(std::string_view name) {
  if (name.empty() || name.size() > kNameBytesMax || !is_clean(name)) return fail(Code::kInvalidArgument, "issue certificate: invalid name");
  return {};
}

Result<> add_entry(X509_NAME* into, int nid, std::string_view value) {
  TRY(check_name(value));
  // MBSTRING_UTF8 through the generic call would enforce X.520's 64 characters, which user names of service accounts exceed.
  Owned<X509_NAME_ENTRY, X509_NAME_ENTRY_free> entry(X509_NAME_ENTRY_create_by_NID(
      nullptr, nid, V_ASN1_UTF8STRING, reinterpret_cast<const unsigned char*>(value.data()), static_cast<int>(value.size())));
  if (!entry || X509_NAME_add_entry(into, entry.get(), -1, 0) != 1) return fail(Code::kInvalidArgument, "issue certificate: invalid name");
  return {};
}

Result<> push_text(GENERAL_NAMES* names, int type, std::string_view text) {
  TRY(check_name(text));
  bool ascii = std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  if (!ascii) return fail(Code::kInvalidArgument, "issue certificate: name is not ASCII");
  ASN1_IA5STRING* value = ASN1_IA5STRING_new();
  ASN1_STRING_set(value, text.data(), static_cast<int>(text.size()));
  GENERAL_NAME* name = GENERAL_NAME_new();
  GENERAL_NAME_set0_value(name, type, value);
  sk_GENERAL_NAME_push(names, name);
  return {};
}

Result<> push_address(GENERAL_NAMES* names, const std::string& text) {
  unsigned char bytes[16];
  int size = 0;
  if (inet_pton(AF_INET, text.c_str(), bytes) == 1) size = 4;
  else if (inet_pton(AF_INET6, text.c_str(), bytes) == 1) size = 16;
  else return fail(Code::kInvalidArgument, "issue certificate: not an IP address");
  ASN1_OCTET_STRING* value = ASN1_OCTET_STRING_new();
  ASN1_OCTET_STRING_set(value, bytes, size);
  GENERAL_NAME* name = GENERAL_NAME_new();
  GENERAL_NAME_set0_value(name, GEN_IPADD, value);
  sk_GENERAL_NAME_push(names, name);
  return {};
}

}  // namespace

Result<> read_subject(const X509_NAME* subject, Identity& into) {
  for (int i = 0; i < X509_NAME_entry_count(subject); ++i) {
    const X509_NAME_ENTRY* entry = X509_NAME_get_entry(subject, i);
    int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry));
    if (nid != NID_commonName && nid != NID_organizationName) continue;
    TRY_ASSIGN(std::string text, clean_text(X509_NAME_ENTRY_get_data(entry)));
    if (nid == NID_commonName) into.common_name = std::move(text);
    else into.organizations.push_back(std::move(text));
  }
  return {};
}

Result<> read_alternative_names(const GENERAL_NAMES* names, Identity& into) {
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    if (name->type == GEN_DNS || name->type == GEN_URI) {
      TRY_ASSIGN(std::string text, clean_text(name->d.ia5));
      (name->type == GEN_DNS ? into.dns_names : into.uris).push_back(std::move(text));
    } else if (name->type == GEN_IPADD) {
      int size = ASN1_STRING_length(name->d.iPAddress);
      char text[INET6_ADDRSTRLEN] = {};
      if (size != 4 && size != 16) return fail(Code::kInvalidArgument, "certificate: broken address");
      inet_ntop(size == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(name->d.iPAddress), text, sizeof text);
      into.ip_addresses.emplace_back(text);
    }
  }
  return {};
}

Result<> write_subject(const IssueOptions& options, X509_NAME* into) {
  for (const std::string& organization : options.organizations) TRY(add_entry(into, NID_organizationName, organization));
  if (!options.common_name.empty()) TRY(add_entry(into, NID_commonName, options.common_name));
  return {};
}

Result<X509_EXTENSION*> make_alternative_names(const IssueOptions& options) {
  if (options.dns_names.empty() && options.ip_addresses.empty() && options.uris.empty()) return nullptr;
  Owned<GENERAL_NAMES, GENERAL_NAMES_free> names(GENERAL_NAMES_new());
  for (const std::string& dns : options.dns_names) TRY(push_text(names.get(), GEN_DNS, dns));
  for (const std::string& address : options.ip_addresses) TRY(push_address(names.get(), address));
  for (const std::string& uri : options.uris) TRY(push_text(names.get(), GEN_URI, uri));
  X509_EXTENSION* extension = X509V3_EXT_i2d(NID_subject_alt_name, options.common_name.empty() ? 1 : 0, names.get());
  if (extension == nullptr) return fail(Code::kInternal, "issue certificate: " + openssl_reason());
  return extension;
}

}  // namespace monopod::pki
