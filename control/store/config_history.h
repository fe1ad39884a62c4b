// The configuration as people made it, and every accepted change as a numbered generation with what each
// object was before and after. The current objects are kept as rows; an older state is reached by undoing
// generations.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "viaduct/fault.h"
#include "viaduct/model.h"

#include "store/database.h"

namespace viaduct::store {

/// One object's part in a generation. JSON texts; nothing where it was not there.
struct ObjectChange {
    std::string object;  ///< "bridges/br0", "ports/web-1", "routes/default/10.0.0.0/8", "attachments/..."
    std::optional<std::string> before;
    std::optional<std::string> after;
    friend bool operator==(const ObjectChange&, const ObjectChange&) = default;
};

inline constexpr const char* kConfiguration = "configuration";  ///< changes by people; can be rolled back
inline constexpr const char* kAttachment = "attachment";        ///< changes by CNI; only told

struct Generation {
    std::int64_t number = 0;  ///< 1, 2, ...; 0 is the empty state before the first
    std::int64_t time = 0;    ///< seconds since 1970
    std::string kind;
    std::string comment;
    std::vector<ObjectChange> changes;
};

/// Most generations kept of each kind; older ones are forgotten.
inline constexpr std::int64_t kGenerationsKept = 10000;

const std::vector<Migration>& config_migrations();

/// What people configured, as it is now. Read from the tables once a process; the copy in memory changes with
/// each commit.
std::shared_ptr<const model::Config> present_config(Transaction& tx);
model::Config load_config(Transaction& tx);
/// Number of the newest generation of any kind; 0 when there is none.
std::int64_t newest_generation(Transaction& tx);
/// Makes a generation of `kind` and returns its number. For a change of the configuration use
/// change_config().
std::int64_t record(Transaction& tx, const std::string& kind, const std::string& comment,
                    const std::vector<ObjectChange>& changes);
/// Writes the objects that differ between `before` (what load_config gave) and `after`, and records the
/// generation.
std::int64_t change_config(Transaction& tx, const model::Config& before, const model::Config& after,
                           const std::string& comment);
/// Until its end this transaction, which must not be committed, sees `config` as what people configured: for
/// looking at what would come of it, without writing a row.
void suppose(Transaction& tx, const model::Config& config);
/// Undoes the newest configuration change, or takes an attachment's generation out of the history: it was
/// refused.
void withdraw(Transaction& tx, std::int64_t number);

/// Newest first, at most `most`, only below `before` when that is not 0; without their changes.
std::vector<Generation> history(Transaction& tx, std::int64_t most, std::int64_t before = 0);
/// One generation with its changes; throws Refused when there is none by that number.
Generation generation(Transaction& tx, std::int64_t number);
/// The configuration as it was after generation `number`; throws Refused when that is not known (any more).
model::Config config_at(Transaction& tx, std::int64_t number);
/// What turned `from` into `to`, by object.
std::vector<ObjectChange> changes_between(const model::Config& from, const model::Config& to);

}  // namespace viaduct::store
