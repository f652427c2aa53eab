#include <fmt/format.h>

#include "vcpu/testing/test_host.h"

namespace xenopolis::vcpu::testing {

Result<Backend*> backend_called(const std::string& name) {
  static std::unique_ptr<Backend> backend;
  // Each owns the process' handler of the kick signal.
  if (backend && backend->name() != name) {
    return fail(EBUSY, fmt::format("this process has the {} backend already", backend->name()));
  }
  if (!backend) backend = TRY(name == "kvm" ? create_kvm_backend() : create_hosted_backend());
  return backend.get();
}

}  // namespace xenopolis::vcpu::testing
