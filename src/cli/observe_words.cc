// polis dmesg, metrics, trace.
#include "cli/command.h"
#include "cli/dmesg_command.h"
#include "cli/metrics_command.h"
#include "cli/trace_command.h"

namespace xenopolis::cli {
namespace {

void add_dmesg_word(CommandLine& line) {
  const auto options = std::make_shared<DmesgOptions>();
  CLI::App* command =
      line.add("dmesg", "Show the hypervisor's log: warnings of all processes, crashes, and what guests write there",
               [options, &line]() -> Result<int> {
                 options->run_directory = TRY(line.common().directory());
                 options->json = line.common().json;
                 return run_dmesg(*options);
               });
  command->footer(
      "The newest 4,096 lines of the host and as many of guests (CONSOLEIO_write) are kept, whatever is killed.\n"
      "With --json a line is an object: time, level, program or guest, pid, domid, message.");
  command->add_flag("-w,--follow", options->follow, "go on with what is written from now on, until Ctrl-C");
  command->add_flag("-c,--clear", options->clear, "and forget it");
  command->add_option("-l,--level", options->level, "info, warn or error: that and what is worse")
      ->check(CLI::IsMember({"info", "warn", "error"}))
      ->capture_default_str();
  command->add_option("-d,--domain", options->domain, "what one domain wrote, or what is about it")
      ->type_name("DOMAIN");
}

void add_metrics_word(CommandLine& line) {
  const auto options = std::make_shared<MetricsCommandOptions>();
  CLI::App* command = line.add("metrics", "Print what the host has counted, in Prometheus' text format",
                               [options, &line]() -> Result<int> {
                                 options->run_directory = TRY(line.common().directory());
                                 options->json = line.common().json;
                                 return run_metrics(*options);
                               });
  command->footer("Metrics over HTTP have no password: only a unix socket of this user, or this machine's loopback.");
  command
      ->add_option("--listen", options->listen,
                   "serve GET /metrics there until Ctrl-C: unix:PATH, 127.0.0.1:PORT or [::1]:PORT")
      ->type_name("ADDRESS");
  command->add_flag_callback(
      "--no-domains", [options] { options->each_domain = false; }, "sums only, no lines for each domain");
}

void add_trace_word(CommandLine& line) {
  const auto options = std::make_shared<TraceOptions>();
  CLI::App* command = line.add("trace", "Show a domain's hypercalls and exits as strace shows system calls",
                               [options, &line]() -> Result<int> {
                                 options->run_directory = TRY(line.common().directory());
                                 options->json = line.common().json;
                                 if (options->json && options->summary) {
                                   return bad_usage("trace", "--json: the table of --summary is no JSON");
                                 }
                                 return run_trace(*options);
                               });
  command->footer(
      "Ends with the domain, or Ctrl-C. Behind a hypercall stand its answer and how long it took, in seconds.\n"
      "Entries of a multicall come before it, indented. A domain that nobody traces loses no time.");
  command->add_option("DOMAIN", options->domain, "name or domid")->required();
  command->add_flag("-c,--summary", options->summary, "count, and print a table at the end");
  command
      ->add_option("-e,--filter", options->filter,
                   "only these: hypercalls by name, or hypercalls, trap, syscall, interrupt, upcall, wait, end, with "
                   "commas between; ! in front: all others")
      ->type_name("NAMES");
  command->add_flag("-t,--times", options->times, "begin lines with the time of day");
  command->add_option("-n,--count", options->limit, "end after so many lines")->type_name("N");
  command->add_option("-s,--seconds", options->duration_s, "end after so long")
      ->check(CLI::PositiveNumber)
      ->type_name("SECONDS");
}

}  // namespace

void add_observation(CommandLine& line) {
  add_dmesg_word(line);
  add_metrics_word(line);
  add_trace_word(line);
}

}  // namespace xenopolis::cli
