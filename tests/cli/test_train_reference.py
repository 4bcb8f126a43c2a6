"""The page of a training configuration is what the schema says."""

from pathlib import Path

from chimera.cli.training import reference

ROOT = Path(__file__).parents[2]


def test_page_is_what_the_schema_says() -> None:
    assert (ROOT / "docs" / "training-config.md").read_text("utf-8") == reference.page(), (
        "run `make docs`"
    )


def test_page_has_every_section_and_no_field_without_its_meaning() -> None:
    page = reference.page()
    for section in ("data.schema.columns.<column>", "loop.early_stopping", "evaluation"):
        assert f"## `{section}`" in page
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) > 50
    assert all(row.split(" | ")[-1].strip(" |") for row in rows)
    assert "| `batch_size` | integer, at least 1 | `128` |" in page
