"""The command line itself: commands found, exit codes, one line for an error."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from api import Library, exits
from api.main import COMMANDS, main
from retriever.errors import BadSettings


def test_help_names_every_command_with_its_first_line(capsys):
    assert main(["--help"]) == exits.OK
    shown = capsys.readouterr().out
    for name in COMMANDS.names():
        source = (COMMANDS.folder() / f"{name}.py").read_text(encoding="utf-8")
        first = (ast.get_docstring(ast.parse(source)) or "").splitlines()[0]
        assert f"{name} " in shown
        assert first in shown


@pytest.mark.parametrize("name", COMMANDS.names())
def test_every_command_has_help_and_json(name, capsys):
    assert main([name, "--help"]) == exits.OK
    assert "--json" in capsys.readouterr().out


def test_no_command_is_wrong_usage(capsys):
    assert main([]) == exits.USAGE
    assert capsys.readouterr().out == ""


def test_an_unknown_command_names_the_nearest(capsys):
    assert main(["serch", "x"]) == exits.USAGE
    assert "did you mean search or serve?" in capsys.readouterr().err


def test_wrong_flags_are_wrong_usage(capsys):
    assert main(["search"]) == exits.USAGE
    assert main(["search", "x", "--nonsense"]) == exits.USAGE
    assert main(["search", "x", "--limit", "many", "--by", "film"]) == exits.USAGE
    assert "--limit is 'many'; it wants a whole number from 1 to 1000" in capsys.readouterr().err


def test_a_folder_has_no_other_catalog(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for words in (["index", "clips"], ["keys", "list"], ["stats"], ["import", "other"]):
        assert main([*words, "--library", "lib", "--store-catalog", "postgresql://me@localhost/x"]) == exits.USAGE
        assert "lib is a folder, which has its catalog in it" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("REELSEEK_STORE_CATALOG", "/nowhere")  # of those in Qdrant
    assert main(["stats", "--library", "lib"]) == exits.ERROR
    assert "there is no library at" in capsys.readouterr().err


def test_python_names_no_other_database_either(tmp_path):
    with Library.open(tmp_path / "lib", store="memory") as library:
        for asked in (
            lambda: Library.open(f"http://127.0.0.1:1/{tmp_path.name}", store_catalog="mysql://me:secret@host/db"),
            lambda: Library.open(tmp_path / "other", store_catalog="mysql://host"),
            lambda: library.import_from(tmp_path / "other", "mysql://me:secret@host/db"),
        ):
            with pytest.raises(
                BadSettings, match=r"^store_catalog is 'mysql:.*it wants a folder, or postgresql"
            ) as told:
                asked()
            assert "secret" not in str(told.value)
    assert not (tmp_path / "other").exists()


def test_the_version_is_that_of_the_package(capsys):
    assert main(["--version"]) == exits.OK
    assert capsys.readouterr().out.startswith("reelseek ")


def test_print_config_tells_where_each_setting_comes_from(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REELSEEK_BY", "video")
    assert main(["search", "--print-config", "--limit", "3", "--json"]) == exits.OK
    shown = json.loads(capsys.readouterr().out)["settings"]
    assert shown["limit"] == {"value": 3, "from": "flag"}
    assert shown["by"] == {"value": "video", "from": "environment"}
    assert main(["--print-config"]) == exits.OK
    assert 'by = "video"  # environment' in capsys.readouterr().out


def _fresh(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Python in a new process, where nothing is imported yet."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environ}, check=False
    )


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from api.main import main; main(['--help'])\n"
        "print(sorted({'numpy', 'rich', 'av', 'torch', 'sqlite3'} & set(sys.modules)), file=sys.stderr)"
    )
    done = _fresh(code)
    assert done.stderr == "[]\n"


def test_no_command_file_imports_anything_heavy_at_its_top():
    code = (
        "import sys\nfrom api.main import COMMANDS\n"
        "for name in COMMANDS.names(): COMMANDS.load(name)\n"
        "print(sorted({'numpy', 'rich', 'av', 'torch', 'openvino', 'faiss'} & set(sys.modules)))"
    )
    assert _fresh(code).stdout == "[]\n"


def _command(folder: Path, name: str, body: str) -> None:
    (folder / f"{name}.py").write_text(f'"""A command of a test."""\ndef arguments(parser): ...\n{body}', "utf-8")


@pytest.fixture
def extra(tmp_path, monkeypatch):
    """A way to add commands: the folder is the list."""
    import api.commands

    monkeypatch.setattr(api.commands, "__path__", [*api.commands.__path__, str(tmp_path)])
    monkeypatch.setattr("retriever.registry.Registry.names", lambda self: ("boom",))

    def add(body: str) -> None:
        sys.modules.pop("api.commands.boom", None)
        _command(tmp_path, "boom", body)

    yield add
    sys.modules.pop("api.commands.boom", None)


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        ("retriever.errors.StoreLocked('held by 7 since noon')", exits.ERROR, "reelseek: held by 7 since noon\n"),
        ("retriever.errors.QueryError('the query is empty')", exits.USAGE, "reelseek: the query is empty\n"),
        ("retriever.errors.CannotOpen('bad\\x1b[2Jname')", exits.ERROR, "reelseek: bad�[2Jname\n"),
        ("PermissionError(13, 'Permission denied', '/x')", exits.ERROR, "reelseek: /x: Permission denied\n"),
        ("KeyboardInterrupt", exits.STOPPED, "reelseek: stopped; what was committed stays\n"),
    ],
)
def test_an_error_is_one_line_and_a_code(extra, capsys, raised, code, said):
    extra(f"import retriever.errors\ndef run(args): raise {raised}\n")
    assert main(["boom"]) == code
    assert capsys.readouterr() == ("", said)


def test_a_bug_is_not_hidden(extra):
    extra("def run(args): raise ZeroDivisionError\n")
    with pytest.raises(ZeroDivisionError):
        main(["boom"])


def test_nobody_reading_is_quiet():
    code = (
        "import os, sys; from api.main import main; read, write = os.pipe(); os.close(read); os.dup2(write, 1)\n"
        "sys.exit(main(['--help']))"
    )
    done = _fresh(code)
    assert (done.returncode, done.stderr) == (exits.UNREAD, "")
