ALTER TABLE tasks ADD COLUMN retry TEXT;            -- JSON object, as in the spec; NULL: the default
ALTER TABLE tasks ADD COLUMN not_before INTEGER;    -- NULL: at once
ALTER TABLE tasks ADD COLUMN replay_of BLOB;        -- the id of the task whose work it does again

-- A task is replayed once.
CREATE UNIQUE INDEX tasks_by_replay ON tasks (replay_of) WHERE replay_of IS NOT NULL;
