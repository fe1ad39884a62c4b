// A transaction's body, read from a stranger: POST /v1/transactions.
#pragma once

#include <string_view>

#include "viaduct/model.h"

namespace viaduct::dataplane {

struct Transaction {
    model::Change change;
    bool dry_run = false;
};

/// {"put": {...}, "delete": {...}, "dry_run": bool}, all optional. Throws Refused with every fault in the
/// text; what can only be known by the dataplane (names that do not exist, room that is not there) is not
/// checked here.
Transaction read_transaction(std::string_view body);

}  // namespace viaduct::dataplane
