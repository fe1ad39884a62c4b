#include "api/transaction.h"

#include <json/json.h>

#include "viaduct/fault.h"
#include "viaduct/json.h"

namespace viaduct::dataplane {

Transaction read_transaction(std::string_view body) {
    const auto json = parse_json(body, "request body");
    if (!json.isObject())
        throw Refused("request body", "must be a JSON object with \"put\", \"delete\" and \"dry_run\"");
    Faults faults;
    Transaction transaction;
    transaction.change = model::change_from_json(json, "", faults, {"dry_run"});
    // A second reader for the one key beside the change; the first has found what is unknown.
    ObjectReader reader(json, "", faults);
    transaction.dry_run = reader.boolean("dry_run").value_or(false);
    if (!faults.empty()) throw Refused(std::move(faults));
    return transaction;
}

}  // namespace viaduct::dataplane
