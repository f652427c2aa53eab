#include "experiment/report.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "experiment/chart.h"
#include "experiment/published.h"
#include "experiment/report_charts.h"
#include "experiment/report_style.h"
#include "experiment/report_tables.h"
#include "experiment/report_text.h"

namespace xenopolis::experiment {
namespace {

std::string paragraph(std::string_view style, const std::string& text) {
  return fmt::format("<p{}>{}</p>\n", style.empty() ? "" : fmt::format(" class=\"{}\"", style), escape_xml(text));
}

std::string what_isolates(const RunRecord& run) {
  return run.backend == "kvm" ? "each in a KVM virtual machine of its own"
                              : "on the hosted backend, which does not isolate them from each other";
}

std::string header(const SweepRecord& sweep) {
  const RunRecord& run = *largest_run(sweep);
  const MachineRecord& machine = sweep.machine;
  std::string text = "<header>\n";
  text += paragraph(
      "kicker", fmt::format("Xenopolis {} · the domains experiment · {}", sweep.version, machine.date.substr(0, 10)));
  text += fmt::format("<h1>{} on {}</h1>\n", escape_xml(counted(run.up, "Xen domain", "Xen domains")),
                      escape_xml(counted(static_cast<double>(machine.cpus), "CPU", "CPUs")));
  text += paragraph(
      "lead", fmt::format("All were up after {}, {}. Each is a Xen PV kernel with its own console, its own ring to "
                          "xenstore and two more event channels to Dom0; it beats on a timer and answers Dom0's pings.",
                          milliseconds(run.wall_s * 1000), what_isolates(run)));
  text += "</header>\n";
  return text;
}

std::string figure_of(const std::string& value, const std::string& what) {
  return fmt::format("<div><dd>{}</dd><dt>{}</dt></div>\n", escape_xml(value), escape_xml(what));
}

std::string key_figures(const SweepRecord& sweep) {
  const RunRecord& run = *largest_run(sweep);
  std::string text = "<dl class=\"figures\">\n";
  text += figure_of(thousands(run.up), run.up == 1 ? "domain at the same time" : "domains at the same time");
  text += figure_of(milliseconds(run.wall_s * 1000 / run.up), "of wall time for each");
  if (run.has_memory()) {
    text += figure_of(kibibytes(run.memory_kib_per_domain),
                      fmt::format("of memory for each, all included, of {} MiB it has", run.memory_mib));
  }
  if (run.pings > 0) {
    text += figure_of(
        milliseconds(run.ping_p50_us / 1000),
        fmt::format("from Dom0 to a domain and back (median; 99 % within {})", milliseconds(run.ping_p99_us / 1000)));
  }
  text += "</dl>\n";
  return text;
}

// What CPUID leaf 0x40000000 says, as people call it.
std::string hypervisor_name(const std::string& signature) {
  constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"KVMKVMKVM", "KVM"}, {"XenVMMXenVMM", "Xen"}, {"VMwareVMware", "VMware"}, {"Microsoft Hv", "Hyper-V"}};
  for (const auto& [said, name] : kNames) {
    if (said == signature) return std::string(name);
  }
  return signature;
}

std::string machine_panel(const SweepRecord& sweep) {
  const MachineRecord& machine = sweep.machine;
  const RunRecord& run = *largest_run(sweep);
  std::string rows;
  const auto row = [&rows](std::string_view what, const std::string& value) {
    if (!value.empty()) rows += fmt::format("<dt>{}</dt><dd>{}</dd>\n", what, escape_xml(value));
  };
  row("Processor",
      fmt::format("{}, {} online", machine.cpu, counted(static_cast<double>(machine.cpus), "CPU", "CPUs")));
  row("Memory", kibibytes(static_cast<double>(machine.memory_mib) * 1024));
  row("Kernel", machine.kernel);
  row("Runs itself on",
      machine.hypervisor == "none" ? "bare metal" : "a virtual machine of " + hypervisor_name(machine.hypervisor));
  row("Backend", run.backend + (run.backend == "kvm" ? "" : " (no isolation; not comparable with virtual machines)"));
  row("Created", fmt::format("{} at the same time, {} MiB each", run.window, run.memory_mib));
  row("Measured", machine.date);
  std::string text = "<div class=\"machine\"><dl>\n" + rows;
  if (!sweep.command.empty())
    text += fmt::format("<dt>Command</dt><dd><code>{}</code></dd>\n", escape_xml(sweep.command));
  return text + "</dl></div>\n";
}

std::string warnings(const SweepRecord& sweep) {
  std::string text;
  if (sweep.interrupted || sweep.runs.size() < sweep.planned_runs) {
    text += fmt::format("<p class=\"warning\">{}: {} of {} runs are here.</p>\n",
                        sweep.interrupted ? "The sweep was interrupted" : "The sweep is under way or ended early",
                        sweep.runs.size(), sweep.planned_runs);
  }
  std::string items;
  for (const RunRecord& run : sweep.runs) {
    const std::string which = fmt::format("{} domains, {}", thousands(run.requested), abi_name(run.event_abi));
    const auto item = [&](const std::string& what) {
      items += fmt::format("<li>{}: {}</li>\n", which, escape_xml(what));
    };
    if (run.interrupted) item("interrupted");
    if (run.alive_at_end < run.up)
      item(fmt::format("{} of {} domains had ended before they were asked to", run.up - run.alive_at_end, run.up));
    if (run.up < run.requested && !run.wall && !run.interrupted) item(fmt::format("only {} came up", run.up));
    if (run.beats_missed > 0) {
      item(fmt::format("{} of {} beats came too late or not", thousands(static_cast<double>(run.beats_missed)),
                       thousands(static_cast<double>(run.beats + run.beats_missed))));
    }
    // What a wall makes of the domains behind it is told by the wall.
    if (!run.wall) {
      for (const std::string& problem : run.problems) item(problem);
    }
  }
  if (!items.empty()) text += "<div class=\"warning\"><p>What did not go well:</p><ul>\n" + items + "</ul></div>\n";
  return text;
}

std::string legend() {
  const auto mark = [](const char* shape) {
    return fmt::format(
        "<svg class=\"mark\" width=\"12\" height=\"12\" viewBox=\"0 0 12 12\" aria-hidden=\"true\">{}</svg>", shape);
  };
  return "<p class=\"legend\"><span class=\"key\">" + mark("<circle class=\"dot own\" cx=\"6\" cy=\"6\" r=\"4\"/>") +
         "Xenopolis, measured here</span> <span class=\"key\">" +
         mark("<circle class=\"dot peer\" cx=\"6\" cy=\"6\" r=\"4\"/>") +
         "something else, measured here</span> <span class=\"key\">" +
         mark("<path class=\"diamond theirs\" d=\"M6 1.5L10.5 6L6 10.5L1.5 6Z\"/>") +
         "published by others, on their hardware</span></p>\n";
}

// A section around one or more diagrams, each drawn wide and narrow.
std::string section(const std::string& heading, const std::string& said, const std::vector<std::string>& diagrams,
                    const std::string& caption, const std::string& more = "", const std::string& after = "") {
  std::string drawn;
  for (const std::string& diagram : diagrams) drawn += diagram;
  if (drawn.empty() && more.empty()) return "";
  std::string text = fmt::format("<section class=\"chart\">\n<h2>{}</h2>\n{}", escape_xml(heading),
                                 said.empty() ? "" : paragraph("", said));
  text += more;
  if (!drawn.empty())
    text += fmt::format("<figure>\n{}<figcaption>{}</figcaption>\n</figure>\n", drawn, escape_xml(caption));
  return text + after + "</section>\n";
}

std::string creation_said(const RunRecord& run) {
  if (run.by_domain.empty()) return "";
  // Fewer, and the first are among the last.
  constexpr uint32_t kTwiceTheSample = 600;
  if (run.up < kTwiceTheSample) {
    return fmt::format("Half of the {} took at most {} from request to up, 99 % at most {}.", thousands(run.up),
                       milliseconds(run.create_p50_ms), milliseconds(run.create_p99_ms));
  }
  return fmt::format("The first 300 of {} took {} each from request to up, the last 300 {}: {:.2f} times as long.",
                     thousands(run.up), milliseconds(run.first_300_ms), milliseconds(run.last_300_ms),
                     run.first_300_ms > 0 ? run.last_300_ms / run.first_300_ms : 0);
}

std::string all_up_said(const SweepRecord& sweep) {
  const auto runs = runs_of(sweep, largest_run(sweep)->event_abi);
  if (runs.size() < 2) return "";
  const RunRecord& small = *runs.front();
  const RunRecord& large = *runs.back();
  return fmt::format("{} domains were up after {} ({} each), {} after {} ({} each).", thousands(small.up),
                     milliseconds(small.wall_s * 1000), milliseconds(small.wall_s * 1000 / small.up),
                     thousands(large.up), milliseconds(large.wall_s * 1000),
                     milliseconds(large.wall_s * 1000 / large.up));
}

template <typename Draw>
std::string both(Draw draw) {
  return draw(Width::kWide) + draw(Width::kNarrow);
}

std::string sections(const SweepRecord& sweep) {
  const RunRecord& run = *largest_run(sweep);
  std::string text;
  text += section(
      "One more domain", creation_said(run) + " " + what_domains_do_meanwhile(sweep),
      {both([&](Width width) { return creation_chart(sweep, width); })},
      fmt::format(
          "From the request to create a domain until it has written to its console and to xenstore, and its channels "
          "are bound; {} are created at the same time. Line: median, band: middle 80 %, blue dots: the "
          "first few, too few for that. Both axes are logarithmic. What others published is start-up time as each of "
          "them defines it, on other machines: "
          "orders of magnitude can be compared, digits cannot.",
          run.window),
      legend());
  text += section("All of them", all_up_said(sweep),
                  {both([&](Width width) { return all_up_chart(sweep, width); }),
                   both([&](Width width) { return per_domain_chart(sweep, width); })},
                  "Wall time from the first request until the last domain is up, and the same divided by the number of "
                  "domains. A bare "
                  "VM is the floor: a KVM virtual machine with one vCPU and 31 exits, and nothing of Xen.");
  text += section("In the order of creation", "",
                  {both([&](Width width) { return one_after_the_other_chart(sweep, width); })},
                  fmt::format("The largest run, {} domains, in fifty groups of neighbours. Line: median, band: middle "
                              "80 %. The vertical axis is "
                              "logarithmic.",
                              thousands(run.up)));
  std::vector<std::string> latencies;
  for (const std::string_view abi : kReportAbis) {
    latencies.push_back(both([&](Width width) { return latency_chart(sweep, abi, width); }));
  }
  text += section("From Dom0 to a domain and back", "", latencies,
                  "A ping is an event on a domain's channel and the answer on the same channel, while every domain "
                  "beats. Read it as: this "
                  "share of the round trips took no longer than that. Each number of domains has a line, as far as it "
                  "had samples.");
  text += section("Memory", "", {both([&](Width width) { return memory_chart(sweep, width); })},
                  "How much less memory the machine had available when all were up, divided by their number: with page "
                  "tables, the kernel's "
                  "share and the daemons. The axis is logarithmic.");
  text += section("What xenstore and consoles cost", "",
                  {both([&](Width width) { return creation_load_chart(sweep, width); }),
                   both([&](Width width) { return steady_load_chart(sweep, width); })},
                  fmt::format("CPU time of the host's programs ({} event channels), first for each domain that is "
                              "created, then in the steady "
                              "state. Cells run the guests: theirs is mostly the guests' own time.",
                              abi_name(run.event_abi)),
                  "", programs_table(sweep) + traffic_table(sweep));
  return text;
}

std::string tables(const SweepRecord& sweep) {
  std::string text;
  text += section("Where it ends", "", {}, "", limits_table(sweep));
  if (!sweep.peers.empty()) {
    text += section("What one would take instead",
                    "Measured on this machine in the same sweep, two at a time, all kept alive until the last was up.",
                    {}, "", peers_table(sweep));
  }
  text += section("What others published", "Not measured by us, and not on this machine.", {}, "", published_table());
  text += section("Every run", "", {}, "", runs_table(sweep));
  return text;
}

}  // namespace

Result<std::string> report_page(const SweepRecord& sweep) {
  const RunRecord* run = largest_run(sweep);
  if (run == nullptr) return fail(EINVAL, "no domain was up in any run: there is nothing to report");
  std::string page = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" "
      "content=\"light dark\">\n"
      "<link rel=\"icon\" href=\"data:,\">\n<title>Xenopolis: {} domains</title>\n<style>\n",
      thousands(run->up));
  page += fmt::format(
      ":root {{{}\n  color-scheme: light dark; }}\n@media screen and (prefers-color-scheme: dark) {{ :root {{{}}} }}\n",
      kLightColours, kDarkColours);
  page += kChartStyle;
  page += kPageStyle;
  page += "</style>\n</head>\n<body>\n";
  page += header(sweep) + warnings(sweep) + "<main>\n" + key_figures(sweep) + machine_panel(sweep) + sections(sweep) +
          tables(sweep) + "</main>\n";
  page +=
      "<footer>Made by <code>polis experiment --sweep</code> from results.json beside this file, which holds every "
      "figure; "
      "<code>polis report DIR</code> makes it anew. Times vary with what else a machine does: compare within one "
      "sweep.</footer>\n"
      "</body>\n</html>\n";
  return page;
}

Result<std::string> report_picture(const SweepRecord& sweep) {
  if (largest_run(sweep) == nullptr) return fail(EINVAL, "no domain was up in any run: there is nothing to draw");
  return creation_picture(sweep);
}

Result<std::string> write_report(const SweepRecord& sweep, const std::string& directory) {
  const std::string page = TRY(report_page(sweep));
  const std::string path = directory + "/report.html";
  // Whoever looks at it meanwhile sees the old one or the new one.
  const std::string next = path + ".new";
  std::ofstream file(next, std::ios::trunc);
  file << page;
  file.close();
  std::error_code error;
  if (file) std::filesystem::rename(next, path, error);
  if (!file || error) return fail(error ? error.value() : EIO, "writing " + path);
  return path;
}

}  // namespace xenopolis::experiment
