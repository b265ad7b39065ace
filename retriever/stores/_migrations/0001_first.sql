-- Format 1.  What is here exists; what is not here does not, whatever lies in the files.
-- Paths are bytes, since a file name need not be text.

CREATE TABLE library (                      -- one row
    one            INTEGER PRIMARY KEY CHECK (one = 1),
    made_by        TEXT    NOT NULL,        -- the version that wrote this format: every later format keeps this column
    epoch          INTEGER NOT NULL,        -- of the live files; compaction raises it
    commits        INTEGER NOT NULL,        -- rises with every change that a search can see
    media_given    INTEGER NOT NULL,        -- media numbers given out, from 1; none comes twice
    segments_given INTEGER NOT NULL,        -- segment numbers given out, from 0; none comes twice
    content        BLOB    NOT NULL,        -- the sum of all media.digest modulo 2^256, 32 bytes, most significant first
    recipe_digest  TEXT,
    recipe         TEXT
);

CREATE TABLE file (                         -- the live set: rows behind the committed ones do not exist
    name  TEXT    PRIMARY KEY,              -- below the library's folder
    space TEXT,                             -- NULL: the segment table
    role  TEXT    NOT NULL,                 -- segments, tokens, facts, vectors, map, ranges, index
    rows  INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE space (
    id            TEXT    PRIMARY KEY,
    name          TEXT    NOT NULL,
    modality      TEXT    NOT NULL,
    dimension     INTEGER NOT NULL,
    media_side    TEXT    NOT NULL,
    query_side    TEXT    NOT NULL,
    preprocessing TEXT    NOT NULL,
    media         INTEGER NOT NULL,         -- how many media have it
    tokens        INTEGER NOT NULL          -- how many tokens they have in it
) WITHOUT ROWID;

CREATE TABLE media (
    number          INTEGER PRIMARY KEY,
    key             TEXT    NOT NULL UNIQUE,
    kind            TEXT    NOT NULL,
    duration        REAL    NOT NULL,
    recipe          TEXT    NOT NULL,
    width           INTEGER NOT NULL,
    height          INTEGER NOT NULL,
    frame_rate      REAL    NOT NULL,
    size            INTEGER NOT NULL,
    missing         TEXT    NOT NULL,       -- JSON: modality → reason
    title           TEXT    NOT NULL,
    tags            TEXT    NOT NULL,       -- JSON list
    recorded        TEXT    NOT NULL,       -- ISO 8601
    recorded_source TEXT    NOT NULL,
    collection      TEXT    NOT NULL,
    recorded_at     REAL,                   -- the same instant in seconds of the epoch; NULL: nobody knows
    first           INTEGER NOT NULL,       -- its segments are first, first + 1, …
    segments        INTEGER NOT NULL,
    content         BLOB    NOT NULL,       -- SHA-256 of all but paths and metadata
    digest          BLOB    NOT NULL        -- SHA-256 of content, paths and metadata
);

CREATE TABLE path (                         -- a path names one media
    media    INTEGER NOT NULL,
    position INTEGER NOT NULL,
    path     BLOB    NOT NULL UNIQUE,
    PRIMARY KEY (media, position)
) WITHOUT ROWID;

CREATE TABLE extent (                       -- where the rows of a media lie, in each of its spaces
    space    TEXT    NOT NULL,
    media    INTEGER NOT NULL,
    token_lo INTEGER NOT NULL,
    token_hi INTEGER NOT NULL,
    row_lo   INTEGER NOT NULL,
    row_hi   INTEGER NOT NULL,
    PRIMARY KEY (space, media)
) WITHOUT ROWID;
CREATE INDEX extent_media ON extent (media);

CREATE TABLE tombstone (                    -- rows of media that are gone, until compaction
    space  TEXT    NOT NULL,
    row_lo INTEGER NOT NULL,
    row_hi INTEGER NOT NULL
);

CREATE TABLE label (                        -- the dictionary of the labels beside tokens
    number INTEGER PRIMARY KEY,
    name   TEXT    NOT NULL UNIQUE
);

CREATE TABLE line (                         -- spoken and written lines
    media      INTEGER NOT NULL,
    middle     REAL    NOT NULL,
    position   INTEGER NOT NULL,
    start      REAL    NOT NULL,
    end        REAL    NOT NULL,
    modality   TEXT    NOT NULL,
    confidence REAL    NOT NULL,
    text       TEXT    NOT NULL,
    PRIMARY KEY (media, middle, position)
) WITHOUT ROWID;

CREATE TABLE stat (                         -- files whose content was hashed before
    path     BLOB    PRIMARY KEY,
    size     INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    inode    TEXT    NOT NULL,              -- unsigned 64 bits, more than INTEGER holds
    key      TEXT    NOT NULL
) WITHOUT ROWID;

CREATE TABLE quarantine (
    path     BLOB    PRIMARY KEY,
    reason   TEXT    NOT NULL,
    since    REAL    NOT NULL,
    size     INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE lease (
    job   TEXT PRIMARY KEY,
    owner TEXT NOT NULL,                    -- HOST:PID:START
    until REAL NOT NULL                     -- seconds of the epoch
) WITHOUT ROWID;
