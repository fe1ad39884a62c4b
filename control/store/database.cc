// SQLite behind a mutex: one connection, statements prepared once and kept.
#include "store/database.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>

#include <sqlite3.h>

#include "viaduct/http.h"

namespace viaduct::store {

namespace {

using Clock = std::chrono::steady_clock;

constexpr off_t kReserveBytes = 256 * 1024;
/// Once it was given up, space for it is looked for so often.
constexpr std::chrono::minutes kReserveAgain{1};

/// What a code means to the person who has to mend it.
std::string reason_of(sqlite3* connection, int code) {
    switch (code & 0xff) {
        case SQLITE_FULL:
            return "the disk is full; free some space and try again";
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
            return "the file is damaged or is no store; move it away to start with an empty one, or put a "
                   "copy back";
        case SQLITE_READONLY:
            return "the file or its file system is read-only";
        case SQLITE_CANTOPEN:
            return "the file cannot be opened or made; check its directory and permissions";
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
            return "another program holds the file locked; close that one first";
        default:
            break;
    }
    const auto* message = connection != nullptr ? sqlite3_errmsg(connection) : sqlite3_errstr(code);
    return std::string(message) + " (SQLite code " + std::to_string(code) + ")";
}

void make_directory(const std::string& file) {
    const auto directory = std::filesystem::path(file).parent_path();
    std::error_code error;
    if (directory.empty() || std::filesystem::is_directory(directory, error)) return;
    std::filesystem::create_directories(directory.parent_path(), error);
    if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
        throw Error("the store " + file + " cannot be made: directory " + directory.string() + ": " +
                    std::strerror(errno));
    }
}

}  // namespace

struct Database::State {
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    explicit State(std::string file) : path(std::move(file)) {}
    ~State() {
        for (auto& [sql, statement] : idle)
            sqlite3_finalize(statement);
        if (connection != nullptr) sqlite3_close(connection);
    }

    [[noreturn]] void fail(int code) const {
        const auto what = "the store " + path + ": " + reason_of(connection, code);
        if ((code & 0xff) == SQLITE_FULL) throw DiskFull(what);
        throw Error(what);
    }
    void execute(const char* sql) const {
        if (const int code = sqlite3_exec(connection, sql, nullptr, nullptr, nullptr); code != SQLITE_OK)
            fail(code);
    }
    void lock_out_others();
    void open();
    void migrate(const std::vector<Migration>& migrations);
    void keep_reserve();
    void check_known(const std::vector<Migration>& migrations) const;
    [[nodiscard]] int version_of(const std::string& room) const;

    [[nodiscard]] std::string reserve() const { return path + ".reserve"; }

    std::string path;
    bool reserved = false;
    Clock::time_point reserve_tried;
    http::Descriptor lock;
    sqlite3* connection = nullptr;
    std::mutex mutex;                  ///< held by the transaction that is open
    std::shared_ptr<const void> kept;  ///< of what is committed
    /// Prepared, reset and in nobody's hands; by their text.
    std::multimap<std::string, sqlite3_stmt*, std::less<>> idle;
    /// In somebody's hands. A transaction's end finishes them while it still has the connection to itself:
    /// they commonly live to the end of the scope that committed.
    std::vector<Statement*> active;
};

void Database::State::lock_out_others() {
    const auto name = path + ".lock";
    lock = http::Descriptor(::open(name.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    if (!lock.valid()) {
        const bool full = errno == ENOSPC || errno == EDQUOT;
        throw Error("the store " + path + ": cannot open " + name + ": " +
                    (full ? "the disk is full; free some space and try again" : std::strerror(errno)));
    }
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
        throw Error("the store " + path +
                    ": another viaduct-control uses it; stop that one first, or name another "
                    "file with --store");
    }
}

void Database::State::open() {
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (const int code = sqlite3_open_v2(path.c_str(), &connection, flags, nullptr); code != SQLITE_OK)
        fail(code);
    ::chmod(path.c_str(), 0600);
    sqlite3_extended_result_codes(connection, 1);
    sqlite3_busy_timeout(connection, 5000);
    execute("PRAGMA journal_mode=WAL");
    execute("PRAGMA synchronous=FULL");
    execute("PRAGMA foreign_keys=ON");
    sqlite3_stmt* check = nullptr;
    if (const int code = sqlite3_prepare_v2(connection, "PRAGMA quick_check(1)", -1, &check, nullptr);
        code != SQLITE_OK) {
        fail(code);
    }
    const int code = sqlite3_step(check);
    const auto* text = code == SQLITE_ROW ? sqlite3_column_text(check, 0) : nullptr;
    const bool sound = text != nullptr && std::strcmp(reinterpret_cast<const char*>(text), "ok") == 0;
    sqlite3_finalize(check);
    if (!sound) fail(code == SQLITE_ROW ? SQLITE_CORRUPT : code);
}

/// Space for the file to grow by while the log is folded into it. Without it nothing is lost but that.
void Database::State::keep_reserve() {
    const auto now = Clock::now();
    if (reserved || (reserve_tried != Clock::time_point{} && now - reserve_tried < kReserveAgain)) return;
    reserve_tried = now;
    const http::Descriptor file(::open(reserve().c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    reserved = file.valid() && ::posix_fallocate(file.get(), 0, kReserveBytes) == 0;
    if (!reserved) ::unlink(reserve().c_str());
}

int Database::State::version_of(const std::string& room) const {
    sqlite3_stmt* query = nullptr;
    int code =
        sqlite3_prepare_v2(connection, "SELECT version FROM schema WHERE room = ?", -1, &query, nullptr);
    if (code != SQLITE_OK) fail(code);
    sqlite3_bind_text(query, 1, room.c_str(), -1, SQLITE_TRANSIENT);
    code = sqlite3_step(query);
    const int version = code == SQLITE_ROW ? sqlite3_column_int(query, 0) : 0;
    sqlite3_finalize(query);
    if (code != SQLITE_ROW && code != SQLITE_DONE) fail(code);
    return version;
}

void Database::State::check_known(const std::vector<Migration>& migrations) const {
    std::map<std::string, int> known;
    for (const auto& one : migrations)
        known[one.room] = std::max(known[one.room], one.version);
    for (const auto& [room, version] : known) {
        if (version_of(room) > version) {
            throw Error("the store " + path + ": its \"" + room + "\" tables have version " +
                        std::to_string(version_of(room)) + " and this program knows " +
                        std::to_string(version) + "; run the newer Viaduct that wrote it");
        }
    }
}

void Database::State::migrate(const std::vector<Migration>& migrations) {
    execute("BEGIN IMMEDIATE");
    try {
        execute(
            "CREATE TABLE IF NOT EXISTS schema (room TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT "
            "ROWID");
        check_known(migrations);
        for (const auto& one : migrations) {
            if (one.version <= version_of(one.room)) continue;
            execute(one.sql.c_str());
            const auto note = "INSERT INTO schema VALUES ('" + one.room + "', " +
                              std::to_string(one.version) +
                              ") ON CONFLICT (room) DO UPDATE SET version = excluded.version";
            execute(note.c_str());
        }
        execute("COMMIT");
    } catch (...) {
        sqlite3_exec(connection, "ROLLBACK", nullptr, nullptr, nullptr);
        throw;
    }
}

Database::Database(const std::string& path, const std::vector<Migration>& migrations)
    : state_(std::make_unique<State>(path)) {
    make_directory(path);
    state_->lock_out_others();
    state_->open();
    state_->migrate(migrations);
    state_->keep_reserve();
}

Database::~Database() = default;

void Database::make_room() {
    const std::scoped_lock lock(state_->mutex);
    ::unlink(state_->reserve().c_str());
    state_->reserved = false;
    state_->reserve_tried = Clock::now();
    // Fails when even the reserve is not enough: then what is tried next fails, and says so.
    sqlite3_wal_checkpoint_v2(state_->connection, nullptr, SQLITE_CHECKPOINT_RESTART, nullptr, nullptr);
}

const std::string& Database::path() const {
    return state_->path;
}

Statement::Statement(Database::State& state, std::string_view sql) : state_(state) {
    if (const auto found = state.idle.find(sql); found != state.idle.end()) {
        statement_ = found->second;
        state.idle.erase(found);
        state.active.push_back(this);
        return;
    }
    const int code = sqlite3_prepare_v3(state.connection, sql.data(), static_cast<int>(sql.size()),
                                        SQLITE_PREPARE_PERSISTENT, &statement_, nullptr);
    if (code != SQLITE_OK) state.fail(code);
    state.active.push_back(this);
}

Statement::Statement(Statement&& other) noexcept : state_(other.state_), statement_(other.statement_) {
    other.statement_ = nullptr;
    if (statement_ != nullptr) std::replace(state_.active.begin(), state_.active.end(), &other, this);
}

Statement::~Statement() {
    if (statement_ == nullptr) return;
    std::erase(state_.active, this);
    finish();
}

void Statement::finish() noexcept {
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
    state_.idle.emplace(sqlite3_sql(statement_), statement_);
    statement_ = nullptr;
}

void Statement::bind(int position, std::int64_t value) {
    if (const int code = sqlite3_bind_int64(statement_, position, value); code != SQLITE_OK)
        state_.fail(code);
}

void Statement::bind(int position, std::string_view value) {
    // An empty view may have a null pointer, which SQLite would take for NULL.
    const char* data = value.data() != nullptr ? value.data() : "";
    const int code =
        sqlite3_bind_text64(statement_, position, data, value.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
    if (code != SQLITE_OK) state_.fail(code);
}

void Statement::bind_null(int position) {
    if (const int code = sqlite3_bind_null(statement_, position); code != SQLITE_OK) state_.fail(code);
}

bool Statement::step() {
    const int code = sqlite3_step(statement_);
    if (code == SQLITE_ROW) return true;
    if (code != SQLITE_DONE) state_.fail(code);
    return false;
}

std::int64_t Statement::run() {
    while (step()) {
    }
    return sqlite3_changes64(state_.connection);
}

std::int64_t Statement::integer(int column) const {
    return sqlite3_column_int64(statement_, column);
}

std::string Statement::text(int column) const {
    const auto* text = sqlite3_column_text(statement_, column);
    if (text == nullptr) return {};
    return {reinterpret_cast<const char*>(text),
            static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

bool Statement::is_null(int column) const {
    return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

std::optional<std::string> Statement::optional_text(int column) const {
    return is_null(column) ? std::nullopt : std::optional(text(column));
}

Transaction::Transaction(Database& database, Survives survives)
    : state_(*database.state_), survives_(survives) {
    state_.mutex.lock();
    try {
        // SQLite takes this only between transactions. In a write-ahead log NORMAL means: no wait at a
        // commit.
        if (survives_ == Survives::process) state_.execute("PRAGMA synchronous=NORMAL");
        state_.execute("BEGIN IMMEDIATE");
        open_ = true;
        kept_ = state_.kept;
    } catch (...) {
        end();
        throw;
    }
}

void Transaction::finish_statements() {
    for (auto* statement : state_.active)
        statement->finish();
    state_.active.clear();
}

Transaction::~Transaction() {
    if (open_) finish_statements();
    // SQLite has rolled back by itself after some errors; then there is nothing left to undo.
    if (open_ && sqlite3_get_autocommit(state_.connection) == 0) {
        sqlite3_exec(state_.connection, "ROLLBACK", nullptr, nullptr, nullptr);
    }
    if (open_) end();
}

void Transaction::end() {
    open_ = false;
    if (survives_ == Survives::process) {
        sqlite3_exec(state_.connection, "PRAGMA synchronous=FULL", nullptr, nullptr, nullptr);
    }
    state_.mutex.unlock();
}

Statement Transaction::statement_for(std::string_view sql) {
    if (!open_) throw Error("the store " + state_.path + ": the transaction has ended already");
    return {state_, sql};
}

std::int64_t Transaction::last_row_id() const {
    return sqlite3_last_insert_rowid(state_.connection);
}

void Transaction::commit() {
    if (!open_ || sqlite3_get_autocommit(state_.connection) != 0) {
        throw Error("the store " + state_.path + ": the transaction has ended already");
    }
    finish_statements();
    state_.execute("COMMIT");
    state_.kept = kept_;
    state_.keep_reserve();
    end();
}

const std::shared_ptr<const void>& Transaction::kept() const {
    return kept_;
}

void Transaction::keep(std::shared_ptr<const void> derived, Content content) {
    kept_ = std::move(derived);
    content_changed_ = content_changed_ || content == Content::changed;
    if (!content_changed_) state_.kept = kept_;
}

}  // namespace viaduct::store
