#include "vcpu/testing/test_host.h"

namespace xenopolis::vcpu::testing {

Result<Backend*> backend_called(const std::string& name) {
  static std::map<std::string, std::unique_ptr<Backend>> backends;
  auto& backend = backends[name];
  if (!backend) backend = TRY(name == "kvm" ? create_kvm_backend() : create_hosted_backend());
  return backend.get();
}

}  // namespace xenopolis::vcpu::testing
