"""Roles and what they allow."""

from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.permissions import ROLE_PERMISSIONS, Permission, Role, RoleGrant, allows, newsletters_with

GRANTS = st.builds(
    RoleGrant,
    st.sampled_from(Role),
    st.one_of(st.none(), st.integers(1, 3)),
    st.lists(st.sampled_from(["en", "fr", "ar"]), unique=True).map(tuple),
)


@given(st.lists(GRANTS, max_size=4), GRANTS, st.sampled_from(Permission), st.one_of(st.none(), st.integers(1, 3)))
def test_a_further_role_never_takes_anything_away(
    grants: list[RoleGrant], more: RoleGrant, permission: Permission, newsletter: int | None
) -> None:
    if allows(grants, permission, newsletter, "fr"):
        assert allows([*grants, more], permission, newsletter, "fr")


@given(st.lists(GRANTS, max_size=4), st.sampled_from(Permission), st.integers(1, 4))
def test_the_newsletters_of_a_permission_are_those_for_which_it_is_given(
    grants: list[RoleGrant], permission: Permission, newsletter: int
) -> None:
    of = newsletters_with(grants, permission)
    assert allows(grants, permission, newsletter) == (of is None or newsletter in of)


def test_a_role_for_one_newsletter_says_nothing_about_others_or_the_service() -> None:
    grants = [RoleGrant(Role.administrator, 7)]
    assert allows(grants, Permission.manage_accounts, 7)
    assert not allows(grants, Permission.manage_accounts, 8)
    assert not allows(grants, Permission.manage_accounts)


def test_a_translator_of_some_languages_translates_only_those() -> None:
    grants = [RoleGrant(Role.translator, None, ("fr",))]
    assert allows(grants, Permission.translate_texts, 1, "fr")
    assert not allows(grants, Permission.translate_texts, 1, "ar")
    assert not allows(grants, Permission.write, 1, "fr")
    assert not allows([], Permission.read_issues, 1)


def test_every_permission_belongs_to_a_role_and_only_administrators_manage_accounts() -> None:
    assert frozenset().union(*ROLE_PERMISSIONS.values()) == set(Permission)
    holders = [role for role, permissions in ROLE_PERMISSIONS.items() if Permission.manage_accounts in permissions]
    assert holders == [Role.administrator]
