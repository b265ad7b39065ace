-- Format 3.  Indexing runs that people can see and steer, and files in quarantine that are tried again.

CREATE TABLE run (                          -- people call it a job: `reelseek jobs`
    id      TEXT    PRIMARY KEY,
    number  INTEGER NOT NULL,               -- rises from run to run: the order in which they were asked for
    asked   TEXT    NOT NULL,               -- JSON: paths, pack, options
    state   TEXT    NOT NULL,               -- queued, running, paused, done, failed or cancelled
    created REAL    NOT NULL,               -- seconds of the epoch
    began   REAL,
    ended   REAL,
    counts  TEXT    NOT NULL,               -- JSON: name → number
    error   TEXT    NOT NULL,               -- the last one; empty: none
    wish    TEXT    NOT NULL DEFAULT ''     -- pause or cancel, from whoever wants that; empty: none
) WITHOUT ROWID;

ALTER TABLE quarantine ADD COLUMN tries INTEGER NOT NULL DEFAULT 1; -- how often it failed as it is
ALTER TABLE quarantine ADD COLUMN again REAL;                       -- tried again from then on; NULL: when it changed
