-- Format 5.  Who is told when something happens, what they were told, and how much whoever sends media may send.

CREATE TABLE hook (                          -- addresses that are told: people call it a webhook
    id         TEXT PRIMARY KEY,
    url        TEXT NOT NULL,
    secret     TEXT NOT NULL,                -- whsec_…: readable, since what is sent is signed with it
    events     TEXT NOT NULL,                -- JSON list of the kinds that it hears of
    collection TEXT NOT NULL,                -- the one that it hears of; empty: all
    job        TEXT NOT NULL,                -- id of the one job that it hears of; empty: whatever happens
    owner      TEXT NOT NULL,                -- id of the key that set it; empty: nobody needs one
    active     INTEGER NOT NULL,             -- 0: nothing is sent to it
    created    REAL NOT NULL                 -- seconds of the epoch
) WITHOUT ROWID;

CREATE TABLE happening (                     -- what happened while there are hooks, until it is known who is to hear
    id    TEXT PRIMARY KEY,
    kind  TEXT NOT NULL,                     -- job.done, job.failed, job.cancelled, media.indexed, media.deleted
    about TEXT NOT NULL,                     -- JSON: id, and of a media that is gone what it was
    at    REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE delivery (                      -- one message to one hook
    id      TEXT PRIMARY KEY,                -- the same with every try, so that a receiver knows it again
    hook    TEXT NOT NULL,
    kind    TEXT NOT NULL,
    body    TEXT NOT NULL,                   -- JSON, byte for byte as it is signed and sent
    created REAL NOT NULL,
    state   TEXT NOT NULL,                   -- waiting, delivered or failed
    tries   INTEGER NOT NULL,
    due     REAL NOT NULL,                   -- the next try; of one that is over: when it ended
    owner   TEXT NOT NULL,                   -- HOST:PID:START of whoever sends it just now; empty: nobody
    until   REAL NOT NULL,                   -- and for how long that is believed
    status  INTEGER NOT NULL,                -- of the last answer; 0: none came
    told    TEXT NOT NULL                    -- how the last try ended, for people
) WITHOUT ROWID;
CREATE INDEX delivery_hook ON delivery (hook, created);
CREATE INDEX delivery_due ON delivery (hook, state, tries, due);
CREATE INDEX delivery_owner ON delivery (owner);

CREATE TABLE quota (                         -- what may be sent; of each number 0: any
    kind         TEXT NOT NULL,              -- key or collection
    name         TEXT NOT NULL,              -- id of the key, name of the collection
    most_bytes   INTEGER NOT NULL,           -- that lie here
    most_media   INTEGER NOT NULL,           -- files that lie here
    most_seconds REAL NOT NULL,              -- of media a day
    PRIMARY KEY (kind, name)
) WITHOUT ROWID;

CREATE TABLE deposit (                       -- files that were sent
    id         TEXT PRIMARY KEY,
    owner      TEXT NOT NULL,                -- id of the key that sent it; empty: nobody needs one
    collection TEXT NOT NULL,
    path       BLOB NOT NULL,
    bytes      INTEGER NOT NULL,
    seconds    REAL NOT NULL,                -- of the media; 0: not known yet, or it is none
    at         REAL NOT NULL,
    gone       REAL                          -- since when its file is no more; NULL: it lies there
) WITHOUT ROWID;
CREATE INDEX deposit_owner ON deposit (owner);
CREATE INDEX deposit_collection ON deposit (collection);
CREATE INDEX deposit_path ON deposit (path);
