// Durable state: a thin layer over SQLite in which nothing can be read or written outside a transaction, what
// was committed has reached the disk, and every failure is a sentence that names the file.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

struct sqlite3_stmt;

namespace viaduct::store {

/// The store could not be opened, read or written; nothing of the transaction happened.
class Error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// There is no space for what was to be written; see Database::make_room.
class DiskFull : public Error {
public:
    using Error::Error;
};

/// One step of one room's tables. Each room (a folder with tables) numbers its own steps 1, 2, ... without
/// gaps; a step that was released never changes, a new one is added after it.
struct Migration {
    std::string room;  ///< "store", "ipam", "pod"
    int version = 0;
    std::string sql;  ///< one or more statements
};

/// The store's file. One connection, which one transaction at a time has to itself: writers queue in this
/// process rather than in SQLite. Write-ahead log, synchronous=FULL. A lock beside the file keeps a second
/// process out.
class Database {
public:
    /// Opens or makes the file (its directory with mode 0700) and brings its tables up to date. Throws Error
    /// when it cannot: no permission, a full disk, a damaged file, one written by a newer Viaduct, one that
    /// is in use.
    Database(const std::string& path, const std::vector<Migration>& migrations);
    ~Database();
    Database(const Database&) = delete;
    Database& operator=(const Database&) = delete;

    [[nodiscard]] const std::string& path() const;

    /// After DiskFull, for what gives space back and must not wait for some (a pod's end): lets go of a
    /// reserve on the disk and begins the log anew in the space that it has. Whoever fills the disk cannot
    /// take that. Outside any transaction of this thread.
    void make_room();

private:
    friend class Transaction;
    friend class Statement;
    struct State;
    std::unique_ptr<State> state_;
};

/// A prepared statement with its values bound: `?` by position. Belongs to its transaction and to one thread;
/// after the transaction's end it has no rows any more and must not be used.
class Statement {
public:
    Statement(Statement&& other) noexcept;
    Statement(const Statement&) = delete;
    Statement& operator=(const Statement&) = delete;
    Statement& operator=(Statement&&) = delete;
    ~Statement();

    /// Positions count from 1.
    void bind(int position, std::int64_t value);
    void bind(int position, std::string_view value);
    void bind_null(int position);

    /// To the next row; false after the last.
    bool step();
    /// Runs to the end, for statements without rows. Returns how many rows were inserted, changed or deleted.
    std::int64_t run();

    /// Columns count from 0; valid until the next step.
    [[nodiscard]] std::int64_t integer(int column) const;
    [[nodiscard]] std::string text(int column) const;
    [[nodiscard]] bool is_null(int column) const;
    [[nodiscard]] std::optional<std::string> optional_text(int column) const;

private:
    friend class Transaction;
    Statement(Database::State& state, std::string_view sql);
    void finish() noexcept;

    Database::State& state_;
    sqlite3_stmt* statement_ = nullptr;
};

/// Everything between its construction and commit() happens or does not. Without commit() it is rolled back.
/// Any thread; waits for other transactions of this process. Never hold one across a call to the dataplane,
/// and never begin a second on the same thread.
class Transaction {
public:
    /// What a commit survives. `process` spares the wait for the disk where losing the change to a power cut
    /// does no harm; whatever is committed to `disk` afterwards takes it along.
    enum class Survives : std::uint8_t { power_cut, process };

    explicit Transaction(Database& database, Survives survives = Survives::power_cut);
    ~Transaction();
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;

    /// `tx.prepare("SELECT mac FROM lease WHERE pod = ? AND vlan = ?", name, 10)`
    template <typename... Values>
    Statement prepare(std::string_view sql, const Values&... values) {
        Statement statement = statement_for(sql);
        int position = 0;
        (bind_one(statement, ++position, values), ...);
        return statement;
    }
    /// A statement without rows, run at once. Returns how many rows it changed.
    template <typename... Values>
    std::int64_t run(std::string_view sql, const Values&... values) {
        return prepare(sql, values...).run();
    }
    [[nodiscard]] std::int64_t last_row_id() const;

    /// Something made of the tables' content, kept in memory beside them so that it need not be made again by
    /// each transaction. Whoever changes that content keeps what it is then, or nothing: without commit()
    /// that is forgotten, while what was only read is good for those to come.
    enum class Content : std::uint8_t { only_read, changed };
    [[nodiscard]] const std::shared_ptr<const void>& kept() const;
    void keep(std::shared_ptr<const void> derived, Content content);

    /// On disk when it returns, unless it was to survive only the process. Throws Error when it cannot be (a
    /// full disk): then nothing happened.
    void commit();

private:
    Statement statement_for(std::string_view sql);
    template <typename T>
    static void bind_one(Statement& statement, int position, const T& value) {
        if constexpr (std::is_integral_v<T> || std::is_enum_v<T>) {
            statement.bind(position, static_cast<std::int64_t>(value));
        } else if constexpr (std::is_same_v<T, std::nullopt_t>) {
            statement.bind_null(position);
        } else if constexpr (requires { value.has_value(); }) {
            if (value) {
                bind_one(statement, position, *value);
            } else {
                statement.bind_null(position);
            }
        } else {
            statement.bind(position, std::string_view(value));
        }
    }

    void end();
    void finish_statements();

    Database::State& state_;
    Survives survives_;
    bool open_ = false;
    std::shared_ptr<const void> kept_;
    bool content_changed_ = false;
};

/// Runs what gives space back, in transactions of its own, and once more with room made where the disk is
/// full.
template <typename Work>
void give_back(Database& database, const Work& work) {
    try {
        return work();
    } catch (const DiskFull&) {
        database.make_room();
    }
    work();
}

}  // namespace viaduct::store
