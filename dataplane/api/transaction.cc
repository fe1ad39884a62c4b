#include "api/transaction.h"

#include <algorithm>
#include <array>

#include <json/json.h>

#include "viaduct/fault.h"
#include "viaduct/json.h"
#include "viaduct/model_kinds.h"

namespace viaduct::dataplane {

namespace {

/// "1 bridges, 2 ports"
template <typename Count>
std::string counted(const Count& count) {
    static constexpr std::size_t kAlwaysTold = 3;
    static constexpr std::array<std::string_view, kAlwaysTold> always{"bridges", "ports", "fdb"};
    std::string words;
    model::for_each_kind([&](const auto& kind) {
        const auto number = count(kind);
        if (number == 0 && std::ranges::find(always, kind.name) == always.end()) return;
        words += (words.empty() ? "" : ", ") + std::to_string(number) + " " + kind.name;
    });
    return words;
}

}  // namespace

std::string in_words(const model::Change& change) {
    return "put " + counted([&](const auto& kind) { return (change.put.*kind.objects).size(); }) +
           "; deleted " + counted([&](const auto& kind) { return (change.*kind.deleted).size(); });
}

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
