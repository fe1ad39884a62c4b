// A transaction's body, read from a stranger: POST /v1/transactions.
#pragma once

#include <string>
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

/// What a change does, for the log: "put 1 bridges, 2 ports, 0 fdb; deleted 0 bridges, 0 ports, 0 fdb". Kinds
/// beside these three are there when there are some of them.
std::string in_words(const model::Change& change);

}  // namespace viaduct::dataplane
