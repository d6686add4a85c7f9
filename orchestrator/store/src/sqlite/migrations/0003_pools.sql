-- What callers made of pools.
CREATE TABLE pools (
    name       TEXT PRIMARY KEY,
    spec       TEXT,                -- JSON object; NULL: as the operator defines it
    is_paused  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What was ordered for a slot.
ALTER TABLE slots ADD COLUMN standing TEXT CHECK (standing IN ('drain', 'restart')); -- NULL: nothing
