// One faulty object must not keep the others from being restored: which objects faults speak of, and how a
// target does without them.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "viaduct/fault.h"
#include "viaduct/model.h"

namespace viaduct::reconcile {

/// Objects ("bridges/br0", "ports/web-1", "routes/default/10.0.0.0/8") and why they were left out.
using LeftOut = std::map<std::string, std::string>;

/// The object that a fault's place speaks of ("ports/web-1" for "put/ports/web-1/mtu"); empty when it names
/// none.
std::string object_of(const std::string& where);

/// Takes what `faults` name out of `target`, each noted in `left_out`: what is in force in another form stays
/// as it is in force (or, named a second time, goes), what is in force and should go stays. Returns whether
/// `target` changed; when it did not, the faults are of no help.
bool leave_out(model::Config& target, const model::Config& in_force, const Faults& faults, LeftOut& left_out);

/// One object's part of a change; any run of them, added one after the other, is a change of its own.
struct Step {
    std::string object;
    std::function<void(model::Change&)> add;
};

/// `change` (which must outlive it) cut into steps, in an order in which they can be applied.
std::vector<Step> one_by_one(const model::Change& change);

/// `change` without what is in force already and without deletions of what is gone already.
model::Change without_done(const model::Change& change, const model::Config& in_force);

/// How many objects a change puts and deletes, in words.
std::string counted(const model::Change& change);

}  // namespace viaduct::reconcile
