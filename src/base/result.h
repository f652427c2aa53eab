// Results instead of exceptions: Result<T, E> is a value or the reason why there is none.
#pragma once

#include <cerrno>
#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace xenopolis {

// An error for people: `code` is an errno value (positive), `what` says what was tried, with names and numbers.
struct Error {
  int code = 0;
  std::string what;

  // "opening /dev/kvm: Permission denied"
  std::string message() const;
};

// The error of a system call that has just failed: takes errno.
Error system_error(std::string what);

template <class T, class E = Error>
class [[nodiscard]] Result : public tl::expected<T, E> {
 public:
  using tl::expected<T, E>::expected;
};

using Status = Result<void>;

// fail(ENOENT, "no domain 7"): converts to any Result<T>.
inline tl::unexpected<Error> fail(int code, std::string what) {
  return tl::unexpected<Error>(Error{code, std::move(what)});
}
inline tl::unexpected<Error> fail_errno(std::string what) {
  return tl::unexpected<Error>(system_error(std::move(what)));
}

}  // namespace xenopolis

// TRY(expression): the value, or return its error from the enclosing function (which returns some Result<_, E>).
#define TRY(expression)                                                           \
  ({                                                                              \
    auto try_result_ = (expression);                                              \
    if (!try_result_) return tl::make_unexpected(std::move(try_result_).error()); \
    *std::move(try_result_);                                                      \
  })
// The same for Result<void, E>.
#define TRY_VOID(expression)                                                      \
  do {                                                                            \
    auto try_result_ = (expression);                                              \
    if (!try_result_) return tl::make_unexpected(std::move(try_result_).error()); \
  } while (0)
