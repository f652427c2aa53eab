#include "config/xl_config.h"

#include "config/text_file.h"
#include "config/xl_syntax.h"

namespace xenopolis::config {

Result<toolstack::DomainSpec> parse_xl_config(std::string_view text, const std::string& filename,
                                              const XlConfigOptions& options) {
  Problems problems;
  const std::vector<Setting> settings = parse_xl_syntax(text, filename, options.overrides, problems);
  if (!problems.none()) return tl::unexpected<Error>(problems.error());
  toolstack::DomainSpec spec = to_spec(settings, filename, options.directory, problems);
  if (!problems.none()) return tl::unexpected<Error>(problems.error());
  return spec;
}

Result<toolstack::DomainSpec> read_xl_config(const std::string& path, const XlConfigOptions& options) {
  const std::string text = TRY(read_text_or_input(path, kMostXlConfigBytes));
  return parse_xl_config(text, path == "-" ? "standard input" : path, options);
}

}  // namespace xenopolis::config
