#include "xenstore/path.h"

#include <fmt/format.h>

#include <array>

namespace xenopolis::xenstore {
namespace {

constexpr std::array<bool, 256> kAllowed = [] {
  std::array<bool, 256> allowed{};
  for (unsigned c = '0'; c <= '9'; ++c) allowed[c] = true;
  for (unsigned c = 'A'; c <= 'Z'; ++c) allowed[c] = true;
  for (unsigned c = 'a'; c <= 'z'; ++c) allowed[c] = true;
  for (const char c : {'-', '/', '_', '@'}) allowed[static_cast<unsigned char>(c)] = true;
  return allowed;
}();

bool has_valid_characters(std::string_view path) {
  for (const char c : path) {
    if (!kAllowed[static_cast<unsigned char>(c)]) return false;
  }
  return true;
}

}  // namespace

bool is_valid_absolute_path(std::string_view path) {
  if (path.empty() || path.front() != '/' || path.size() > kAbsolutePathMax) return false;
  if (path.size() > 1 && path.back() == '/') return false;
  if (path.find("//") != std::string_view::npos) return false;
  return has_valid_characters(path);
}

std::string domain_path(DomId domid) {
  return fmt::format("/local/domain/{}", domid);
}

XsResult<std::string_view> canonical_path(std::string_view given, DomId domid, std::string& buffer) {
  if (given.empty()) return xs_fail(XsError::kInval);
  if (given.front() != '/') {
    if (is_special(given) || given.size() > kRelativePathMax) return xs_fail(XsError::kInval);
    buffer.clear();
    fmt::format_to(std::back_inserter(buffer), "/local/domain/{}/{}", domid, given);
    given = buffer;
  }
  if (!is_valid_absolute_path(given)) return xs_fail(XsError::kInval);
  return given;
}

XsResult<std::string_view> canonical_watch_path(std::string_view given, DomId domid, std::string& buffer) {
  if (!is_special(given)) return canonical_path(given, domid, buffer);
  if (given.size() > kRelativePathMax || given.back() == '/' || given.find("//") != std::string_view::npos ||
      !has_valid_characters(given)) {
    return xs_fail(XsError::kInval);
  }
  return given;
}

size_t limited_path_bytes(std::string_view path) {
  constexpr std::string_view kHomes = "/local/domain/";
  if (!path.starts_with(kHomes)) return path.size();
  const std::string_view rest = path.substr(kHomes.size());
  const size_t slash = rest.find('/');
  const bool is_number = slash != 0 && rest.find_first_not_of("0123456789") == slash;
  return is_number && slash != std::string_view::npos ? rest.size() - slash - 1 : path.size();
}

std::string_view parent_path(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == 0 ? path.substr(0, 1) : path.substr(0, slash);
}

std::string_view base_name(std::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

}  // namespace xenopolis::xenstore
