// What polisd believes of a cell's message: cells run guests, and who has taken one over writes what he likes.
#pragma once

#include "base/result.h"
#include "vcpu/cell_protocol.h"

namespace xenopolis::toolstack {

// The message as it may be acted on: of a kind that there is, about a domain that there may be, with an errno where one
// belongs and none elsewhere, and with a text that ends, is no more than one line and, if something failed, is not
// empty. Whether it is the cell's to say remains to be seen. EPROTO: there is no sense in it.
Result<vcpu::CellReply> checked(const vcpu::CellReply& reply);

}  // namespace xenopolis::toolstack
