// Domain configuration files as xl reads them (xl.cfg(5), parsed by libxlutil), as far as this host can do what they
// ask for. What it cannot is an error that names key and line, never ignored: docs/man/polis.cfg.5.scd.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "toolstack/domain_spec.h"

namespace xenopolis::config {

struct XlConfigOptions {
  // "key=value" or "key+=value", read after the file, as xl takes them on its command line. Here words and paths need
  // no quotes.
  std::vector<std::string> overrides;
  // What relative paths in the file and the overrides are relative to; empty: the current directory, as for xl.
  std::string directory;
};

// The name may be a template ("web-{:04}"): config/name_template.h makes names of it, also where there is one domain
// only. All else has been checked as far as that can be done without a host. What is wrong is an error with code 0 and
// a line for each problem: "FILE:LINE: key: what is wrong, what to do".
Result<toolstack::DomainSpec> parse_xl_config(std::string_view text, const std::string& filename,
                                              const XlConfigOptions& options = {});
// The same from a file; "-": standard input. ENOENT and the like, E2BIG for more than 64 KiB.
Result<toolstack::DomainSpec> read_xl_config(const std::string& path, const XlConfigOptions& options = {});

}  // namespace xenopolis::config
