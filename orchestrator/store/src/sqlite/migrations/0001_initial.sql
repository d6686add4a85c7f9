-- Times are microseconds since 1970 in UTC. Ids are the 16 bytes of a UUID.

-- Who leads, or led last: at most one row.
CREATE TABLE lease (
    only_row    INTEGER PRIMARY KEY CHECK (only_row = 1),
    epoch       INTEGER NOT NULL,
    holder      TEXT NOT NULL,
    url         TEXT NOT NULL,
    public_url  TEXT NOT NULL,
    expires_at  INTEGER NOT NULL    -- 0: given up
) STRICT;

-- Totals, so that nobody has to count: always one row.
CREATE TABLE ledger (
    only_row        INTEGER PRIMARY KEY CHECK (only_row = 1),
    accepted        INTEGER NOT NULL,
    succeeded       INTEGER NOT NULL,
    failed          INTEGER NOT NULL,
    cancelled       INTEGER NOT NULL,
    last_commit_at  INTEGER
) STRICT;
INSERT INTO ledger VALUES (1, 0, 0, 0, 0, NULL);

-- Every task that was ever accepted. Rows are only ever added.
CREATE TABLE tasks (
    seq              INTEGER PRIMARY KEY,
    id               BLOB NOT NULL UNIQUE,
    pool             TEXT NOT NULL,
    priority         INTEGER NOT NULL,
    task_group       TEXT,
    labels           TEXT,          -- JSON object; NULL: none
    kind             TEXT NOT NULL,
    spec             TEXT NOT NULL, -- JSON object
    max_attempts     INTEGER NOT NULL,
    timeout_seconds  REAL NOT NULL,
    idempotency_key  TEXT,
    submitted_at     INTEGER NOT NULL
) STRICT;
CREATE INDEX tasks_by_group ON tasks (task_group, seq) WHERE task_group IS NOT NULL;
CREATE UNIQUE INDEX tasks_by_idempotency_key ON tasks (idempotency_key) WHERE idempotency_key IS NOT NULL;

-- The tasks without an outcome.
CREATE TABLE open_tasks (
    task_seq  INTEGER PRIMARY KEY
) STRICT;

CREATE TABLE attempts (
    task_seq           INTEGER NOT NULL,
    attempt            INTEGER NOT NULL,
    worker_pool        TEXT NOT NULL,
    worker_slot        INTEGER NOT NULL,
    worker_generation  INTEGER NOT NULL,
    epoch              INTEGER NOT NULL,
    started_at         INTEGER NOT NULL,
    ended_at           INTEGER,     -- NULL: it runs
    verdict            TEXT,        -- JSON object; NULL: not judged yet
    costs              INTEGER NOT NULL DEFAULT 0, -- 1: counts against max_attempts
    PRIMARY KEY (task_seq, attempt)
) STRICT, WITHOUT ROWID;

-- How tasks ended: one row each, only ever added.
CREATE TABLE outcomes (
    seq            INTEGER PRIMARY KEY,
    task_seq       INTEGER NOT NULL UNIQUE,
    task_group     TEXT,
    state          TEXT NOT NULL CHECK (state IN ('succeeded', 'failed', 'cancelled')),
    finished_at    INTEGER NOT NULL,
    result         TEXT,            -- JSON
    error_code     TEXT,
    error_message  TEXT
) STRICT;
CREATE INDEX outcomes_by_group ON outcomes (task_group, seq) WHERE task_group IS NOT NULL;
CREATE INDEX outcomes_without_result ON outcomes (state, task_seq) WHERE state <> 'succeeded';

-- The newest generation of each worker's slot.
CREATE TABLE slots (
    pool        TEXT NOT NULL,
    slot        INTEGER NOT NULL,
    generation  INTEGER NOT NULL,
    PRIMARY KEY (pool, slot)
) STRICT, WITHOUT ROWID;

CREATE TABLE obituaries (
    seq         INTEGER PRIMARY KEY,
    pool        TEXT NOT NULL,
    slot        INTEGER NOT NULL,
    generation  INTEGER NOT NULL,
    obituary    TEXT NOT NULL,      -- JSON object
    UNIQUE (pool, slot, generation)
) STRICT;

CREATE TABLE containers (
    no             INTEGER PRIMARY KEY,
    name           TEXT NOT NULL,
    container      TEXT NOT NULL,   -- Docker's id
    role           TEXT NOT NULL,
    registered_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX containers_by_name ON containers (name);

CREATE TABLE members (
    name        TEXT PRIMARY KEY,
    container   TEXT NOT NULL,      -- Docker's id
    url         TEXT NOT NULL,
    public_url  TEXT NOT NULL,
    blueprint   TEXT                -- JSON
) STRICT, WITHOUT ROWID;

-- Log lines, many to a row: what one commit brought.
CREATE TABLE log_chunks (
    first_seq  INTEGER PRIMARY KEY,
    last_seq   INTEGER NOT NULL,
    first_at   INTEGER NOT NULL,    -- the earliest time in it
    last_at    INTEGER NOT NULL,    -- the latest time in it
    lines      BLOB NOT NULL        -- see chunk.rs
) STRICT;
CREATE INDEX log_chunks_by_time ON log_chunks (last_at, first_at);
