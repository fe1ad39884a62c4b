#include "uplink/taken.h"

namespace viaduct::uplink {

const std::vector<store::Migration>& migrations() {
    static const std::vector<store::Migration> steps{{"uplink", 1, R"(
        CREATE TABLE taken_device (
            address TEXT PRIMARY KEY,
            former TEXT NOT NULL,
            id TEXT NOT NULL
        ) WITHOUT ROWID;
    )"}};
    return steps;
}

std::map<std::string, Taken> load_taken(store::Transaction& tx) {
    std::map<std::string, Taken> all;
    auto rows = tx.prepare("SELECT address, former, id FROM taken_device");
    while (rows.step())
        all[rows.text(0)] = {rows.text(1), rows.text(2)};
    return all;
}

void save(store::Transaction& tx, const std::string& address, const Taken& taken) {
    tx.run("INSERT OR REPLACE INTO taken_device (address, former, id) VALUES (?, ?, ?)", address,
           taken.former, taken.id);
}

void forget(store::Transaction& tx, const std::string& address) {
    tx.run("DELETE FROM taken_device WHERE address = ?", address);
}

}  // namespace viaduct::uplink
