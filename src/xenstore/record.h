// What a journal consists of: the requests that changed something, in order, and how far rings have come.
//
// A record is a header and a payload, padded to 8 bytes. Most are a request as its client sent it (types below
// kRingRecord are those of xs_wire.h), by the domain that sent it, outside of transactions: to read a journal is to
// have the server handle them once more.
#pragma once

#include <cstring>
#include <string>
#include <string_view>

#include "xen_abi/xen.h"

namespace xenopolis::xenstore {

inline constexpr uint16_t kRingRecord = 0x8000;      // RingRecord::encode()
inline constexpr uint16_t kShutDownRecord = 0x8001;  // the domain has shut down; no payload
// In a checkpoint, parents before their children: a node's depth (the root's is 0) and the length of its name, 2 bytes
// each, its name, its value. It has its parent's rights, but if such a record follows with others, as GET_PERMS has
// them.
inline constexpr uint16_t kNodeRecord = 0x8002;
inline constexpr uint16_t kPermsRecord = 0x8003;

struct Record {
  uint16_t type = 0;
  DomId domid = kDom0;
  std::string_view payload;
};

inline constexpr size_t kRecordHeaderBytes = 8;
inline constexpr size_t record_bytes(size_t payload_bytes) {
  return (kRecordHeaderBytes + payload_bytes + 7) / 8 * 8;
}

inline void append_record(std::string& out, uint16_t type, DomId domid, std::string_view payload) {
  const uint32_t bytes = static_cast<uint32_t>(payload.size());
  const size_t end = out.size() + record_bytes(payload.size());
  out.append(reinterpret_cast<const char*>(&bytes), 4);
  out.append(reinterpret_cast<const char*>(&type), 2);
  out.append(reinterpret_cast<const char*>(&domid), 2);
  out.append(payload);
  out.resize(end);
}

// Takes the first record off `records`. False: there is none, or not all of it.
inline bool take_record(std::string_view& records, Record& record) {
  uint32_t bytes = 0;
  if (records.size() < kRecordHeaderBytes) return false;
  std::memcpy(&bytes, records.data(), 4);
  std::memcpy(&record.type, records.data() + 4, 2);
  std::memcpy(&record.domid, records.data() + 6, 2);
  if (record_bytes(bytes) > records.size()) return false;
  record.payload = records.substr(kRecordHeaderBytes, bytes);
  records.remove_prefix(record_bytes(bytes));
  return true;
}

}  // namespace xenopolis::xenstore
