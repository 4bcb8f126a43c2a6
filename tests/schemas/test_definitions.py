import pytest

from chimera.schemas.definitions import is_definition, require_allowed
from chimera.schemas.errors import ConfigurationError, ModelRefused

ALLOWED = ("chimera.cli.digits:Network", "company.nets:*")


@pytest.mark.parametrize("text", ["chimera.cli.digits:Network", "company.nets:anything", "a:b"])
def test_definition_has_a_module_and_a_name(text: str) -> None:
    assert is_definition(text)


@pytest.mark.parametrize("text", ["chimera.cli.digits:Network", "company.nets:anything"])
def test_definition_is_allowed_as_long_as_it_is_on_the_list(text: str) -> None:
    require_allowed(text, ALLOWED)
    with pytest.raises(ModelRefused, match="DEFINITIONS"):
        require_allowed(text, [rule for rule in ALLOWED if not text.startswith(rule.rstrip("*"))])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "os:system",
        "chimera.cli.digits:make",
        "chimera.cli.digits:Network.forward",
        "chimera.cli:digits",
        "company.nets.inner:anything",
        "company.nets:*",
        "company.nets:_private",
        "company.nets:",
        "company:nets",
        "xcompany.nets:a",
        "company.nets :a",
        "company.nets:a\n",
        "../company.nets:a",
        "company/nets:a",
        "comp\u0430ny.nets:a",
    ],
)
def test_definition_that_is_not_on_the_list_is_refused(text: str) -> None:
    with pytest.raises(ModelRefused, match="CHIMERA_ARTIFACTS__DEFINITIONS"):
        require_allowed(text, ALLOWED)


def test_empty_list_allows_nothing() -> None:
    with pytest.raises(ModelRefused):
        require_allowed("chimera.cli.digits:Network", ())


@pytest.mark.parametrize("rule", ["*", "*:*", "company.*", "company.*:a", "company", "", "a:b*"])
def test_list_with_a_line_that_allows_too_much_is_no_list(rule: str) -> None:
    with pytest.raises(ConfigurationError, match="should be"):
        require_allowed("company.nets:a", (rule,))
