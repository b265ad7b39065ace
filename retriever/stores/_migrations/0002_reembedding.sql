-- Format 2.  A library may hold the spaces of two recipes while it goes over from one to the other.

ALTER TABLE extent ADD COLUMN range_lo INTEGER;                   -- the row of its ranges; NULL: that of its first segment
ALTER TABLE extent ADD COLUMN added    INTEGER NOT NULL DEFAULT 0; -- 1: the new recipe brought it

CREATE TABLE reembedding (                  -- one row while there are two recipes, else none
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    searched   TEXT    NOT NULL,            -- old, new or both
    old_digest TEXT    NOT NULL,
    old_recipe TEXT    NOT NULL,
    old_spaces TEXT    NOT NULL,            -- JSON list of space ids
    new_digest TEXT    NOT NULL,
    new_recipe TEXT    NOT NULL,
    new_spaces TEXT    NOT NULL,
    content    BLOB    NOT NULL             -- as library.content, of media as the new recipe has them
);

CREATE TABLE beside (                       -- media as the new recipe has them, where the old one has them, too
    media   INTEGER PRIMARY KEY,
    recipe  TEXT    NOT NULL,
    missing TEXT    NOT NULL,               -- as in media
    content BLOB    NOT NULL,
    digest  BLOB    NOT NULL
);
