// The experiment's domain: boots, says so, shows two devices to Dom0, and lives until it is told to go.
//
// Entering the hypervisor costs more than anything else it does, so calls are gathered: one batch at the start, one to
// map the grant table, one for each exchange with xenstore, and one for each wakeup (answers, timer and sleep
// together).
#include "citizen_page.h"
#include "runtime/clock.h"
#include "runtime/console.h"
#include "runtime/events.h"
#include "runtime/grants.h"
#include "runtime/option.h"
#include "runtime/print.h"
#include "runtime/shutdown.h"
#include "runtime/xenstore.h"

namespace xenopolis::guest {
namespace {

constexpr uint64_t kNsPerMs = 1'000'000;

alignas(kPageSize) [[gnu::section(".bss..pages")]] CitizenPage page;

struct Device {
  Text ring_ref_path;
  Text event_channel_path;
  grant_ref_t grant;
  evtchn_alloc_unbound_t channel;
  evtchn_send_t answer;
};

Device devices[kCitizenDeviceCount];
Port timer_port;
vcpu_set_singleshot_timer_t timer_call;

void fail(Text what) {
  print("citizen FAIL: ", what, "\n");
  console::flush();
  shutdown(SHUTDOWN_crash);
}

// Everything that can be asked for before anything is known.
void start(const start_info_t* info) {
  domain::prepare(common_batch, info);
  events::prepare(common_batch, option::value("event_abi") == "2l" ? EventAbi::kTwoLevel : EventAbi::kFifo);
  evtchn_bind_virq_t timer{.virq = VIRQ_TIMER, .vcpu = 0, .port = 0};
  unsigned calls[1 + kCitizenDeviceCount];
  calls[0] = common_batch.add(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_virq, &timer);
  for (unsigned i = 0; i < kCitizenDeviceCount; ++i) {
    devices[i].channel = {.dom = DOMID_SELF, .remote_dom = kDom0, .port = 0};
    calls[1 + i] = common_batch.add(__HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, &devices[i].channel);
  }
  grants::prepare(common_batch);
  common_batch.run();

  domain::finish(common_batch);
  events::finish(common_batch);
  bool refused = false;
  for (unsigned call : calls) refused = refused || common_batch.result(call) != 0;
  if (refused) fail("event channels");
  if (!grants::finish(common_batch)) fail("grant table");

  timer_port = timer.port;
  bool covered = events::cover(timer_port) == 0;
  for (Device& device : devices) covered = events::cover(device.channel.port) == 0 && covered;
  if (!covered) fail("event array");
}

void share_page() {
  for (unsigned i = 0; i < kCitizenDeviceCount; ++i) {
    devices[i].grant = grants::kFirst + i;
    devices[i].answer.port = devices[i].channel.port;
    grants::permit(devices[i].grant, kDom0, &page);
  }
  devices[kCitizenVif].ring_ref_path = "device/vif/0/ring-ref";
  devices[kCitizenVif].event_channel_path = "device/vif/0/event-channel";
  devices[kCitizenVbd].ring_ref_path = "device/vbd/0/ring-ref";
  devices[kCitizenVbd].event_channel_path = "device/vbd/0/event-channel";
}

constexpr const char* kShutdownPath = "control/shutdown";

// Every watch reports once when it is set; the node is read in the same exchange, so that report says nothing new.
bool reported;

// Obeys what the toolstack wrote to control/shutdown; the node is emptied first, which is how it learns that the
// request was taken (docs/misc/xenstore-paths.pandoc of Xen).
void obey(const xenstore::Message& reply) {
  if (reply.is_error() || reply.text().empty()) return;
  Text order = reply.text();
  unsigned reason;
  if (order == "poweroff" || order == "halt") {
    reason = SHUTDOWN_poweroff;
  } else if (order == "reboot") {
    reason = SHUTDOWN_reboot;
  } else {
    print("citizen refuses ", order, "\n");
    xenstore::write(kShutdownPath, "");
    return;
  }
  print("citizen ", order, "\n");
  xenstore::write(kShutdownPath, "");
  console::flush();
  shutdown(reason);
}

// One exchange: who am I, here are my devices, tell me when to stop, I am running. The last request is the statement
// that all before it are done, and xenstore serves a connection in order.
void introduce() {
  xenstore::RequestId domid = xenstore::send_read("domid");
  xenstore::RequestId name = xenstore::send_read("name");
  xenstore::RequestId writes[2 * kCitizenDeviceCount + 2];
  unsigned count = 0;
  for (Device& device : devices) {
    writes[count++] = xenstore::send_write(device.ring_ref_path, Decimal(device.grant).text());
    writes[count++] = xenstore::send_write(device.event_channel_path, Decimal(device.channel.port).text());
  }
  writes[count++] = xenstore::send_watch(kShutdownPath, "s");
  xenstore::RequestId order = xenstore::send_read(kShutdownPath);
  xenstore::RequestId running = xenstore::send_write("data/state", "running");

  const xenstore::Message* reply = &xenstore::wait(domid);
  page.xenstore_ns = clock::now_ns();
  if (reply->is_error()) fail("domid");
  page.domid = static_cast<uint32_t>(number_in(reply->text()));
  reply = &xenstore::wait(name);
  if (!option::given("quiet")) {
    print("citizen ", reply->is_error() ? Text("?") : reply->text(), " domid ", page.domid, " up\n");
    page.console_ns = clock::now_ns();
  }
  for (unsigned i = 0; i < count; ++i) {
    reply = &xenstore::wait(writes[i]);
    if (reply->is_error()) fail(reply->text());
  }
  const xenstore::Message& shutdown_order = xenstore::wait(order);
  bool ordered = !shutdown_order.is_error() && !shutdown_order.text().empty();
  if (xenstore::wait(running).is_error()) fail("data/state");
  page.running_ns = clock::now_ns();
  if (ordered) obey(xenstore::read(kShutdownPath));
}

// Counts the beats that were due, and asks for the next one. Always on the schedule start + n * period.
void beat() {
  uint64_t now = clock::now_ns();
  uint64_t due = timer_call.timeout_abs_ns;
  if (now >= due) {
    uint64_t late = now - due;
    uint64_t skipped = late / page.period_ns;
    page.missed += skipped;
    // The last of those that were due is this one.
    page.last_late_ns = late - skipped * page.period_ns;
    if (late > page.worst_late_ns) page.worst_late_ns = late;
    ++page.beats;
    timer_call.timeout_abs_ns = due + (skipped + 1) * page.period_ns;
  }
  common_batch.add(__HYPERVISOR_vcpu_op, VCPUOP_set_singleshot_timer, 0, &timer_call);
}

void answer(CitizenDevice device) {
  ++page.pings_answered[device];
  common_batch.add(__HYPERVISOR_event_channel_op, EVTCHNOP_send, &devices[device].answer);
}

// Until the ring is empty: reading the node may have taken the event that announced more.
void follow_orders() {
  while (xenstore::take_watch_event()) {
    if (reported) obey(xenstore::read(kShutdownPath));
    reported = true;
  }
}

[[noreturn]] void serve() {
  const Port ports[] = {timer_port, devices[kCitizenVif].channel.port, devices[kCitizenVbd].channel.port,
                        xenstore::port()};
  follow_orders();
  page.start_ns = clock::now_ns();
  timer_call.timeout_abs_ns = page.start_ns + page.period_ns;
  common_batch.add(__HYPERVISOR_vcpu_op, VCPUOP_set_singleshot_timer, 0, &timer_call);
  for (;;) {
    bool fired = false, pinged[kCitizenDeviceCount] = {}, store = false;
    // Ends: an event that comes again in the meantime is taken again, but each costs its sender a hypercall.
    for (Port port = events::take(); port != 0; port = events::take()) {
      if (port == timer_port) fired = true;
      if (port == ports[1]) pinged[kCitizenVif] = true;
      if (port == ports[2]) pinged[kCitizenVbd] = true;
      if (port == xenstore::port()) store = true;
    }
    if (store) follow_orders();
    if (fired) beat();
    if (pinged[kCitizenVif]) answer(kCitizenVif);
    if (pinged[kCitizenVbd]) answer(kCitizenVbd);
    console::flush_into(common_batch);
    xenstore::flush_into(common_batch);
    events::run_and_poll(common_batch, ports, sizeof ports / sizeof ports[0]);
    ++page.wakeups;
  }
}

}  // namespace

extern "C" [[noreturn]] void guest_main(const start_info_t* info) {
  start(info);
  page.entered_ns = clock::now_ns() - clock::since_ns(entry_tsc);
  page.version = kCitizenVersion;
  page.event_abi = events::abi() == EventAbi::kFifo;
  page.period_ns = option::number("beat_ms", 1000) * kNsPerMs;
  if (page.period_ns == 0) page.period_ns = kNsPerMs;
  __atomic_store_n(&page.magic, kCitizenMagic, __ATOMIC_RELEASE);
  share_page();
  introduce();
  serve();
}

}  // namespace xenopolis::guest
