// Fleet files: a whole host in one TOML file, for `polis up` and `polis down`. docs/man/polis-fleet.5.scd.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "toolstack/domain_spec.h"

namespace xenopolis::config {

// What a fleet wants of its host; what it does not say is the command line's or the default.
struct FleetHost {
  std::optional<std::string> name;       // as of `polis --host`
  std::optional<std::string> backend;    // auto, kvm, hosted
  std::optional<std::string> event_abi;  // 2l, 3l, fifo
};

struct Fleet {
  FleetHost host;
  // In the order of the file's tables; names are expanded and occur once.
  std::vector<toolstack::DomainSpec> domains;
};

// Reads the configuration files that it names; paths are relative to `directory` (empty: the current one). What is
// wrong is an error with code 0 and a line for each problem: "FILE:LINE: ...".
Result<Fleet> parse_fleet(std::string_view text, const std::string& filename, const std::string& directory = "");
// The same from a file, whose directory paths are relative to. ENOENT and the like, E2BIG for more than 256 KiB.
Result<Fleet> read_fleet(const std::string& path);

}  // namespace xenopolis::config
