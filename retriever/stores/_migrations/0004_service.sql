-- Format 4.  Who may ask a served library, and what was answered to requests that may come twice.

CREATE TABLE api_key (
    id         TEXT PRIMARY KEY,             -- the part of a key that may be shown
    name       TEXT NOT NULL UNIQUE,
    digest     BLOB NOT NULL,                -- SHA-256 of the secret part, which is nowhere
    scopes     TEXT NOT NULL,                -- JSON list: search, write, admin
    collection TEXT NOT NULL,                -- the one that it may see; empty: all
    rate       REAL NOT NULL,                -- requests a second; 0: any
    created    REAL NOT NULL                 -- seconds of the epoch
) WITHOUT ROWID;

CREATE TABLE once (                         -- requests with an Idempotency-Key
    owner   TEXT NOT NULL,                   -- id of the key that asked; empty: nobody needs one
    token   TEXT NOT NULL,
    request TEXT NOT NULL,                   -- digest of what was asked
    answer  TEXT NOT NULL,                   -- JSON; empty: somebody is at it
    at      REAL NOT NULL,
    PRIMARY KEY (owner, token)
) WITHOUT ROWID;
