"""The bookkeeping of a library with two recipes: statements inside a transaction which somebody else holds.

`media` has what the old recipe made of a media, and `beside` what the new one makes of the same media: other spaces,
other gaps, and so another digest.  `reembedding.content` is to these what `library.content` is to those; a media that
only one recipe has indexed counts the same in both.
"""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256

from retriever.errors import WrongRecipe
from retriever.stores._database import Connection
from retriever.types import Reembedding, Searched, Side

MODULUS = 1 << 256
WIDTH = 32  # bytes of a sum of digests


def read(catalog: Connection) -> Reembedding | None:
    row = catalog.execute(
        "SELECT old_digest, old_recipe, old_spaces, new_digest, new_recipe, new_spaces, searched FROM reembedding"
    ).fetchone()
    if row is None:
        return None
    old, new = (Side(row[at], row[at + 1], frozenset(json.loads(row[at + 2]))) for at in (0, 3))
    return Reembedding(old, new, Searched(row[6]))


def wanted(catalog: Connection) -> Reembedding:
    """
    Raises:
        WrongRecipe: the library holds one recipe.
    """
    held = read(catalog)
    if held is None:
        raise WrongRecipe("this library holds one recipe alone: reelseek reembed --pack PACK brings another beside it")
    return held


def begin(catalog: Connection, old: Side, new: Side) -> None:
    """Two recipes from now on, or more of their spaces are known."""
    held = read(catalog)
    if held is None:
        ((digest, content),) = catalog.execute("SELECT recipe_digest, content FROM library").fetchall()
        if digest != old.digest or new.digest == old.digest:
            raise WrongRecipe(
                f"this library is of recipe {digest}: it cannot go over from {old.digest} to {new.digest}; look again "
                "with reelseek reembed --status"
            )
        held = Reembedding(old, new)
        catalog.execute(
            "INSERT INTO reembedding (one, searched, old_digest, old_recipe, old_spaces, new_digest, new_recipe,"
            " new_spaces, content) VALUES (1, 'old', ?, ?, '[]', ?, ?, '[]', ?)",
            (old.digest, old.recipe, new.digest, new.recipe, content),
        )
    elif (held.old.digest, held.new.digest) != (old.digest, new.digest):
        raise WrongRecipe(
            f"this library is on its way from recipe {held.old.digest} to {held.new.digest}: finish that, or call it "
            "off with reelseek reembed --drop new"
        )
    spaces = [json.dumps(sorted(was.spaces | now.spaces)) for was, now in ((held.old, old), (held.new, new))]
    catalog.execute("UPDATE reembedding SET old_spaces = ?, new_spaces = ?", spaces)
    renew(catalog, old.digest, old.recipe)
    renew(catalog, new.digest, new.recipe)
    catalog.execute("UPDATE library SET commits = commits + 1")


def renew(catalog: Connection, digest: str, text: str) -> None:
    """The text of the recipe with this digest, wherever it is held: the same weights may lie elsewhere by now."""
    for table, name in (("library", "recipe"), ("reembedding", "old"), ("reembedding", "new")):
        column, key = ("recipe", "recipe_digest") if table == "library" else (f"{name}_recipe", f"{name}_digest")
        catalog.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (text, digest))


def choose(catalog: Connection, searched: Searched) -> None:
    """This is searched from now on."""
    held = wanted(catalog)
    bare = len(lacking(catalog, held))
    if searched is Searched.NEW and bare:
        raise WrongRecipe(
            f"{bare:,} media lack what recipe {held.new.digest} makes: run the same reelseek reembed again, take "
            "--search both, or delete those media"
        )
    catalog.execute("UPDATE reembedding SET searched = ?", (searched.value,))
    current = Reembedding(held.old, held.new, searched).current
    catalog.execute(
        "UPDATE library SET recipe_digest = ?, recipe = ?, commits = commits + 1", (current.digest, current.recipe)
    )


def leaving(catalog: Connection, gone: Searched) -> Reembedding:
    """What the library holds, if one of its recipes may be dropped now.

    Raises:
        WrongRecipe: it may not.
    """
    held = wanted(catalog)
    if gone is Searched.BOTH or held.searched in (gone, Searched.BOTH):
        raise WrongRecipe(
            f"the {gone} recipe cannot be dropped while {held.searched} is searched: reelseek reembed --search "
            f"{Searched.NEW if gone is Searched.OLD else Searched.OLD} comes first"
        )
    bare = len(lacking(catalog, held) if gone is Searched.OLD else foreign(catalog, held))
    if bare:
        way = "reelseek reembed" if gone is Searched.OLD else "reelseek index on their files"
        raise WrongRecipe(f"{bare:,} media would be left with nothing: run {way} again, or delete them, and then drop")
    return held


def ids(held: Reembedding, gone: Searched) -> frozenset[str]:
    """The spaces that go with one of the recipes."""
    return held.old.spaces - held.new.spaces if gone is Searched.OLD else held.brought


def leave(catalog: Connection, held: Reembedding, gone: Searched) -> None:
    """One recipe from now on: what only the other one made does not exist any more."""
    spaces = json.dumps(sorted(ids(held, gone)))
    catalog.execute("DELETE FROM extent WHERE space IN (SELECT value FROM json_each(?))", (spaces,))
    if gone is Searched.NEW:
        catalog.execute("DELETE FROM extent WHERE added = 1")
    catalog.execute("UPDATE extent SET added = 0 WHERE added = 1")
    if gone is Searched.OLD:
        catalog.execute(
            "UPDATE media SET (recipe, missing, content, digest) ="
            " (SELECT recipe, missing, content, digest FROM beside WHERE beside.media = media.number)"
            " WHERE number IN (SELECT media FROM beside)"
        )
        catalog.execute("UPDATE library SET content = (SELECT content FROM reembedding)")
    catalog.execute("DELETE FROM beside")
    catalog.execute("DELETE FROM reembedding")
    catalog.execute("UPDATE space SET media = 0, tokens = 0")
    catalog.execute(
        "UPDATE space SET (media, tokens) = (SELECT count(*), coalesce(sum(token_hi - token_lo), 0) FROM extent"
        " WHERE extent.space = space.id)"
    )


# -------------------------------------------------------------------------------------------------- of single media


def put(
    catalog: Connection, number: int, recipe: str, missing: Mapping[str, str], digests: tuple[bytes, bytes]
) -> None:
    """This is what the new recipe makes of a media from now on; `digests` of its content, then with paths and metadata
    as well."""
    before = digest_of(catalog, number)
    catalog.execute(
        "INSERT OR REPLACE INTO beside (media, recipe, missing, content, digest) VALUES (?, ?, ?, ?, ?)",
        (number, recipe, json.dumps(dict(missing)), *digests),
    )
    add_up(catalog, int.from_bytes(digests[1], "big") - before)


def digest_of(catalog: Connection, number: int) -> int:
    """The digest of a media as the new recipe has it: that of the old one, where it has nothing of its own."""
    ((own,),) = catalog.execute(
        "SELECT coalesce(beside.digest, media.digest) FROM media LEFT JOIN beside ON beside.media = media.number"
        " WHERE number = ?",
        (number,),
    ).fetchall()
    return int.from_bytes(own, "big")


def add_up(catalog: Connection, change: int) -> None:
    """Keep the sum of the digests as the new recipe has them; nothing where there is none."""
    row = catalog.execute("SELECT content FROM reembedding").fetchone()
    if row:
        catalog.execute("UPDATE reembedding SET content = ?", (added(row[0], change),))


def added(held: bytes, change: int) -> bytes:
    """A sum of digests and a change to it."""
    return ((int.from_bytes(held, "big") + change) % MODULUS).to_bytes(WIDTH, "big")


def generation(catalog: Connection) -> str:
    """The digest of what is searched: where that is one recipe alone, as if the library held nothing else."""
    ((content,),) = catalog.execute("SELECT content FROM library").fetchall()
    row = catalog.execute("SELECT searched, content FROM reembedding").fetchone()
    if row is None or row[0] == Searched.OLD:
        return bytes(content).hex()
    return bytes(row[1]).hex() if row[0] == Searched.NEW else sha256(content + row[1]).hexdigest()


_LACKING = (
    "SELECT number FROM media WHERE ((recipe != ? AND number NOT IN (SELECT media FROM beside))"
    " OR (SELECT count(*) FROM extent WHERE extent.media = number"
    " AND extent.space IN (SELECT value FROM json_each(?))) < ?)"
)


def lacking(
    catalog: Connection, held: Reembedding, where: str = "TRUE", values: Sequence[str | float] = ()
) -> list[int]:
    """Media that the new recipe has not made its own, or lack a space that it brings; in the order of their numbers.
    `where` is a condition on `media`, with its values."""
    asked = (held.new.digest, json.dumps(sorted(held.brought)), len(held.brought), *values)
    rows = catalog.execute(f"{_LACKING} AND {where} ORDER BY number", asked)
    return [number for (number,) in rows.fetchall()]


def foreign(catalog: Connection, held: Reembedding) -> list[int]:
    """Media that the old recipe has never indexed."""
    rows = catalog.execute("SELECT number FROM media WHERE recipe = ? ORDER BY number", (held.new.digest,))
    return [number for (number,) in rows.fetchall()]
