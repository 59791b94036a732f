"""Kept records are found by what the code does."""

from pathlib import Path

from benchmarks.records import Records, code_digest

CODE = '"""Text."""\n\nA = 1\n"""More."""\n\n\ndef f() -> int:\n    """What."""\n    return A  # why\n'


def digest(folder: Path, text: str) -> str:
    (folder / "part").mkdir(exist_ok=True)
    (folder / "part" / "one.py").write_text(text)
    return code_digest(["part"], folder)


def test_comments_and_docstrings_change_no_digest_and_code_does(tmp_path: Path) -> None:
    kept = digest(tmp_path, CODE)
    for words in ("Text", "More", "What", "why"):
        assert digest(tmp_path, CODE.replace(words, f"other {words}")) == kept
    assert digest(tmp_path, CODE.replace("A = 1", "A = 2")) != kept
    assert digest(tmp_path, CODE.replace("return A", 'return "A"')) != kept


def test_a_record_is_read_again_and_a_line_cut_off_is_not(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    Records(path).put({"value": 0.1}, "digest", 5)
    with path.open("a") as file:
        file.write('{"key": "[\\"digest\\", 6]", "val')
    found = Records(path)
    assert found.get("digest", 5) == {"value": 0.1}
    assert found.get("digest", 6) is None
