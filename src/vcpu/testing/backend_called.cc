#include <fmt/format.h>

#include "vcpu/testing/test_host.h"

namespace xenopolis::vcpu::testing {

#if defined(__SANITIZE_THREAD__)
#define XENOPOLIS_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define XENOPOLIS_TSAN 1
#endif
#endif
#ifdef XENOPOLIS_TSAN
constexpr bool kThreadSanitizer = true;
#else
constexpr bool kThreadSanitizer = false;
#endif

bool is_testable(const std::string& name) {
  return !(kThreadSanitizer && name == "kvm");
}

Result<Backend*> backend_called(const std::string& name) {
  static std::unique_ptr<Backend> backend;
  // Each owns the process' handler of the kick signal.
  if (backend && backend->name() != name) {
    return fail(EBUSY, fmt::format("this process has the {} backend already", backend->name()));
  }
  if (!is_testable(name)) {
    return fail(ENOTSUP, "ThreadSanitizer holds signals back until the next library call: kicks would be lost");
  }
  if (!backend) backend = TRY(name == "kvm" ? create_kvm_backend() : create_hosted_backend());
  return backend.get();
}

}  // namespace xenopolis::vcpu::testing
