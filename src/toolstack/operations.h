// What clients of the control socket can ask for (control_server.h): decoding, the call, the answer.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <unordered_map>

#include "toolstack/control_server.h"
#include "xen_abi/xen.h"

namespace xenopolis::toolstack {

class Host;

class Operations {
 public:
  explicit Operations(Host& host);
  void handle(ControlServer::ClientId client, const nlohmann::json& request);

 private:
  struct Call {
    ControlServer::ClientId client;
    const nlohmann::json& request;
  };
  using Operation = void (Operations::*)(const Call& call);

  void create(const Call& call);
  void destroy(const Call& call);
  void shutdown(const Call& call);
  void pause(const Call& call);
  void unpause(const Call& call);
  void trigger(const Call& call);
  void rename(const Call& call);
  void sysrq(const Call& call);
  void list(const Call& call);
  void domain(const Call& call);
  void event_channels(const Call& call);
  void info(const Call& call);
  void subscribe(const Call& call);
  void attach(const Call& call);
  void audit(const Call& call);
  void stop(const Call& call);

  void reply(const Call& call, nlohmann::json answer = nlohmann::json::object());
  void refuse(const Call& call, const Error& error);
  // For an answer that comes later: the call's request must live as long.
  std::function<void(Status)> later(const Call& call);
  // The domain that "domid" or "name" say; 0, and the call refused, when there is none.
  DomId domain_of(const Call& call);

  Host& host_;
  const std::unordered_map<std::string, Operation> operations_;
};

}  // namespace xenopolis::toolstack
