// libxenstore, with its failures as the end of the program.
#pragma once

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "common/basics.h"
#include "domain_nodes.h"

// It does not say itself that it is C.
extern "C" {
#include <xenstore.h>
}

namespace xenopolis::bench {

struct Freer {
  void operator()(void* memory) const { std::free(memory); }
};
template <class T>
using FromMalloc = std::unique_ptr<T, Freer>;

// The library finds the socket by the environment: XENSTORED_PATH must be set.
class LibraryClient {
 public:
  LibraryClient() : handle_(xs_open(0)) {
    if (!handle_) give_up("xs_open: {}", std::strerror(errno));
  }

  xs_handle* get() const { return handle_.get(); }

  std::string read(const std::string& path, xs_transaction_t transaction = XBT_NULL) {
    unsigned length = 0;
    const FromMalloc<char> value(static_cast<char*>(xs_read(get(), transaction, path.c_str(), &length)));
    done(value != nullptr, "read", path);
    return {value.get(), length};
  }
  void write(const std::string& path, const std::string& value, xs_transaction_t transaction = XBT_NULL) {
    done(xs_write(get(), transaction, path.c_str(), value.data(), static_cast<unsigned>(value.size())), "write", path);
  }
  unsigned count_children(const std::string& path) {
    unsigned count = 0;
    const FromMalloc<char*> names(xs_directory(get(), XBT_NULL, path.c_str(), &count));
    done(names != nullptr, "directory", path);
    return count;
  }
  void make_directory(const std::string& path, xs_transaction_t transaction = XBT_NULL) {
    done(xs_mkdir(get(), transaction, path.c_str()), "mkdir", path);
  }
  // What is not there is removed already.
  void remove(const std::string& path, xs_transaction_t transaction = XBT_NULL) {
    done(xs_rm(get(), transaction, path.c_str()) || errno == ENOENT, "rm", path);
  }
  xs_transaction_t begin() {
    const xs_transaction_t transaction = xs_transaction_start(get());
    done(transaction != XBT_NULL, "transaction", "start");
    return transaction;
  }
  // False: a conflict.
  bool commit(xs_transaction_t transaction) {
    const bool committed = xs_transaction_end(get(), transaction, false);
    done(committed || errno == EAGAIN, "transaction", "end");
    return committed;
  }
  void perform(const NodeRequest& request, xs_transaction_t transaction = XBT_NULL);

  void done(bool success, const char* what, const std::string& path) const {
    if (!success) give_up("{} {}: {}", what, path, std::strerror(errno));
  }

 private:
  struct Closer {
    void operator()(xs_handle* handle) const { xs_close(handle); }
  };
  std::unique_ptr<xs_handle, Closer> handle_;
};

}  // namespace xenopolis::bench
