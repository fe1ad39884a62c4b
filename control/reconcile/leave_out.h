// One faulty object must not keep the others from being restored: which objects faults speak of, and how a
// target does without them.
#pragma once

#include <map>
#include <string>

#include "viaduct/fault.h"
#include "viaduct/model.h"

namespace viaduct::reconcile {

/// Objects ("bridges/br0", "ports/web-1", "fdb/br0/10/02:00:00:00:00:01") and why they were left out.
using LeftOut = std::map<std::string, std::string>;

/// The object that a fault's place speaks of ("ports/web-1" for "put/ports/web-1/mtu"); empty when it names
/// none.
std::string object_of(const std::string& where);

/// Takes what `faults` name out of `target`, each noted in `left_out`: what is in force in another form stays
/// as it is in force (or, named a second time, goes), what is in force and should go stays. Returns whether
/// `target` changed; when it did not, the faults are of no help.
bool leave_out(model::Config& target, const model::Config& in_force, const Faults& faults, LeftOut& left_out);

/// `change` cut into one change an object, in an order in which they can be applied.
std::vector<std::pair<std::string, model::Change>> one_by_one(const model::Change& change);

/// `change` without what is in force already and without deletions of what is gone already.
model::Change without_done(const model::Change& change, const model::Config& in_force);

/// "fdb/br0/10/02:00:00:00:00:01"
std::string fdb_object(const std::tuple<std::string, std::uint16_t, MacAddress>& key);

}  // namespace viaduct::reconcile
