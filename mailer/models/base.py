"""The declarative base. Every constraint has a name, so that migrations can refer to it."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, DateTime, Enum, MetaData, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {
        datetime: DateTime(timezone=True),
        str: Text,
        dict[str, Any]: JSONB,
        dict[str, str]: JSONB,
        dict[str, list[str]]: JSONB,
        dict[str, dict[str, Any]]: JSONB,
        list[Any]: JSONB,
        list[str]: ARRAY(Text),
    }


def enum_of(enum_class: type[StrEnum], name: str) -> Enum:
    """Return the column type of an enum: a PostgreSQL enum with the same values."""
    return Enum(enum_class, name=name, values_callable=lambda e: [m.value for m in e])


SectionMask = BigInteger
"""A set of sections: bit ``n`` stands for the section whose ``bit`` is ``n`` (0 to 61)."""
