#include "vcpu/backend.h"
#include "vcpu/kvm/kvm_api.h"
#include "vcpu/kvm/kvm_vcpu.h"

namespace xenopolis::vcpu {
namespace {

class KvmBackend final : public Backend {
 public:
  explicit KvmBackend(kvm::KvmSystem system) : system_(std::move(system)) {}

  std::string_view name() const override { return "kvm"; }
  bool flat() const override { return false; }
  std::vector<unsigned long> ioctls() const override { return {std::begin(kvm::kIoctls), std::end(kvm::kIoctls)}; }
  Result<std::unique_ptr<Vcpu>> create_vcpu(domain::PvVcpu& state, const machine::DomainMemory& memory,
                                            const builder::BuiltDomain& built) override {
    return TRY(kvm::KvmVcpu::create(system_, state, memory, built));
  }

 private:
  kvm::KvmSystem system_;
};

}  // namespace

Result<std::unique_ptr<Backend>> create_kvm_backend() {
  kvm::KvmSystem system = TRY(kvm::KvmSystem::open());
  TRY_VOID(kvm::install_kick_handler());
  return std::make_unique<KvmBackend>(std::move(system));
}

}  // namespace xenopolis::vcpu
