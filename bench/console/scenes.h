// What is measured.
#pragma once

#include <memory>
#include <string>

#include "common/scenes.h"
#include "daemon.h"
#include "probe.h"

namespace xenopolis::bench {

// Measures "memory", "wakeup", "throughput" and "latency". Creates `directory`. `rest_s`: for so long
// nobody says anything before the memory of the daemon at rest is read.
std::unique_ptr<Scene> make_consoles_scene(const ConsoleKind& kind, uint32_t consoles, double rest_s,
                                           const std::string& directory);

// `domains` real ones on a host of their own, run by the hosted backend, quiet but for those that a measurement makes
// talk; kLeastHosted at least. Measures "hosted_throughput" and "hosted_latency".
inline constexpr uint32_t kLeastHosted = kProbed + kBusy;
std::unique_ptr<Scene> make_hosted_scene(const std::string& polisd, const std::string& image, uint32_t domains,
                                         const std::string& directory);

}  // namespace xenopolis::bench
