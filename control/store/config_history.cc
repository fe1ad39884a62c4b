// Objects and generations as rows of JSON texts in the model's own form.
#include "store/config_history.h"

#include <algorithm>
#include <ctime>
#include <map>
#include <utility>

#include <json/json.h>

#include "viaduct/json.h"
#include "viaduct/model_kinds.h"

namespace viaduct::store {

namespace {

using Texts = std::map<std::string, std::string>;  ///< object to its JSON

constexpr const char* kTimeoutsObject = "timeouts/flows";
/// A generation of a million routes is one text.
constexpr JsonLimits kGenerationLimits{.bytes = std::size_t{1} << 30U, .depth = 32};

void no_longer_valid(const Faults& faults) {
    // Rows were written by this program from checked objects: a fault means that somebody else wrote them.
    if (!faults.empty()) throw Error("the store holds objects that are not valid: " + to_string(faults));
}

/// Reads one object into `config`; false when it is of another kind.
template <typename KindType>
bool read_object(const KindType& kind, const std::string& object, const std::string& text,
                 model::Config& config) {
    const std::string_view name = kind.name;
    if (object.size() <= name.size() || !object.starts_with(name) || object[name.size()] != '/') return false;
    Faults faults;
    auto read = kind.read(parse_json(text, object), object, faults);
    no_longer_valid(faults);
    if (!read) throw Error("the store holds an object that is not valid: " + object);
    auto key = model::key_of(*read);
    (config.*kind.objects).insert_or_assign(std::move(key), std::move(*read));
    return true;
}

model::Config config_of(const Texts& texts) {
    model::Config config;
    for (const auto& [object, text] : texts) {
        bool known = false;
        model::for_each_kind([&, &object = object, &text = text](const auto& kind) {
            known = known || read_object(kind, object, text, config);
        });
        if (known) continue;
        if (object != kTimeoutsObject) throw Error("the store holds an object of unknown kind: " + object);
        Json::Value json(Json::objectValue);
        json["timeouts"] = parse_json(text, object);
        Faults faults;
        config.timeouts = model::config_from_json(json, "", faults).timeouts;
        no_longer_valid(faults);
    }
    return config;
}

std::optional<std::string> text_of(const model::FlowTimeouts& timeouts) {
    if (timeouts == model::FlowTimeouts{}) return std::nullopt;
    return to_json_text(to_json(timeouts));
}

template <typename KindType>
void add_changes(const KindType& kind, const model::Config& from, const model::Config& to,
                 const model::Change& change, std::vector<ObjectChange>& list) {
    const auto& before = from.*kind.objects;
    const auto& after = to.*kind.objects;
    for (const auto& key : change.*kind.deleted)
        list.push_back({place_of(kind, key), to_json_text(to_json(before.at(key))), std::nullopt});
    for (const auto& [key, object] : change.put.*kind.objects) {
        const auto old = before.find(key);
        list.push_back(
            {place_of(kind, key),
             old == before.end() ? std::nullopt : std::optional(to_json_text(to_json(old->second))),
             to_json_text(to_json(after.at(key)))});
    }
}

Texts load_texts(Transaction& tx) {
    Texts texts;
    auto rows = tx.prepare("SELECT object, json FROM object ORDER BY object");
    while (rows.step())
        texts[rows.text(0)] = rows.text(1);
    return texts;
}

void write_object(Transaction& tx, const std::string& object, const std::optional<std::string>& text) {
    if (text) {
        tx.run(
            "INSERT INTO object (object, json) VALUES (?, ?) ON CONFLICT (object) DO UPDATE SET json = "
            "excluded.json",
            object, *text);
    } else {
        tx.run("DELETE FROM object WHERE object = ?", object);
    }
}

std::string to_text(const std::vector<ObjectChange>& changes) {
    Json::Value list(Json::arrayValue);
    for (const auto& change : changes) {
        Json::Value one(Json::objectValue);
        one["object"] = change.object;
        if (change.before) one["before"] = *change.before;
        if (change.after) one["after"] = *change.after;
        list.append(std::move(one));
    }
    return to_json_text(list);
}

std::vector<ObjectChange> from_text(const std::string& text) {
    std::vector<ObjectChange> changes;
    for (const auto& one : parse_json(text, "generation", kGenerationLimits)) {
        ObjectChange change;
        change.object = one["object"].asString();
        if (one.isMember("before")) change.before = one["before"].asString();
        if (one.isMember("after")) change.after = one["after"].asString();
        changes.push_back(std::move(change));
    }
    return changes;
}

/// Number of the newest generation of `kind` that was forgotten.
std::int64_t forgotten(Transaction& tx, const std::string& kind) {
    auto row = tx.prepare("SELECT number FROM forgotten WHERE kind = ?", kind);
    return row.step() ? row.integer(0) : 0;
}

void forget_old(Transaction& tx, const std::string& kind) {
    std::int64_t last = 0;
    {
        auto row =
            tx.prepare("SELECT number FROM generation WHERE kind = ? ORDER BY number DESC LIMIT 1 OFFSET ?",
                       kind, kGenerationsKept);
        if (!row.step()) return;
        last = row.integer(0);
    }
    tx.run("DELETE FROM generation WHERE kind = ? AND number <= ?", kind, last);
    tx.run("INSERT INTO forgotten VALUES (?, ?) ON CONFLICT (kind) DO UPDATE SET number = excluded.number",
           kind, last);
}

}  // namespace

const std::vector<Migration>& config_migrations() {
    static const std::vector<Migration> migrations = {
        {"store", 1,
         "CREATE TABLE object (object TEXT PRIMARY KEY, json TEXT NOT NULL) WITHOUT ROWID;"
         "CREATE TABLE generation (number INTEGER PRIMARY KEY, time INTEGER NOT NULL, kind TEXT NOT NULL,"
         "  comment TEXT NOT NULL, changes TEXT NOT NULL);"
         "CREATE INDEX generation_by_kind ON generation (kind, number);"
         "CREATE TABLE forgotten (kind TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;"}};
    return migrations;
}

std::shared_ptr<const model::Config> present_config(Transaction& tx) {
    if (auto kept = std::static_pointer_cast<const model::Config>(tx.kept())) return kept;
    auto config = std::make_shared<const model::Config>(config_of(load_texts(tx)));
    tx.keep(config, Transaction::Content::only_read);
    return config;
}

model::Config load_config(Transaction& tx) {
    return *present_config(tx);
}

std::int64_t newest_generation(Transaction& tx) {
    auto row = tx.prepare("SELECT max(number) FROM generation");
    return row.step() ? row.integer(0) : 0;
}

std::int64_t record(Transaction& tx, const std::string& kind, const std::string& comment,
                    const std::vector<ObjectChange>& changes) {
    tx.run("INSERT INTO generation (time, kind, comment, changes) VALUES (?, ?, ?, ?)", std::time(nullptr),
           kind, comment, to_text(changes));
    const auto number = tx.last_row_id();
    // Now and then is enough, and leaves most changes without that cost.
    if (number % 100 == 0) forget_old(tx, kind);
    return number;
}

std::vector<ObjectChange> changes_between(const model::Config& from, const model::Config& to) {
    const auto change = model::difference(from, to);
    std::vector<ObjectChange> list;
    model::for_each_kind([&](const auto& kind) { add_changes(kind, from, to, change, list); });
    if (!change.put_timeouts.empty())
        list.push_back({kTimeoutsObject, text_of(from.timeouts), text_of(to.timeouts)});
    std::sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.object < b.object; });
    return list;
}

std::int64_t change_config(Transaction& tx, const model::Config& before, const model::Config& after,
                           const std::string& comment) {
    const auto changes = changes_between(before, after);
    for (const auto& change : changes)
        write_object(tx, change.object, change.after);
    tx.keep(std::make_shared<const model::Config>(after), Transaction::Content::changed);
    return record(tx, kConfiguration, comment, changes);
}

void suppose(Transaction& tx, const model::Config& config) {
    tx.keep(std::make_shared<const model::Config>(config), Transaction::Content::changed);
}

void withdraw(Transaction& tx, std::int64_t number) {
    const auto withdrawn = generation(tx, number);
    if (withdrawn.kind == kConfiguration) {
        for (const auto& change : withdrawn.changes)
            write_object(tx, change.object, change.before);
        tx.keep(nullptr, Transaction::Content::changed);
    }
    tx.run("DELETE FROM generation WHERE number = ?", number);
}

std::vector<Generation> history(Transaction& tx, std::int64_t most, std::int64_t before) {
    std::vector<Generation> generations;
    auto rows = tx.prepare(
        "SELECT number, time, kind, comment FROM generation WHERE number < ? ORDER BY number DESC LIMIT ?",
        before != 0 ? before : INT64_MAX, most);
    while (rows.step())
        generations.push_back({rows.integer(0), rows.integer(1), rows.text(2), rows.text(3), {}});
    return generations;
}

Generation generation(Transaction& tx, std::int64_t number) {
    auto row =
        tx.prepare("SELECT number, time, kind, comment, changes FROM generation WHERE number = ?", number);
    if (!row.step()) {
        throw Refused("generation " + std::to_string(number),
                      "is not in the history; \"viaduct config history\" lists what is");
    }
    return {row.integer(0), row.integer(1), row.text(2), row.text(3), from_text(row.text(4))};
}

model::Config config_at(Transaction& tx, std::int64_t number) {
    const auto place = "generation " + std::to_string(number);
    if (number < 0 || number > newest_generation(tx)) {
        throw Refused(place, "is not in the history, which ends at " + std::to_string(newest_generation(tx)));
    }
    if (const auto last = forgotten(tx, kConfiguration); number < last) {
        throw Refused(place, "is no longer kept; the oldest that can be reached is " + std::to_string(last));
    }
    auto texts = load_texts(tx);
    auto rows =
        tx.prepare("SELECT changes FROM generation WHERE kind = ? AND number > ? ORDER BY number DESC",
                   kConfiguration, number);
    while (rows.step()) {
        for (const auto& change : from_text(rows.text(0))) {
            if (change.before) {
                texts[change.object] = *change.before;
            } else {
                texts.erase(change.object);
            }
        }
    }
    return config_of(texts);
}

}  // namespace viaduct::store
