// What people write about domains: xl.cfg, overrides, name templates, fleet files. Whatever comes in, what comes out is
// a domain that a host would take, or problems with a place each.
#include <fuzzer/FuzzedDataProvider.h>

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "config/fleet.h"
#include "config/name_template.h"
#include "config/xl_config.h"

// libxlutil's own parser leaks values where it has found an error.
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libxlutil";
}

namespace xenopolis {
namespace {

void check_problems(const Error& error, std::string_view filename) {
  CHECK(error.code == 0 && !error.what.empty());
  std::string_view rest = error.what;
  CHECK(rest.starts_with(filename) || rest.starts_with("command line: "));
}

void check_domain(const toolstack::DomainSpec& spec) {
  const auto expanded = config::multiply(spec, 1);
  CHECK(expanded && toolstack::check(expanded->front()));
  const auto again = toolstack::spec_from_json(toolstack::to_json(spec));
  CHECK(again && toolstack::to_json(*again) == toolstack::to_json(spec));
}

}  // namespace
}  // namespace xenopolis

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace xenopolis;
  FuzzedDataProvider provider(data, size);
  if (provider.ConsumeBool()) {
    const std::string text = provider.ConsumeRemainingBytesAsString();
    const auto fleet = config::parse_fleet(text, "f.toml", "/srv");
    if (!fleet) check_problems(fleet.error(), "f.toml");
    if (fleet) {
      for (const auto& spec : fleet->domains) CHECK(toolstack::check(spec));
    }
    return 0;
  }
  config::XlConfigOptions options{{}, "/srv"};
  while (provider.ConsumeBool()) options.overrides.push_back(provider.ConsumeRandomLengthString(64));
  const std::string text = "name='a'\nkernel='k'\n" + provider.ConsumeRemainingBytesAsString();
  const auto spec = config::parse_xl_config(text, "a.cfg", options);
  if (spec) {
    check_domain(*spec);
  } else {
    check_problems(spec.error(), "a.cfg");
  }
  return 0;
}
