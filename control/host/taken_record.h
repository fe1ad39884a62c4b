// Taken interfaces as rows of the store.
#pragma once

#include <map>
#include <string>

#include "host/taken.h"

namespace viaduct::host {

/// Rows that cannot be read are told in the log and left where they are.
std::map<std::string, TakenInterface> load(store::Transaction& tx);
void save(store::Transaction& tx, const TakenInterface& row);
void erase(store::Transaction& tx, const std::string& name);

}  // namespace viaduct::host
