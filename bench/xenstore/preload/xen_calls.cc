// Preloaded into an unmodified xenstored (Debian: xen-utils-4.17), this answers what it asks of Xen, so that it runs
// where there is none: event channels are fifos, grants are pages of a file, and every domain exists and is alive.
// The functions are those that the program imports, as `nm -D` shows; their rules are in the headers.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "shared_files.h"

// They do not say themselves that they are C.
extern "C" {
#include <xenctrl.h>
#include <xenevtchn.h>
#include <xengnttab.h>
}

using namespace xenopolis::bench;

struct xenevtchn_handle {
  int from_guests;
  int to_guests;
};
struct xengntdev_handle {
  int pages;
};

namespace {

xenevtchn_handle events{-1, -1};
xengntdev_handle grants{-1};
char nothing;  // what a handle of libxenctrl points to

using Open = int (*)(const char*, int, ...);

Open libc_open() {
  static const Open function = reinterpret_cast<Open>(dlsym(RTLD_NEXT, "open"));
  return function;
}

int open_shared(const char* name, int flags) {
  const char* directory = getenv(kXenDirectory);
  char path[4096];
  if (directory == nullptr || std::snprintf(path, sizeof path, "%s/%s", directory, name) >= int{sizeof path}) {
    std::fprintf(stderr, "%s is not set to a directory\n", kXenDirectory);
    errno = ENOENT;
    return -1;
  }
  const int fd = libc_open()(path, flags | O_CLOEXEC);
  if (fd < 0) std::fprintf(stderr, "%s: %s\n", path, std::strerror(errno));
  return fd;
}

}  // namespace

extern "C" {

// --- files of the kernel: those of /proc/xen

int open(const char* path, int flags, ...) {
  const size_t prefix = std::strlen(kProcXen);
  if (std::strncmp(path, kProcXen, prefix) == 0) return open_shared(path + prefix, flags);
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return libc_open()(path, flags, mode);
}

// --- libxenevtchn

xenevtchn_handle* xenevtchn_open(xentoollog_logger*, unsigned int) {
  // Both ways, so that a fifo never comes to its end.
  events.from_guests = open_shared(kToDaemonFifo, O_RDWR | O_NONBLOCK);
  events.to_guests = open_shared(kToGuestsFifo, O_RDWR | O_NONBLOCK);
  return events.from_guests < 0 || events.to_guests < 0 ? nullptr : &events;
}

xenevtchn_handle* xenevtchn_fdopen(xentoollog_logger*, int, unsigned) {
  errno = ENOSYS;  // for live update only
  return nullptr;
}

int xenevtchn_fd(xenevtchn_handle* handle) {
  return handle->from_guests;
}

int xenevtchn_notify(xenevtchn_handle* handle, evtchn_port_t port) {
  const uint32_t domid = port;
  // A full fifo: nobody listens, and who begins to looks at the ring first.
  if (write(handle->to_guests, &domid, sizeof domid) == sizeof domid || errno == EAGAIN) return 0;
  return -1;
}

xenevtchn_port_or_error_t xenevtchn_bind_interdomain(xenevtchn_handle*, uint32_t domid, evtchn_port_t) {
  return static_cast<xenevtchn_port_or_error_t>(domid);
}

xenevtchn_port_or_error_t xenevtchn_bind_virq(xenevtchn_handle*, unsigned int) {
  return kVirqPort;
}

int xenevtchn_unbind(xenevtchn_handle*, evtchn_port_t) {
  return 0;
}

xenevtchn_port_or_error_t xenevtchn_pending(xenevtchn_handle* handle) {
  uint32_t domid = 0;
  return read(handle->from_guests, &domid, sizeof domid) == sizeof domid ? static_cast<xenevtchn_port_or_error_t>(domid)
                                                                         : -1;
}

// Xen's device takes a write here, one system call a turn.
int xenevtchn_unmask(xenevtchn_handle*, evtchn_port_t) {
  return 0;
}

// --- libxengnttab

xengnttab_handle* xengnttab_open(xentoollog_logger*, unsigned) {
  grants.pages = open_shared(kPagesFile, O_RDWR);
  return grants.pages < 0 ? nullptr : &grants;
}

int xengnttab_close(xengnttab_handle* handle) {
  return close(handle->pages);
}

int xengnttab_set_max_grants(xengnttab_handle*, uint32_t) {
  return 0;
}

// The only grant that is asked for is that of a domain's store page.
void* xengnttab_map_grant_ref(xengnttab_handle* handle, uint32_t domid, uint32_t, int protection) {
  if (domid >= kDomains) {
    errno = EINVAL;
    return nullptr;
  }
  void* page = mmap(nullptr, kPageBytes, protection, MAP_SHARED, handle->pages, off_t{domid} * kPageBytes);
  return page == MAP_FAILED ? nullptr : page;
}

int xengnttab_unmap(xengnttab_handle*, void* start, uint32_t count) {
  return munmap(start, size_t{count} * kPageBytes);
}

// --- libxenctrl

xc_interface* xc_interface_open(xentoollog_logger*, xentoollog_logger*, unsigned) {
  return reinterpret_cast<xc_interface*>(&nothing);
}

int xc_interface_close(xc_interface*) {
  return 0;
}

int xc_domain_getinfo(xc_interface*, uint32_t first_domid, unsigned int max_domains, xc_dominfo_t* info) {
  unsigned int count = 0;
  for (; count < max_domains && first_domid + count < kDomains; ++count) {
    info[count] = {};
    info[count].domid = first_domid + count;
    info[count].running = 1;
  }
  return static_cast<int>(count);
}

}  // extern "C"
